"""Change events as vector layers: reading what an analyst drew, writing what happened."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.io import DatasetReader
from rasterio.windows import transform
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.gpcm.classes import ClassTable
from changen2.gpcm.drawn import DrawnEvent
from changen2.gpcm.labels import Box
from changen2.gpcm.simulation import Event
from changen2.jobs.synthesis.polygon_layer import read_polygons
from changen2.protocol import MOST_STEPS
from changen2.raster.cover import polygonal
from changen2.raster.grid import Grid
from changen2.raster.ground import area_m2
from changen2.raster.outlines import outlines
from changen2.raster.vector_files import for_pyogrio
from changen2.raster.vectors import SEGMENT_PIXELS
from changen2.raster.writing import disk_errors

LAYER = "change_events"

FIELDS = {
    "event": object,
    "to_class": object,
    "step": np.int32,
    "from_class": object,
    "area_m2": np.float64,
    "area_px": np.int64,
    "origin": object,
}
"""The first three are what an events layer needs, so this layer can be given to another run."""


@dataclass(frozen=True)
class EventRow:
    """One feature of the events layer; geometry in the grid's coordinates."""

    geometry: BaseGeometry
    event: str
    to_class: str
    step: int
    from_class: str | None
    area_px: int
    origin: str


def read_events(
    path: str | Path,
    grid: Grid,
    classes: ClassTable,
    steps: int | None = None,
    background: Callable[[], int] = lambda: 0,
) -> tuple[list[DrawnEvent], list[str]]:
    """Read an events layer: polygons with ``event``, ``to_class`` and ``step`` (1 where it is missing).

    Invalid polygons are repaired, polygons that miss the raster are left out; both are said. Those that reach over its
    edge are cut there.

    Args:
        path: of one layer of any vector file, ``change_events`` where it holds several and none is named; its CRS is
            transformed to the grid's. On a grid without CRS coordinates are (column, row), y down, whatever the file
            claims.
        grid: of the raster.
        classes: names and numbers that ``to_class`` may have.
        steps: the series' length, or None for the largest step found.
        background: tells the class that ``remove`` leaves, where no ``to_class`` is given.

    Returns:
        The events in file order, in pixel coordinates, and warnings.

    Raises:
        InputError: unreadable, no polygon, a bad event, class or step, or nothing inside the raster.
    """
    geometries, columns, repairs = read_polygons(path, grid, (LAYER,))
    if "event" not in columns:
        raise InputError(
            f"{path} has the fields {', '.join(columns) or '(none)'}; event is missing.",
            hint="Give each polygon an event (create, remove or edit), a to_class and a step.",
            code="bad_event",
        )
    frame = shapely.box(0, 0, grid.width, grid.height)
    drawn: list[DrawnEvent] = []
    missed = 0
    for number, geometry in enumerate(geometries, 1):
        row = {name: _text(values[number - 1]) for name, values in columns.items()}
        event = _event(row, number, geometry, classes, background)
        _check_step(event.step, number, steps)
        # What reaches over the raster's edge is cut there, so that areas are of what happens on it.
        inside = geometry if geometry.within(frame) else polygonal(geometry.intersection(frame))
        if inside.area > 0:
            drawn.append(replace(event, geometry=inside))
        else:
            missed += 1
    if not drawn:
        raise InputError(
            f"None of the {missed} polygons in {path} lies on the raster.",
            hint="Check the layer's coordinate reference system.",
            code="no_overlap",
        )
    if missed:
        repairs.append(f"{missed} of {missed + len(drawn)} polygons lie outside the raster and were left out.")
    return drawn, repairs


def _check_step(step: int, number: int, steps: int | None) -> None:
    if step > MOST_STEPS:
        raise InputError(
            f"Feature {number} happens at step {step}; a series has at most {MOST_STEPS} steps.",
            hint="Steps count from 1, one for each image of the series; they are no years.",
            code="bad_step",
        )
    if steps is not None and step > steps:
        raise InputError(
            f"Feature {number} happens at step {step}, but the series has {steps}.",
            hint="Give more steps or change the feature's step.",
            code="bad_step",
        )


def footprints(
    marks: Path, change: Path, events: list[Event], check: Callable[[], None] = lambda: None
) -> Iterator[tuple[Event, BaseGeometry]]:
    """Each event with its polygon in the grid's coordinates, in the order of their numbers.

    Few events are looked up in their own windows; many are traced in one pass over the raster, from disk.

    Args:
        marks: raster of event numbers.
        change: the change map of the same step; only changed pixels are looked at.
        events: of that step; those whose pixels were all taken by later ones are left out.
        check: called every now and then while many are traced; may raise to cancel.
    """
    with rasterio.open(marks) as numbers:
        boxes = sum(event.box.shape[0] * event.box.shape[1] for event in events)
        if boxes <= numbers.width * numbers.height:
            found = {event.number: _trace(numbers, event) for event in events}
        else:
            found = {}
            for outline, number in outlines(marks, change, 8, check):
                found.setdefault(number, []).append(outline)
    for event in events:
        if pieces := found.get(event.number):
            # Pixels that touch by a corner make one polygon that touches itself.
            yield event, shapely.union_all([shapely.make_valid(piece) for piece in pieces])


def _trace(numbers: DatasetReader, event: Event) -> list[BaseGeometry]:
    """The outlines of one event's pixels, block by block."""
    pieces = []
    for part in event.box.blocks():
        window = part.window
        mine = numbers.read(1, window=window) == event.number
        moved = transform(window, numbers.transform)
        pieces += [shape(outline) for outline, _ in shapes(mine.astype(np.uint8), mine, 8, moved)]
    return pieces


class MarkRaster:
    """Which event touched each pixel, int32 on disk, 0 where none did.

    Args:
        path: in a work folder.
        grid: of the series.
    """

    def __init__(self, path: Path, grid: Grid) -> None:
        self.path = path
        self._dataset = rasterio.open(
            path,
            "w+",
            driver="GTiff",
            dtype="int32",
            count=1,
            width=grid.width,
            height=grid.height,
            crs=grid.crs,
            transform=grid.transform,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            sparse_ok=True,
            bigtiff="IF_SAFER",
            compress="DEFLATE",
        )

    def mark(self, box: Box, numbers: NDArray[np.int32]) -> None:
        """Put down the numbers above 0 of a window [h, w]."""
        window = box.window
        if (numbers == 0).any():
            numbers = np.where(numbers > 0, numbers, self._dataset.read(1, window=window))
        self._dataset.write(numbers, 1, window=window)

    def close(self) -> None:
        """Finish writing."""
        self._dataset.close()


def write_events(path: Path, rows: list[EventRow], grid: Grid) -> None:
    """Write ``change_events.gpkg`` (layer ``change_events``)."""
    edge = SEGMENT_PIXELS * max(abs(grid.transform.a), abs(grid.transform.e))
    areas = [area_m2(row.geometry, grid.crs, edge) for row in rows]
    columns: dict[str, list[Any]] = {name: [getattr(row, name, None) for row in rows] for name in FIELDS}
    columns["area_m2"] = [np.nan if area is None else area for area in areas]
    polygons = [row.geometry if row.geometry.geom_type == "MultiPolygon" else _multi(row.geometry) for row in rows]
    with warnings.catch_warnings():
        # A layer without CRS is right where the raster has none.
        warnings.simplefilter("ignore", UserWarning)
        with disk_errors(path):
            _write(path, polygons, columns, grid)


def _write(path: Path, polygons: list[BaseGeometry], columns: dict[str, list[Any]], grid: Grid) -> None:
    with for_pyogrio(path) as file:
        pyogrio.raw.write(
            file,
            geometry=shapely.to_wkb(np.array(polygons, dtype=object)),
            field_data=[np.array(columns[name], dtype=kind) for name, kind in FIELDS.items()],
            fields=list(FIELDS),
            layer=LAYER,
            driver="GPKG",
            geometry_type="MultiPolygon",
            crs=grid.crs.to_wkt() if grid.crs else None,
            nan_as_null=True,
        )


def to_grid(geometry: BaseGeometry, grid: Grid) -> BaseGeometry:
    """A geometry in pixel coordinates in those of the grid."""
    return shapely.transform(geometry, lambda x, y: grid.transform @ (x, y), interleaved=False)


def _multi(geometry: BaseGeometry) -> BaseGeometry:
    """The polygons of any geometry as one multipolygon."""
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]
    return shapely.MultiPolygon(parts)


def _event(
    row: dict[str, str], number: int, geometry: BaseGeometry, classes: ClassTable, background: Callable[[], int]
) -> DrawnEvent:
    kind = row["event"].casefold()
    wanted = row.get("to_class", "")
    if not wanted and kind != "remove":
        raise InputError(
            f"Feature {number} ({kind or 'no event'}) has no to_class.",
            hint="Say which class it becomes, by name or number.",
            code="bad_class",
        )
    try:
        step = float(row.get("step", "") or 1)
        if not step.is_integer():
            raise ValueError
    except ValueError:
        raise InputError(
            f"Feature {number} has the step {row['step']!r}.", hint="Steps are whole numbers from 1.", code="bad_step"
        ) from None
    return DrawnEvent(kind, classes.resolve(wanted) if wanted else background(), int(step), geometry)


def _text(value: object) -> str:
    """A field's value as text; null in any of its guises is empty."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    return str(value).strip()
