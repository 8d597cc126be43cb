"""All commands of ``changen2``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from changen2 import __version__
from changen2.cli import detection, generation, models, synthesis, training
from changen2.cli.terminal import Json
from changen2.cli.usage import Commands

app = typer.Typer(
    cls=Commands,
    help="Change detection and change synthesis on rasters of any size.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
detection.add_to(app)
synthesis.add_to(app)
generation.add_to(app)
training.add_to(app)
app.add_typer(models.app, name="models")
app.add_typer(training.app, name="train")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what the machine has, what is wrong and how to mend it."""
    from changen2.jobs.doctor import examine

    report = examine()
    if as_json:
        typer.echo(json.dumps(report))
    else:
        for check in report["checks"]:
            typer.echo(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']}: {check['found']}")
            if not check["ok"]:
                typer.echo(f"     → {check['remedy']}")
    if not report["ok"]:
        raise typer.Exit(1)


@app.command()
def worker() -> None:
    """Serve jobs on stdin and stdout (JSON-RPC); this is what QGIS starts."""
    from changen2.worker import main as serve

    serve()
