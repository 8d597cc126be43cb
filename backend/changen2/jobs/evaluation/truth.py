"""What a change map says and what is true there, window by window on the map's grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.jobs.detection.change_map import LEVELS, lowest_change_value
from changen2.raster.area import Area, read_changes
from changen2.raster.grid import Grid
from changen2.raster.layers import CHANGES, NOTATION, read_layer
from changen2.raster.reading import broken_pixels, check_overlap, is_probability, open_raster, warp
from changen2.raster.validity import Validity
from changen2.raster.vectors import UNCHANGED, read_class_tags, read_unchanged

VECTORS = {".gpkg", ".shp", ".geojson", ".json", ".fgb", ".kml"}

SIDE = 1024
"""Rows and columns of the windows in which a map without a description is looked through."""

MOST_NUMBERS = 32
"""More values than this, and a map of bytes may be a probability; fewer number classes, or degrees of damage."""

UNLIKELY = lowest_change_value(0.05)
"""Below this, or without data, is most of a map in which most did not change."""

ROUNDING = 1e-3
"""How far fractions may reach beyond 0..1, as warped ones do."""

MASK, PROBABILITY = "0/1 map", "change probability"
"""What a change map may be."""

BY_VALUES = (
    "no band description tells what the map is; its values are taken for a change probability. Where they number "
    "something, give a map of 0 and 1."
)
NUMBERS = (
    f"it holds more than {MOST_NUMBERS} different values, and all but 0 were taken for change: the threshold has no "
    "effect. Where they tell how likely change is, scale them to 0..1, as fractions."
)
FAR = "no polygon of the reference lies anywhere near: taken for no change; check both coordinate systems."

Mask = NDArray[np.bool_]

Truth = Callable[[Window], tuple[Mask, Mask]]
"""Window of the map → where there is change, and where that is known, each ``[h, w]``."""


class ChangeMap:
    """An open 0/1 map, or a change probability at a threshold; use as a context manager.

    A probability is stored as detection writes it, which the band's description tells; without one, also of the parts
    of a virtual mosaic, it is bytes of many values, half of them or more next to no change, beside a nodata value of 0.
    Fractions of 0..1 are one too. In a 0/1 map whatever is not zero is change, and, as in a reference, a nodata value
    of 0 says that nothing changed. A class of change is a 0/1 map too, in which several classes may be unchanged.

    Attributes:
        grid: of the map.
        taken_for: ``MASK`` or ``PROBABILITY``.
        notes: what a person should know of that; the last of it when all of the map was looked at.

    Args:
        path: of the map.
        threshold: 0..1, for a probability.
        check: called for each window that is looked through; may raise to cancel.

    Raises:
        InputError: it cannot be read, or ``bad_value``: it holds other fractions, or classes of one date. Reading:
            ``bad_band``, see ``_Band``.
    """

    def __init__(self, path: str | Path, threshold: float, check: Callable[[], None] = lambda: None) -> None:
        self._dataset = open_raster(path)
        self._band = _Band(path, self._dataset)
        self._threshold = threshold
        self.grid = Grid.of(self._dataset)
        self.notes: list[str] = []
        self._is_stored = is_probability(self._dataset)
        self.taken_for = PROBABILITY if self._is_stored else MASK
        if not self._is_stored and self._looks_probable(check):
            self._is_stored = not self._band.floating
            self.taken_for = PROBABILITY
            self.notes.append(BY_VALUES)
        if self.taken_for == MASK:
            self._band = _Band(path, self._dataset, zero_counts=True)
        self._met: set[float] = set()

    def __enter__(self) -> ChangeMap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dataset.close()

    def __call__(self, window: Window) -> tuple[Mask, Mask]:
        """Return where there is change, and where the map says anything, each ``[h, w]``."""
        values, valid = self._band.read(self._dataset, window)
        if self.taken_for == MASK:
            changed = self._band.changed(values)
            self._note_numbers(values[valid & changed])
            return changed, valid
        return values >= (lowest_change_value(self._threshold) if self._is_stored else self._threshold), valid

    def levels(self, window: Window) -> NDArray[np.int64]:
        """Return a probability in steps of 1 / ``LEVELS``, ``[h, w]``, meaningless where the map says nothing."""
        values, valid = self._band.read(self._dataset, window)
        fractions = values.astype(np.float64) - 1 if self._is_stored else values.astype(np.float64) * LEVELS
        return np.rint(np.where(valid, fractions, 0)).clip(0, LEVELS).astype(np.int64)

    def _note_numbers(self, values: NDArray[Any]) -> None:
        if len(self._met) < MOST_NUMBERS:
            self._met.update(np.unique(values).tolist())
            self.notes += [NUMBERS] if len(self._met) >= MOST_NUMBERS else []

    def _looks_probable(self, check: Callable[[], None]) -> bool:
        if self._band.floating:
            return self._holds_fractions(check)
        if self._band.dtype != np.uint8 or self._dataset.nodata != 0 or self._band.has_colors:
            return False
        counts = np.zeros(256, np.int64)
        for known in self._known(check):
            counts += np.bincount(known, minlength=256)
        return bool(np.count_nonzero(counts) > MOST_NUMBERS and 2 * counts[:UNLIKELY].sum() >= counts.sum())

    def _holds_fractions(self, check: Callable[[], None]) -> bool:
        least, most, fractions = 0.0, 1.0, False
        for known in self._known(check):
            fractions = fractions or bool((known != np.rint(known)).any())
            least, most = float(known.min(initial=least)), float(known.max(initial=most))
        if fractions and (least < -ROUNDING or most > 1 + ROUNDING):
            raise InputError(
                f"{self._band.path} holds fractions from {least:g} to {most:g}: it is no 0/1 map, and a change "
                "probability is from 0 to 1.",
                hint="Scale it to 0..1, or make it 0 where nothing changed and 1 elsewhere.",
                code="bad_value",
            )
        return fractions

    def _known(self, check: Callable[[], None]) -> Iterator[NDArray[Any]]:
        for window in self.grid.windows(SIDE):
            check()
            values, valid = self._band.read(self._dataset, window)
            yield values[valid]


class _Band:
    """The one band of a map; where an image format wants three, all are the same.

    Raises:
        InputError: ``bad_value`` where it names classes and does not tell which of them are unchanged.
    """

    def __init__(self, path: str | Path, dataset: DatasetReader, *, zero_counts: bool = False) -> None:
        self.path = path
        colors = dataset.colorinterp
        self._numbers = [number for number, color in enumerate(colors, 1) if color != ColorInterp.alpha] or [1]
        self.has_colors = colors[self._numbers[0] - 1] == ColorInterp.palette
        self.dtype = np.dtype(dataset.dtypes[self._numbers[0] - 1])
        self.floating = self.dtype.kind == "f"
        self.validity = Validity(dataset, tuple(self._numbers), zero_counts=zero_counts)
        tags = dataset.tags()
        self._unchanged = read_unchanged(tags)
        if (names := read_class_tags(tags)) and UNCHANGED not in tags:
            raise InputError(
                f"{path} is a map of classes ({', '.join(names.values())}): it does not tell what changed.",
                hint="Give a map of change: change.tif or, of a series, change_t0_t1.tif beside it.",
                code="bad_value",
            )

    def read(self, reader: DatasetReader, window: Window) -> tuple[NDArray[Any], Mask]:
        """Return values and where they are valid, each ``[h, w]``; the reader may be a warped one.

        Raises:
            InputError: ``bad_band`` where there are several bands that differ, ``unreadable``.
        """
        with broken_pixels(self.path):
            values = reader.read(self._numbers, window=window)
            valid = self.validity.of(values, reader, window=window)
        first, *others = values
        if not all(np.array_equal(first, other, equal_nan=self.floating) for other in others):
            raise InputError(
                f"{self.path} has {len(self._numbers)} bands that differ: it is an image rather than a map of change.",
                hint="Give a raster of one band; gdal_translate -b NUMBER IN OUT takes one out of several.",
                code="bad_band",
            )
        return first, valid

    def changed(self, values: NDArray[Any]) -> Mask:
        """Return where a mask, or a class of change, says change ``[h, w]``."""
        return np.isin(values, self._unchanged, invert=True)


def is_layer(reference: str | Path) -> bool:
    """Whether a reference is a polygon layer, by its ending."""
    return Path(str(reference).partition(NOTATION)[0]).suffix.lower() in VECTORS


def open_truth(reference: str | Path, grid: Grid, notes: list[str] | None = None) -> Truth:
    """Open a reference on a change map's grid.

    Args:
        reference: a raster whose non-zero valid pixels are change (on any grid or CRS, warped by nearest neighbour),
            or a polygon layer of changes, outside which nothing changed; those that a review of a detection rejected
            are none. Of a class of change, as detection writes it, the classes that it calls unchanged are none. A
            nodata value of 0, as rasters of drawn polygons often have it, says that nothing changed, not that it is
            unknown; NaN, and what a mask or alpha band hides, is unknown.
        grid: of the change map.
        notes: takes what a person should know of it.

    Raises:
        InputError: it cannot be read, or is a raster that lies elsewhere; ``bad_value``: it is a change probability,
            or classes of one date. Reading: ``bad_band``, see ``_Band``.
    """
    if is_layer(reference):
        return _polygon_truth(reference, grid, [] if notes is None else notes)
    return _RasterTruth(reference, grid)


class _RasterTruth:
    def __init__(self, path: str | Path, grid: Grid) -> None:
        self._dataset = open_raster(path)
        # From which probability on a place counts as changed nobody has said; above 0 it is nearly everywhere.
        if is_probability(self._dataset):
            raise InputError(
                f"{path} is a change probability: what is true is a map of change, or polygons.",
                hint="Give the map that was made of it at a threshold: change.tif beside it.",
                code="bad_value",
            )
        self._band = _Band(path, self._dataset, zero_counts=True)
        own = Grid.of(self._dataset).beside(grid)
        check_overlap(own, grid, path, "the change map")
        self._reader = self._dataset
        if own != grid:
            source, destination = self._band.validity.to_warp()
            self._reader = warp(source, grid, Resampling.nearest, **destination)

    def __call__(self, window: Window) -> tuple[Mask, Mask]:
        values, valid = self._band.read(self._reader, window)
        return self._band.changed(values), valid


def _polygon_truth(path: str | Path, grid: Grid, notes: list[str]) -> Truth:
    grid.require_north_up("The change map")
    polygons = _polygons_of(path, grid, notes)
    if polygons is not None and not _meets_surroundings(polygons, grid):
        notes.append(FAR)
    area = Area(grid, grid.window, polygons) if polygons else None

    def truth(window: Window) -> tuple[Mask, Mask]:
        nothing = np.zeros((window.height, window.width), bool)
        burnt = area.mask(window) if area else None
        return nothing if burnt is None else burnt, ~nothing

    return truth


def _polygons_of(path: str | Path, grid: Grid, notes: list[str]) -> list[BaseGeometry] | None:
    """The polygons of a layer, empty where none can be brought to the grid; None: it has no feature that counts."""
    try:
        return read_changes(path, grid, notes) or None
    except InputError as error:
        if error.code == "no_overlap":
            return []
        if error.code == "empty_extent" and not read_layer(path, usual=CHANGES, columns=[]).geometries:
            return None
        raise


def _meets_surroundings(polygons: list[BaseGeometry], grid: Grid) -> bool:
    """Whether the extent of polygons reaches a grid, or the ground beside it that is as large again on every side."""
    if not polygons:
        return False
    left, bottom, right, top = grid.bounds()
    width, height = right - left, top - bottom
    around = shapely.box(left - width, bottom - height, right + width, top + height)
    return bool(around.intersects(shapely.box(*shapely.total_bounds(polygons))))
