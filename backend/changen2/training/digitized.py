"""Pairs cut out of two rasters on which somebody drew the changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.raster.area import Area, read_changes
from changen2.raster.grid import Grid
from changen2.raster.reading import AlignedRaster, open_raster
from changen2.training.places import IGNORE, Place, PlacePair

TILE = 256
MOST_TILES = 800  # some 300 MB of memory
HELD_OUT = 0.2  # share of the changed area
LEAST_SIDE = 64  # pixels of either part


def read_digitized(
    before: str | Path,
    after: str | Path,
    changes: str | Path,
    gsd: float,
    *,
    aoi: str | Path | None = None,
    bands: tuple[int, ...] | None = None,
    bands_after: tuple[int, ...] | None = None,
    on_tile: Callable[[int, int], None] = lambda done, total: None,
    notes: list[str] | None = None,
) -> list[PlacePair]:
    """Cut tiles out of two rasters: all that hold a change, and as many again that hold none.

    One end of the rasters, with about a fifth of the changed area, is held out.

    Args:
        before: raster that gives the grid.
        after: raster, warped to that grid.
        changes: polygons of all changes in the area; what lies outside them did not change, nor did what a review
            rejected, see :func:`changen2.raster.area.read_changes`.
        gsd: metres per pixel of ``before``.
        aoi: polygons of the area that was looked through; all of ``before`` by default.
        bands, bands_after: see :func:`changen2.raster.reading.choose_bands`.
        on_tile: told tiles read and tiles in all; may raise to cancel.
        notes: takes what a person should know of the changes.

    Raises:
        InputError: ``too_few`` changes to learn from and to hold some out, ``empty_extent`` where all were rejected, or
            an input that cannot be read.
    """
    with open_raster(before) as dataset:
        grid = Grid.of(dataset)
    grid.require_north_up(before)
    polygons = read_changes(changes, grid, [] if notes is None else notes)
    if not polygons:
        raise InputError(
            f"All polygons of {changes} were rejected in their review: no change is left.",
            hint="Confirm those that are changes, add what is missing, or give another layer.",
            code="empty_extent",
        )
    drawn, area = Area(grid, grid.window, polygons), Area.choose(grid, aoi=aoi)
    parts = split(area.window, polygons, grid)
    chosen = [order_tiles(tiles(part), drawn, area) for part in parts]
    total = sum(len(changed) + min(len(others), wanted(changed)) for changed, others in chosen)
    pairs: list[PlacePair] = []
    done = 0
    bands_after = bands if bands_after is None else bands_after
    with AlignedRaster(before, grid, bands) as first, AlignedRaster(after, grid, bands_after) as second:

        def read(windows: Iterable[Window], held_out: bool) -> Iterator[PlacePair]:
            nonlocal done
            for window in windows:
                pair = _read_tile(first, second, drawn, area, window, gsd, held_out)
                done += pair is not None
                on_tile(done, total)
                if pair is not None:
                    yield pair

        for held_out, (changed, others) in enumerate(chosen):
            pairs.extend(read(changed, bool(held_out)))
            # Some may turn out to hold no known pixel, so it takes more than are wanted.
            pairs.extend(islice(read(others, bool(held_out)), wanted(changed)))
    return pairs


def split(window: Window, polygons: list[BaseGeometry], grid: Grid) -> tuple[Window, Window]:
    """Part a window, so that its far end holds about a fifth of the polygons' area.

    It is cut across its longer side, else across the shorter one.

    Raises:
        InputError: ``too_few`` polygons in the window, or polygons too close together.
    """
    centres = np.array([~grid.transform @ (p.centroid.x, p.centroid.y) for p in polygons])
    start = np.array([window.col_off, window.row_off])
    size = np.array([window.width, window.height])
    inside = ((centres >= start) & (centres < start + size)).all(axis=1)
    places, areas = centres[inside] - start, shapely.area(np.array(polygons, object))[inside]
    if len(places) < 2:
        raise InputError(
            f"{len(places)} of the changes lie in the area; at least two are needed, to learn from one and to measure "
            "with the other.",
            hint="Draw more changes: some twenty make a model that is worth using.",
            code="too_few",
        )
    longer = int(size[1] > size[0])
    column, row, width, height = window.flatten()
    for axis in (longer, 1 - longer):
        cut = _cut(places[:, axis], areas)
        if LEAST_SIDE <= cut <= size[axis] - LEAST_SIDE:
            if axis:
                return Window(column, row, width, cut), Window(column, row + cut, width, height - cut)
            return Window(column, row, cut, height), Window(column + cut, row, width - cut, height)
    raise InputError(
        "The changes lie too close together to hold some out: the rasters would be cut at "
        f"{' or '.join(f'pixel {_cut(places[:, axis], areas)} of {size[axis]}' for axis in (longer, 1 - longer))}.",
        hint=f"Draw changes farther apart, or give larger rasters: each part needs {LEAST_SIDE} pixels.",
        code="too_few",
    )


def _cut(places: NDArray[np.float64], areas: NDArray[np.float64]) -> int:
    """The pixel along a side beyond which about a fifth of the changed area lies, and at least one change."""
    order = np.argsort(places)
    sums = np.cumsum(areas[order])
    last = min(int(np.searchsorted(sums, (1 - HELD_OUT) * sums[-1])), len(places) - 2)
    return round(float(places[order[last : last + 2]].mean()))


def tiles(part: Window) -> list[Window]:
    """Windows of up to ``TILE``² pixels that cover a part; slivers at its edge join their neighbours."""
    columns, rows = _edges(part.width), _edges(part.height)
    return [
        Window(part.col_off + left, part.row_off + top, right - left, bottom - top)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _edges(length: int) -> list[int]:
    count = max(1, round(length / TILE))
    return [round(length * index / count) for index in range(count + 1)]


def order_tiles(windows: list[Window], drawn: Area, area: Area) -> tuple[list[Window], list[Window]]:
    """The windows that hold a change, and those that hold none in an order that is drawn alike every time.

    Args:
        windows: tiles of the raster.
        drawn: the changes.
        area: what was looked through; windows outside it are left out.
    """
    inside = [window for window in windows if _meets(area, window)]
    changed = [_meets(drawn, window) for window in inside]
    rng = np.random.default_rng(0)
    with_change, without = (
        [window for window, is_changed in zip(inside, changed, strict=True) if is_changed == kind]
        for kind in (True, False)
    )
    picks = np.sort(rng.permutation(len(with_change))[: MOST_TILES // 2])
    return [with_change[index] for index in picks], [without[index] for index in rng.permutation(len(without))]


def wanted(changed: list[Window]) -> int:
    """How many tiles without change are to go with those that hold one."""
    return max(8, min(len(changed), MOST_TILES // 2))


def _meets(area: Area, window: Window) -> bool:
    """Whether a pixel of a window is in an area."""
    mask = area.mask(window)
    return mask is None or bool(mask.any())


def _read_tile(
    first: AlignedRaster, second: AlignedRaster, drawn: Area, area: Area, window: Window, gsd: float, held_out: bool
) -> PlacePair | None:
    """One tile; None where nothing of it is known."""
    (before, seen_before), (after, seen_after) = first.read(window), second.read(window)
    known: NDArray[np.bool_] = seen_before & seen_after
    looked_through = area.mask(window)
    if looked_through is not None:
        known &= looked_through
    if not known.any():
        return None
    burnt = drawn.mask(window)
    label = np.where(known, 0 if burnt is None else burnt, IGNORE).astype(np.uint8)
    unknown = np.full(label.shape, IGNORE, np.uint8)
    name = f"{window.col_off},{window.row_off}"
    return PlacePair(
        *(
            Place("digitized", name, np.ascontiguousarray(np.moveaxis(image, 0, -1)), mask, gsd, held_out)
            for image, mask in ((before, unknown), (after, unknown), (after, label))
        )
    )
