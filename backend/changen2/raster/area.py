"""The area of interest: a window of the reference grid and, inside it, the polygons that count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError
from rasterio.features import rasterize
from rasterio.windows import Window, transform
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.raster.grid import Bounds, Grid
from changen2.raster.layers import read_layer
from changen2.raster.reading import unrelated


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
        self._polygons = polygons
        self._tree = shapely.STRtree(polygons) if polygons else None

    @classmethod
    def choose(cls, grid: Grid, bounds: Bounds | None = None, aoi: str | Path | None = None) -> Area:
        """Take the whole grid, a rectangle in its coordinates, or the polygons of a vector file.

        Raises:
            InputError: both given, an unreadable file, an extent without pixels or off the raster.
        """
        if bounds is not None and aoi is not None:
            raise InputError(
                "Both --bounds and --aoi are given; only one can say where.",
                hint="Leave one of them out.",
                code="bad_value",
            )
        if aoi is not None:
            polygons = read_polygons(aoi, grid)
            merged = shapely.total_bounds(polygons)
            return cls(grid, grid.window_of(_outward(grid, tuple(merged))), polygons)
        return cls(grid, grid.window_of(bounds) if bounds is not None else grid.window)

    def mask(self, window: Window) -> NDArray[np.bool_] | None:
        """Return which pixels of a window count ``[h, w]``; None where all do."""
        if self._polygons is None or self._tree is None:
            return None
        part = self.grid.crop(window)
        near = [self._polygons[index] for index in self._tree.query(shapely.box(*part.bounds()))]
        if not near:
            return np.zeros((window.height, window.width), bool)
        burnt = rasterize(
            near, out_shape=(window.height, window.width), transform=transform(window, self.grid.transform), fill=0
        )
        return burnt.astype(bool)


def read_polygons(path: str | Path, grid: Grid, usual: Sequence[str] = ()) -> list[BaseGeometry]:
    """Read the polygons of any vector file in the grid's coordinates.

    Without a CRS on the grid, coordinates are taken as (column, row), whatever the file claims.

    Args:
        path: of one layer, see :func:`changen2.raster.layers.read_layer`.
        grid: of the raster.
        usual: names of the layer that is meant where the file holds several.

    Raises:
        InputError: as of ``read_layer``, ``empty_extent`` (no polygon in it) or ``no_overlap``.
    """
    layer = read_layer(path, usual=usual, columns=[])
    shapes = layer.geometries
    sound = (polygonal(shape) for shape in shapes if shape is not None)
    polygons = [shape for shape in sound if shape.area > 0]
    if not polygons:
        raise InputError(
            f"{path} holds no polygon with an area ({len(shapes)} features with a shape read).",
            hint="Give a polygon layer; points, lines and tables enclose nothing.",
            code="empty_extent",
        )
    there = [shape for shape in in_grid_crs(polygons, layer.crs, grid, path) if not shape.is_empty]
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


def polygonal(shape: BaseGeometry) -> BaseGeometry:
    """What of a shape encloses an area, made valid; a shape of which all does is returned as it is.

    What remains of spikes and of collapsed parts, and lines beside polygons, would be burnt a pixel wide.
    """
    valid = shape if shape.is_valid else shapely.make_valid(shape)
    return valid if valid.geom_type in ("Polygon", "MultiPolygon") else valid.buffer(0)


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
