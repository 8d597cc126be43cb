"""The area of interest: a window of the reference grid and, inside it, the polygons that count."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.raster.cover import Cover, polygonal
from changen2.raster.grid import Bounds, Grid
from changen2.raster.layers import CHANGES, EVENT, REJECTED, REVIEW, REVIEWS, Layer, read_layer
from changen2.raster.reading import unrelated

SIDE = 1024
"""Pixels of what is looked through at once for a pixel that counts."""

LATTICE = 22
"""Points along a side by which a raster's surroundings are found in other coordinates."""


class Area:
    """What part of the reference grid is asked for.

    Args:
        grid: the reference grid.
        window: the pixels that the outputs cover.
        polygons: in the grid's coordinates; pixels whose centre lies in none are masked. None: all count.
    """

    def __init__(self, grid: Grid, window: Window, polygons: list[BaseGeometry] | None = None) -> None:
        self.grid = grid
        self.window = window
        self._cover = None if polygons is None else Cover(polygons)

    @classmethod
    def choose(cls, grid: Grid, bounds: Bounds | None = None, aoi: str | Path | None = None) -> Area:
        """Take the whole grid, a rectangle in its coordinates, or the polygons of a vector file.

        Raises:
            InputError: both given, an unreadable file, an extent or polygons without pixels or off the raster.
        """
        if bounds is not None and aoi is not None:
            raise InputError(
                "Both --bounds and --aoi are given; only one can say where.",
                hint="Leave one of them out.",
                code="bad_value",
            )
        if aoi is not None:
            polygons = read_polygons(aoi, grid)
            on_raster = np.array(polygons, object)[shapely.intersects(polygons, shapely.box(*grid.bounds()))]
            merged = shapely.total_bounds(on_raster if len(on_raster) else polygons)
            area = cls(grid, grid.window_of(_outward(grid, tuple(merged))), polygons)
            if area.is_empty():
                raise InputError(
                    f"The polygons of {aoi} hold no pixel: no pixel's centre lies in one.",
                    hint="Draw larger polygons; a place counts from about one pixel of the raster.",
                    code="empty_extent",
                )
            return area
        return cls(grid, grid.window_of(bounds) if bounds is not None else grid.window)

    def mask(self, window: Window) -> NDArray[np.bool_] | None:
        """Return which pixels of a window count ``[h, w]``; None where all do."""
        if self._cover is None:
            return None
        part = self.grid.crop(window)
        return self._cover.burn((part.height, part.width), part.transform)

    def is_empty(self) -> bool:
        """Return whether no pixel counts."""
        if self._cover is None:
            return False
        own = self.grid.crop(self.window)
        parts = (own.crop(part) for part in own.windows(SIDE))
        return not any(self._cover.burn((part.height, part.width), part.transform).any() for part in parts)

    def meets(self, grid: Grid, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which windows may hold a pixel that counts ``[rows, columns]``: those that a polygon reaches into.

        Args:
            grid: any over the same ground, in the same coordinates.
            rows: first and end row of the windows on that grid, fractions too ``[rows, 2]``.
            columns: first and end column ``[columns, 2]``.
        """
        shape = len(rows), len(columns)
        if self._cover is None:
            return np.ones(shape, bool)
        x0, x1 = (grid.transform.c + grid.transform.a * columns).T
        y0, y1 = (grid.transform.f + grid.transform.e * rows).T
        sides = np.broadcast_arrays(x0[None], y0[:, None], x1[None], y1[:, None])
        return self._cover.meets(shapely.box(*(side.ravel() for side in sides))).reshape(shape)


def read_polygons(path: str | Path, grid: Grid) -> list[BaseGeometry]:
    """Read the polygons of any vector file in the grid's coordinates; those far from it may be left out.

    Without a CRS on the grid, coordinates are taken as (column, row), whatever the file claims.

    Args:
        path: of one layer, see :func:`changen2.raster.layers.read_layer`.
        grid: of the raster.

    Raises:
        InputError: as of ``read_layer``, ``empty_extent`` (no polygon in it) or ``no_overlap``.
    """
    layer = read_near(path, grid, columns=[])
    return _polygons(layer.geometries, layer.crs, path, grid)


def read_changes(path: str | Path, grid: Grid, notes: list[str]) -> list[BaseGeometry]:
    """Read polygons of changes as :func:`read_polygons` does, but those that a review of a detection rejected.

    Args:
        path: of one layer, or of several of which one is named as detection or synthesis names it.
        grid: of the raster.
        notes: takes how many were left out, and that drawn events of several steps count alike.

    Returns:
        Polygons as of ``read_polygons``; none where all were rejected.

    Raises:
        InputError: as of ``read_polygons``.
    """
    layer = read_near(path, grid, usual=CHANGES, columns=[REVIEW, *EVENT])
    rejected = _rejected(layer)
    kept = [shape for shape, left_out in zip(layer.geometries, rejected, strict=True) if not left_out]
    if any(rejected):
        notes.append(f"{sum(rejected)} of {len(rejected)} polygons of {path} were rejected in their review: left out.")
    if rejected and all(rejected):
        return []
    if len(steps := _steps(layer)) > 1:
        notes.append(
            f"{path} holds events of steps {steps[0]} to {steps[-1]}: all are taken for change, as between the first "
            "and the last image of their series. For two other images export those of the steps between them alone."
        )
    return _polygons(kept, layer.crs, path, grid)


def _steps(layer: Layer) -> list[int]:
    """The steps of a synthesis in which drawn events happen, in order; none of any other layer."""
    if not layer.fields.keys() >= set(EVENT):
        return []
    numbers = (step for step in layer.fields["step"].tolist() if isinstance(step, int | float) and step == step)
    return sorted({int(step) for step in numbers})


def read_near(path: str | Path, grid: Grid, *, usual: Sequence[str] = (), columns: Sequence[str] = ()) -> Layer:
    """Read what of a layer lies on a grid or beside it: that of a whole country takes minutes, and all memory.

    All of it is read where no polygon is near, and where the layer has any of the columns, for values are counted.

    Args:
        path: as of :func:`changen2.raster.layers.read_layer`, as are ``usual`` and ``columns``.
        grid: of the raster.

    Raises:
        InputError: as of ``read_layer`` and :func:`way_to_grid`.
    """
    near = read_layer(path, usual=usual, columns=columns, around=partial(_surroundings, grid, path))
    found = any(shape is not None and polygonal(shape).area > 0 for shape in near.geometries)
    if len(near.geometries) == near.count or (found and not near.fields):
        return near
    return read_layer(path, usual=usual, columns=columns)


def _surroundings(grid: Grid, path: str | Path, crs: str | None, extent: Bounds) -> Bounds | None:
    """A grid and as much again on every side of it, in the coordinates of a layer; None where they are not sure."""
    left, bottom, right, top = grid.bounds()
    width, height = right - left, top - bottom
    x, y = lattice = np.meshgrid(
        np.linspace(left - width, right + width, LATTICE), np.linspace(bottom - height, top + height, LATTICE)
    )
    to_grid = way_to_grid(crs, grid, path)
    if to_grid is not None:
        # Longitudes of another turn are of the same places.
        if CRS.from_user_input(crs).is_geographic and (extent[0] < -180 or extent[2] > 180):
            return None
        x, y = to_grid.transform(*lattice, direction=TransformDirection.INVERSE)
        back = to_grid.transform(x, y)
        if not all(
            np.allclose(a, b, 0, side / 1000) for a, b, side in zip(back, lattice, (width, height), strict=True)
        ):
            return None  # where coordinates fold or end
        if any(
            (steps := np.hypot(np.diff(x, axis=i), np.diff(y, axis=i))).max() > 4 * np.median(steps) for i in (0, 1)
        ):
            return None  # where they turn over, as at the antimeridian
    rim_x, rim_y = np.ptp(x) / LATTICE, np.ptp(y) / LATTICE  # what bulges out between two points
    return x.min() - rim_x, y.min() - rim_y, x.max() + rim_x, y.max() + rim_y


def _rejected(layer: Layer) -> list[bool]:
    """Whether each feature was rejected; none was where a field of that name holds anything but marks of a review."""
    marks = list(layer.fields.get(REVIEW, ())) if layer.geometries else []
    if not {mark for mark in marks if isinstance(mark, str) and mark} <= REVIEWS:
        marks = []
    return [mark == REJECTED for mark in marks] or [False] * len(layer.geometries)


def _polygons(shapes: list[BaseGeometry | None], crs: str | None, path: str | Path, grid: Grid) -> list[BaseGeometry]:
    sound = (polygonal(shape) for shape in shapes if shape is not None)
    polygons = [shape for shape in sound if shape.area > 0]
    if not polygons:
        raise InputError(
            f"{path} holds no polygon with an area ({len(shapes)} features with a shape read).",
            hint="Give a polygon layer; points, lines and tables enclose nothing.",
            code="empty_extent",
        )
    there = [shape for shape in in_grid_crs(polygons, crs, grid, path) if not shape.is_empty]
    if not there:
        raise InputError(
            f"No polygon of {path} can be brought to the raster's coordinate system, {grid.crs}.",
            hint="They lie too far away; check both coordinate systems.",
            code="no_overlap",
        )
    return there


def in_grid_crs(polygons: list[BaseGeometry], crs: str | None, grid: Grid, path: str | Path) -> list[BaseGeometry]:
    """Polygons in the coordinate system of a grid, one for each; as they are where either has none.

    One that reaches beyond what that system can tell, such as a country on a UTM zone, is cut to the surroundings of
    the grid; one that lies wholly beyond is empty.

    Args:
        polygons: of a layer.
        crs: of the layer.
        grid: of the raster.
        path: of the layer, for the message.

    Raises:
        InputError: as of :func:`way_to_grid`.
    """
    to_grid = way_to_grid(crs, grid, path)
    return [_moved(shape, to_grid, grid) for shape in polygons] if to_grid else polygons


def way_to_grid(crs: str | None, grid: Grid, path: str | Path) -> Transformer | None:
    """Return what brings a layer's coordinates to a grid's; None where they are the same, or either has no CRS.

    Raises:
        InputError: ``no_overlap`` where nothing does.
    """
    if grid.crs is None or not crs:
        return None
    own, there = CRS.from_user_input(crs), CRS.from_wkt(grid.crs.to_wkt())
    if own.equals(there):
        return None
    try:
        return Transformer.from_crs(own, there, always_xy=True)
    except ProjError as error:
        raise unrelated(path, "the raster") from error


def _moved(shape: BaseGeometry, to_grid: Transformer, grid: Grid) -> BaseGeometry:
    moved = shapely.transform(shape, to_grid.transform, interleaved=False)
    if np.isfinite(shapely.get_coordinates(moved)).all() and moved.is_valid:
        return moved
    around = shapely.box(*grid.bounds())
    around = around.buffer(max(grid.width * abs(grid.transform.a), grid.height * abs(grid.transform.e)))
    inverse = TransformDirection.INVERSE
    x0, y0, x1, y1 = around.bounds
    left, bottom, right, top = to_grid.transform_bounds(x0, y0, x1, y1, densify_pts=21, direction=inverse)
    part = shape.intersection(shapely.box(left, bottom, right, top))
    part = shapely.segmentize(part, max(right - left, top - bottom) / 64)
    if part.area == 0:
        return shapely.Polygon()
    return polygonal(shapely.transform(part, to_grid.transform, interleaved=False))


def _outward(grid: Grid, bounds: tuple[float, ...]) -> Bounds:
    """Widen bounds by half a pixel: rounding to the nearest pixel must not cut a polygon's rim."""
    half_x, half_y = abs(grid.transform.a) / 2, abs(grid.transform.e) / 2
    return bounds[0] - half_x, bounds[1] - half_y, bounds[2] + half_x, bounds[3] + half_y
