"""The command that makes a change data set: generate."""

from __future__ import annotations

from typing import Annotated

import typer

from changen2.cli.terminal import (
    Background,
    Classes,
    Dask,
    Device,
    EditProbability,
    ExemplarLevel,
    Folder,
    Init,
    Json,
    LabelGuidance,
    Least,
    Most,
    ObjectClasses,
    Overwrite,
    Precision,
    RemovalProbability,
    Resume,
    Transitions,
    run,
)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(generate)


def generate(
    image_dir: Annotated[str, typer.Argument(help="Folder of single-date rasters of any size.")],
    out_dir: Folder,
    pairs: Annotated[int, typer.Option(help="How many.")],
    labels: Annotated[str | None, typer.Option(help="Folder of label rasters with the images' file names.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="S1 objects come and go, S9 classes change, S0 regions vanish (no labels).")
    ] = None,
    size: Annotated[int, typer.Option(help="Pixels along a pair's side, a multiple of 32.")] = 256,
    pixel_size: Annotated[float | None, typer.Option(help="Metres of a pixel, for images without CRS.")] = None,
    gsd: Annotated[
        str,
        typer.Option(help="Metres that images are resampled to; `auto`: what suits the generator; `none`: their own."),
    ] = "auto",
    events: Annotated[
        str | None,
        typer.Option(help="Kinds of events of a pair with weights, such as create:2,remove:1,create+remove:3."),
    ] = None,
    unchanged: Annotated[float, typer.Option(help="Share of pairs without change.")] = 0.2,
    least_change: Annotated[float, typer.Option(help="Least share of changed pixels in the others.")] = 0.002,
    most_change: Annotated[float, typer.Option(help="Most share of changed pixels.")] = 0.5,
    least: Least = 1,
    most: Most = 5,
    edit_probability: EditProbability = 0.3,
    removal_probability: RemovalProbability = 0.1,
    classes: Classes = None,
    transitions: Transitions = None,
    object_classes: ObjectClasses = None,
    background: Background = "0",
    val_share: Annotated[float, typer.Option(help="Share of the images, or of the only one, in list/val.txt.")] = 0.1,
    photometry: Annotated[float, typer.Option(help="Difference of light and sensor, 0 to 1.")] = 0.5,
    season: Annotated[float, typer.Option(help="Difference of the vegetation's colour, 0 to 1.")] = 0.3,
    misregistration: Annotated[float, typer.Option(help="Largest shift between the dates, pixels.")] = 1.0,
    view_shift: Annotated[
        float | None, typer.Option(help="How far objects lean apart, pixels; 1.5 if left out. Not for S0.")
    ] = None,
    surroundings: Annotated[int, typer.Option(help="Ground drawn anew around a change, pixels at most.")] = 8,
    distractors: Annotated[int, typer.Option(help="Places drawn anew without change, at most.")] = 1,
    sampler: Annotated[str, typer.Option(help="dpmpp, ddim or ddpm.")] = "dpmpp",
    sampling_steps: Annotated[int, typer.Option(help="Reverse steps of the diffusion.")] = 20,
    guidance_ratio: Annotated[float, typer.Option(help="Share of them held at the image before, 0 to 1.")] = 1.0,
    init: Init = None,
    exemplar_level: ExemplarLevel = 0.4,
    label_guidance: LabelGuidance = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pairs.")] = 0,
    model: Annotated[str, typer.Option(help="An installed generator; see `changen2 models list`.")] = "tiny",
    bands: Annotated[str | None, typer.Option(help="One band or three that are seen.")] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Annotated[int, typer.Option(help="Processes on this machine, one thread each.")] = 1,
    dask: Dask = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a change data set (LEVIR-CD layout) of single-date images."""
    given = locals()
    from changen2.jobs.generate import generate as job

    run(job, given)
