"""Run the synthesis job on a tile and read back what it wrote, so that a report shows what a user gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import shape
from shapely.ops import unary_union

from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis.events import EventRow, write_events
from changen2.jobs.synthesize import run_with
from changen2.protocol import SynthesizeRequest, validate
from changen2.raster.grid import Grid
from changen2.reports.held_out import Tile
from changen2.reports.subject import Subject

CORNER = (500_000.0, 5_000_000.0)
UTM = "EPSG:32633"


@dataclass(frozen=True)
class DrawnEvent:
    """An event in pixels.

    Attributes:
        mask: where [h, w].
        event: create, remove or edit.
        to_class: the generator's class.
        step: from 1.
    """

    mask: NDArray[np.bool_]
    event: str
    to_class: int
    step: int = 1


@dataclass(frozen=True)
class Series:
    """What the job wrote, by step; the first image and labels are the input's.

    Attributes:
        images: RGB [3, h, w] each.
        labels: classes [h, w] each.
        changes: of each step, one fewer [h, w] each.
    """

    images: list[NDArray[np.uint8]]
    labels: list[NDArray[np.uint8]]
    changes: list[NDArray[np.bool_]]


def run_series(
    subject: Subject, folder: Path, tile: Tile, events: Sequence[DrawnEvent] = (), labelled: bool = True, **options: Any
) -> Series:
    """Synthesize from a tile with its labels and events.

    Args:
        subject: the generator.
        folder: for all files; made here.
        tile: the image at the first date.
        events: drawn ones; without any, the job simulates them.
        labelled: whether the job gets the tile's labels.
        **options: of the job, such as ``init`` or ``simulate``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grid = Grid(rasterio.CRS.from_string(UTM), Affine(tile.gsd, 0, CORNER[0], 0, -tile.gsd, CORNER[1]), *_size(tile))
    _write(folder / "image.tif", tile.image, grid)
    given: dict[str, Any] = {"seed": subject.options.seed, **options}
    if labelled:
        _write(folder / "labels.tif", tile.label[None], grid)
        given["labels"] = folder / "labels.tif"
    if events:
        write_events(folder / "events.gpkg", [_row(event, subject, grid) for event in events], grid)
        given["events"] = folder / "events.gpkg"
    paths = {"image": folder / "image.tif", "out_dir": folder / "out", "overwrite": True}
    request = validate(SynthesizeRequest, {**paths, "device": "cpu", "threads": torch.get_num_threads(), **given})
    outputs = run_with(request, subject.card, lambda: subject.generator, Reporter())["outputs"]
    return _read(outputs, tile.image)


def _row(event: DrawnEvent, subject: Subject, grid: Grid) -> EventRow:
    values = event.mask.astype(np.uint8)
    parts = [shape(polygon) for polygon, _ in shapes(values, event.mask, transform=grid.transform)]
    name = subject.classes.names[event.to_class]
    return EventRow(unary_union(parts), event.event, name, event.step, None, int(event.mask.sum()), "drawn")


def _size(tile: Tile) -> tuple[int, int]:
    height, width = tile.label.shape
    return width, height


def _write(path: Path, values: NDArray[np.uint8], grid: Grid) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": len(values), "width": grid.width, "height": grid.height}
    with rasterio.open(path, "w", crs=grid.crs, transform=grid.transform, **profile) as dataset:
        dataset.write(values)


def _read(outputs: dict[str, str], before: NDArray[np.uint8]) -> Series:
    def bands(key: str) -> NDArray[np.uint8]:
        with rasterio.open(outputs[key]) as dataset:
            return np.asarray(dataset.read())

    steps = range(1, sum(key.startswith("image_t") for key in outputs) + 1)
    return Series(
        [before, *(bands(f"image_t{step}") for step in steps)],
        [bands(f"labels_t{step}")[0] for step in (0, *steps)],
        [bands(f"change_t{step - 1}_t{step}")[0] == 1 for step in steps],
    )
