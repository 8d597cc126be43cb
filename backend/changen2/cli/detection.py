"""Commands around change detection: detect, vectorize, evaluate, sample."""

from __future__ import annotations

from typing import Annotated

import typer

from changen2.cli.terminal import (
    Aoi,
    BatchSize,
    Bounds,
    Dask,
    Device,
    Folder,
    Json,
    Overwrite,
    Precision,
    Resume,
    Threads,
    run,
)

MinArea = Annotated[float, typer.Option(help="Leave out polygons smaller than this many m².")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (detect, vectorize, evaluate, sample):
        app.command()(command)


def detect(
    before: Annotated[str, typer.Argument(help="Raster that gives the grid.")],
    after: Annotated[str, typer.Argument(help="Raster to compare; warped to the grid of BEFORE.")],
    out_dir: Folder,
    model: Annotated[str, typer.Option(help="An installed detector; see `changen2 models list`.")] = "tiny",
    bounds: Bounds = None,
    aoi: Aoi = None,
    bands: Annotated[str | None, typer.Option(help="One band or three for both dates, such as 1,2,3.")] = None,
    bands_after: Annotated[str | None, typer.Option(help="Bands of AFTER where they differ.")] = None,
    threshold: Annotated[float | None, typer.Option(help="0 to 1; the model's recommendation if left out.")] = None,
    min_area: MinArea = 0.0,
    gsd: Annotated[str | None, typer.Option(help="`auto` or metres: resample to it and back.")] = None,
    coregister: Annotated[bool, typer.Option("--coregister", help="Undo a global shift of up to 20 pixels.")] = False,
    tile_size: Annotated[int | None, typer.Option(help="Pixels, a multiple of 32.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Pixels shared by neighbouring tiles.")] = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    dask: Dask = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find change between two rasters: probability, binary map, polygons."""
    given = locals()
    from changen2.jobs.detect import detect as job

    run(job, given)


def vectorize(
    probability: Annotated[str, typer.Argument(help="A change_probability.tif.")],
    out_dir: Folder,
    threshold: Annotated[float, typer.Option(help="0 to 1.")] = 0.5,
    min_area: MinArea = 0.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make the binary map and the polygons again at another threshold, without a model."""
    given = locals()
    from changen2.jobs.vectorize import vectorize as job

    run(job, given)


def evaluate(
    prediction: Annotated[
        str, typer.Argument(help="A change map or probability, a folder of them, or of a detection.")
    ],
    reference: Annotated[
        str | None, typer.Argument(help="Map (non-zero is change), polygon layer, or a folder of maps.")
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(
            help="Point layer with a field `reference` (0 or 1): area-adjusted accuracy. With `map` (stratum) and "
            "`stratum_pixels` (its size) also of a map that has changed since they were drawn."
        ),
    ] = None,
    threshold: Annotated[float, typer.Option(help="For a change probability, 0 to 1.")] = 0.5,
    classes_before: Annotated[str | None, typer.Option(help="Reference classes of the first date,")] = None,
    classes_after: Annotated[str | None, typer.Option(help="and of the second: how right the classes are.")] = None,
    objects: Annotated[bool, typer.Option(help="Also count whole places.")] = True,
    min_area: Annotated[float, typer.Option(help="Places below these m² are not counted.")] = 0.0,
    store: Annotated[str | None, typer.Option(help="Keep the calibration in this installed model's card.")] = None,
    as_json: Json = False,
) -> None:
    """Say how right a change map is: pixels with intervals, places, classes, calibration."""
    given = locals()
    from changen2.cli.evaluation_tables import show
    from changen2.jobs.evaluate import evaluate as job

    result = run(job, given)
    if not as_json:
        show(result)


def sample(
    out_dir: Folder,
    size: Annotated[int, typer.Option(help="Pixels a side, 128 to 8192; 4096 take 11 GB of memory.")] = 1024,
    seed: Annotated[int, typer.Option(help="From 0; another seed draws another place.")] = 7,
    as_json: Json = False,
) -> None:
    """Draw a simulated scene of two dates to try things on."""
    given = locals()
    from changen2.jobs.sample import sample as job

    run(job, given)
