"""Commands around change that has not happened: simulate, synthesize."""

from __future__ import annotations

from typing import Annotated

import typer

from changen2.cli.terminal import (
    Aoi,
    Background,
    BatchSize,
    Bounds,
    Classes,
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
    Threads,
    Transitions,
    run,
)

Steps = Annotated[int | None, typer.Option(help="Length of the series; the largest step of drawn events, else 1.")]
INSTANCES = "What is removed: a raster of instance numbers, a polygon layer, or auto (regions of even colour)."
Seed = Annotated[int, typer.Option(help="The same seed gives the same series.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (simulate, synthesize):
        app.command()(command)


def simulate(
    labels: Annotated[str, typer.Argument(help="Raster of class numbers; with --instances an image.")],
    out_dir: Folder,
    steps: Steps = None,
    events: Annotated[
        str, typer.Option(help="create, remove, edit (parted by commas), or a vector file of drawn events.")
    ] = "create,remove,edit",
    classes: Classes = None,
    transitions: Transitions = None,
    object_classes: ObjectClasses = None,
    background: Background = "0",
    least: Least = 1,
    most: Most = 5,
    edit_probability: EditProbability = 0.3,
    instances: Annotated[str | None, typer.Option(help=f"The raster is an image without labels. {INSTANCES}")] = None,
    removal_probability: RemovalProbability = 0.1,
    bands: Annotated[str | None, typer.Option(help="One band or three of an image without labels.")] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Let change events happen to a label map: a series of labels and change masks."""
    given = locals()
    from changen2.jobs.simulate import simulate as job

    run(job, given)


def synthesize(
    image: Annotated[str, typer.Argument(help="Raster to start from.")],
    out_dir: Folder,
    events: Annotated[str | None, typer.Option(help="Vector file of drawn events: event, to_class, step.")] = None,
    simulate: Annotated[str | None, typer.Option(help="create, remove, edit: simulate events instead.")] = None,
    labels: Annotated[str | None, typer.Option(help="Raster of classes at the first date.")] = None,
    classes: Classes = None,
    transitions: Transitions = None,
    object_classes: ObjectClasses = None,
    background: Background = "0",
    least: Least = 1,
    most: Most = 5,
    edit_probability: EditProbability = 0.3,
    instances: Annotated[str | None, typer.Option(help=f"For an image without labels. {INSTANCES}")] = None,
    removal_probability: RemovalProbability = 0.1,
    steps: Steps = None,
    patches: Annotated[bool, typer.Option("--patches", help="Write changed blocks and a VRT a step.")] = False,
    sampler: Annotated[str, typer.Option(help="dpmpp, ddim or ddpm.")] = "dpmpp",
    sampling_steps: Annotated[int, typer.Option(help="Reverse steps of the diffusion.")] = 20,
    guidance_ratio: Annotated[float, typer.Option(help="Share of them held at the image before, 0 to 1.")] = 1.0,
    init: Init = None,
    exemplar_level: ExemplarLevel = 0.2,
    label_guidance: LabelGuidance = None,
    seed: Seed = 0,
    model: Annotated[str, typer.Option(help="An installed generator; see `changen2 models list`.")] = "tiny",
    bounds: Bounds = None,
    aoi: Aoi = None,
    bands: Annotated[str | None, typer.Option(help="One band or three that the model sees.")] = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw the images that follow from change events, with their labels.

    Events are drawn (--events) or simulated: on the labels, or, without labels, by removing what the image shows.
    """
    given = locals()
    from changen2.jobs.synthesize import synthesize as job

    run(job, given)
