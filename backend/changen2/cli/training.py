"""Commands that train models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from changen2.cli.terminal import Json, run

app = typer.Typer(help="Train the embedded models, or your own.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="YAML file of the experiment.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]


@app.command()
def changestar(config: Config, resume: Resume = False, as_json: Json = False) -> None:
    """Train the change detector."""
    given = locals()
    from changen2.jobs.train import train_changestar

    run(train_changestar, given)


@app.command()
def autoencoder(config: Config, resume: Resume = False, as_json: Json = False) -> None:
    """Train the autoencoder that the generator works in."""
    given = locals()
    from changen2.jobs.train_generator import train_autoencoder

    run(train_autoencoder, given)


@app.command()
def rsdit(config: Config, resume: Resume = False, as_json: Json = False) -> None:
    """Train the generator's diffusion transformer."""
    given = locals()
    from changen2.jobs.train_generator import train_rsdit

    run(train_rsdit, given)
