"""Commands that train models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from changen2.cli.terminal import Device, Folder, Json, Resume, Threads, run

app = typer.Typer(help="Train the embedded models, or your own.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="YAML file of the experiment.")]
Name = Annotated[
    str | None,
    typer.Option(help="Add the detector to the installed models; with --resume also after the run has ended."),
]
Replace = Annotated[bool, typer.Option("--overwrite", help="Replace an installed model of that name.")]


@app.command()
def changestar(
    config: Config, name: Name = None, resume: Resume = False, overwrite: Replace = False, as_json: Json = False
) -> None:
    """Train the detector of buildings; under torchrun on several processes, each on a GPU where there is one."""
    given = locals()
    from changen2.jobs.train import train_changestar

    _tell(run(train_changestar, given), as_json)


@app.command()
def landcover(
    config: Config, name: Name = None, resume: Resume = False, overwrite: Replace = False, as_json: Json = False
) -> None:
    """Train the detector of land cover."""
    given = locals()
    from changen2.jobs.train import train_landcover

    _tell(run(train_landcover, given), as_json)


@app.command()
def anything(
    config: Config, name: Name = None, resume: Resume = False, overwrite: Replace = False, as_json: Json = False
) -> None:
    """Train the detector of any change."""
    given = locals()
    from changen2.jobs.train import train_anything

    _tell(run(train_anything, given), as_json)


@app.command()
def autoencoder(config: Config, resume: Resume = False, as_json: Json = False) -> None:
    """Train the autoencoder that the generator works in, on the processor."""
    given = locals()
    from changen2.jobs.train_generator import train_autoencoder

    _tell(run(train_autoencoder, given), as_json)


@app.command()
def rsdit(config: Config, resume: Resume = False, as_json: Json = False) -> None:
    """Train the generator's diffusion transformer, on the processor."""
    given = locals()
    from changen2.jobs.train_generator import train_rsdit

    _tell(run(train_rsdit, given), as_json)


def _tell(trained: dict[str, Any], as_json: bool) -> None:
    """Say where the weights are, how good they are and how to use them."""
    if as_json or "weights" not in trained:  # of several processes the first tells
        return
    typer.echo(f"weights: {trained['weights']}")
    if trained.get("held_out_f1") is not None:
        typer.echo(f"F1 {trained['held_out_f1']:.3f} at 0.5 on {trained['held_out_pairs']} held-out pairs.")
        typer.echo(trained["held_out_note"])
    if trained.get("model"):
        typer.echo(f"Use it: changen2 detect BEFORE AFTER -o DIR --model {trained['model']}")


def finetune(
    name: Annotated[str, typer.Argument(help="Of the new model: small letters, digits, - and _.")],
    out_dir: Folder,
    pairs: Annotated[str | None, typer.Option(help="Folder of pairs as LEVIR-CD has them: A, B, label.")] = None,
    before: Annotated[str | None, typer.Option(help="Or: raster that gives the grid,")] = None,
    after: Annotated[str | None, typer.Option(help="raster of the second date,")] = None,
    changes: Annotated[str | None, typer.Option(help="and polygons of all changes between them.")] = None,
    aoi: Annotated[str | None, typer.Option(help="Polygons of the area that was looked through for changes.")] = None,
    bands: Annotated[str | None, typer.Option(help="One band or three of both rasters, such as 1,2,3.")] = None,
    bands_after: Annotated[str | None, typer.Option(help="Bands of AFTER where they differ.")] = None,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel, where the files do not tell.")] = None,
    object_class: Annotated[
        int | None, typer.Option(help="Class to look for, where the semantic maps of the pairs hold classes.")
    ] = None,
    kind: Annotated[str, typer.Option(help="What changes, such as `solar panels`.")] = "",
    title: Annotated[str, typer.Option(help="Of the new model.")] = "",
    model: Annotated[str, typer.Option(help="The detector to begin with; see `changen2 models list`.")] = "tiny",
    steps: Annotated[int, typer.Option(help="At most; it ends sooner where nothing is gained.")] = 300,
    batch_size: Annotated[int, typer.Option(help="Pairs a step.")] = 8,
    crop_size: Annotated[int, typer.Option(help="Pixels a side seen at once, a multiple of 64.")] = 192,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="The same seed trains alike.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
    resume: Resume = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results in the folder, and an installed model of this name.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a detector further on pairs of your own; the result is a model of its own name."""
    given = locals()
    from changen2.jobs.finetune import finetune as job

    result = run(job, given)
    if not as_json:
        told = result["summary"]
        was = told["held_out_f1_before"]
        compared = "" if was is None else f" (before: {was:.3f}, at its best threshold too)"
        typer.echo(f"{name}: F1 {told['held_out_f1']:.3f}{compared} on {told['held_out_pairs']} held-out pairs.")
        typer.echo(told["held_out_note"])


def add_to(app: typer.Typer) -> None:
    """Add the commands that stand beside ``train``."""
    app.command()(finetune)
