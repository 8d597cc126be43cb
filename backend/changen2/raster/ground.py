"""True metres on the ellipsoid, whatever the CRS: Web Mercator's metres, degrees and feet are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Geod, Transformer
from rasterio.crs import CRS as RasterioCRS
from shapely.geometry.base import BaseGeometry

from changen2.raster.grid import Grid

LonLat = Callable[[ArrayLike, ArrayLike], tuple[Any, Any]]
"""Coordinates of a CRS → degrees of longitude and latitude, alike in shape."""


@lru_cache(maxsize=8)
def _to_lonlat(wkt: str) -> tuple[LonLat, Geod]:
    """The way to degrees on the CRS's own ellipsoid, counted from its own meridian, and that ellipsoid."""
    crs = CRS.from_wkt(wkt)
    geographic = crs.geodetic_crs or CRS.from_epsg(4326)
    transformer = Transformer.from_crs(crs, geographic, always_xy=True)
    unit = math.degrees(geographic.axis_info[0].unit_conversion_factor)  # NTF, of France, is in grads

    def to_lonlat(x: ArrayLike, y: ArrayLike) -> tuple[Any, Any]:
        lon, lat = transformer.transform(x, y)
        return np.multiply(lon, unit), np.multiply(lat, unit)

    return to_lonlat, geographic.get_geod() or Geod(ellps="WGS84")


def pixel_size_m(grid: Grid) -> tuple[float, float] | None:
    """Return the ground width and height of the pixel at the grid's centre, in metres.

    None without CRS, and where the centre has no place on the ellipsoid (a local engineering CRS).
    """
    sides = _sides(grid, [[grid.width / 2, grid.height / 2]])
    if sides is None or not np.isfinite(sides).all():
        return None
    (across, _), (down, _) = sides
    return float(across[0]), float(down[0])


def pixel_area_m2(grid: Grid) -> float | None:
    """Return the ground area in m² of the pixel at the grid's centre; None as of :func:`pixel_size_m`."""
    areas = _areas_m2(grid, [[grid.width / 2, grid.height / 2]])
    return None if areas is None or not np.isfinite(areas[0]) else float(areas[0])


def ground_sampling_distance(grid: Grid) -> float | None:
    """Return the side in metres of a square pixel of the same ground area, or None without CRS."""
    area = pixel_area_m2(grid)
    return None if area is None else math.sqrt(area)


def row_areas_m2(grid: Grid) -> NDArray[np.float64] | None:
    """Return the ground area in m² of the pixel in the middle of each row ``[height]``.

    In degrees and in Mercator's metres pixels shrink towards the poles: an area is a sum over rows. 0 where a row's
    middle has no place on the ellipsoid; None without CRS, and where no row has.
    """
    rows = np.arange(grid.height) + 0.5
    areas = _areas_m2(grid, np.stack([np.full(rows.shape, grid.width / 2), rows], axis=1))
    if areas is None:
        return None
    known = np.isfinite(areas)
    return np.where(known, areas, 0) if known.any() else None


def _areas_m2(grid: Grid, centres: ArrayLike) -> NDArray[np.float64] | None:
    """Areas of pixels ``[n]``, as of :func:`_sides`.

    Of sides that meet at an angle, as they do away from the middle meridian of a sinusoidal projection.
    """
    sides = _sides(grid, centres)
    if sides is None:
        return None
    (across, to_right), (down, to_bottom) = sides
    return np.asarray(across * down * np.abs(np.sin(to_right - to_bottom)))


def _sides(grid: Grid, centres: ArrayLike) -> NDArray[np.float64] | None:
    """Lines through places on the ellipsoid, across a pixel and down: metres and azimuths in radians ``[2, 2, n]``.

    Of places (column, row) ``[n, 2]``. Not finite where there is no place; None without CRS, and where that has no way
    to the ellipsoid.
    """
    if grid.crs is None:
        return None
    try:
        to_lonlat, geod = _to_lonlat(grid.crs.to_wkt())
    except Exception:  # pyproj raises several types for a CRS that has no way to the ellipsoid
        return None
    ends = np.array([[[-0.5, 0], [0, -0.5]], [[0.5, 0], [0, 0.5]]])[:, :, None] + centres
    columns, rows = np.moveaxis(ends, -1, 0)
    to_x, to_y = grid.transform[:3], grid.transform[3:6]
    lon, lat = to_lonlat(*(columns * a + rows * b + c for a, b, c in (to_x, to_y)))
    known = np.isfinite(lon) & np.isfinite(lat)
    lon, lat = np.where(known, lon, 0), np.where(known, lat, 0)
    azimuths, _, lengths = geod.inv(lon[0], lat[0], lon[1], lat[1])
    sides = np.stack([lengths, np.radians(azimuths)], axis=1)
    return np.where(known.all(axis=0)[:, None], sides, np.nan)


def area_m2(geometry: BaseGeometry, crs: RasterioCRS | None, longest_edge: float) -> float | None:
    """Return the area of a polygon on the ellipsoid in m², or None without CRS.

    Args:
        geometry: polygon in ``crs``.
        crs: its coordinate reference system.
        longest_edge: in units of ``crs``; longer edges are split before they are projected, since a
            straight line in a projection is no geodesic.
    """
    if crs is None:
        return None
    try:
        to_lonlat, geod = _to_lonlat(crs.to_wkt())
    except Exception:  # as above
        return None

    def measured(ring: BaseGeometry) -> float:
        lon, lat = to_lonlat(*shapely.get_coordinates(ring).T)
        # The sign is of no use: planar orientation is lost where longitudes turn over at the antimeridian.
        return abs(geod.polygon_area_perimeter(lon, lat)[0])

    area = 0.0
    for part in shapely.get_parts(geometry):
        if part.area > 0:
            shell, *holes = map(measured, shapely.segmentize(shapely.get_rings(part), longest_edge))
            area += shell - sum(holes)
    return area if math.isfinite(area) else None
