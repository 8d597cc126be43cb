"""True metres on the ellipsoid, whatever the CRS: Web Mercator's metres, degrees and feet are not."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Geod, Transformer
from rasterio.crs import CRS as RasterioCRS
from shapely.geometry.base import BaseGeometry

from changen2.raster.grid import Grid


@lru_cache(maxsize=8)
def _to_lonlat(wkt: str) -> tuple[Transformer, Geod]:
    crs = CRS.from_wkt(wkt)
    geographic = crs.geodetic_crs or CRS.from_epsg(4326)
    return Transformer.from_crs(crs, geographic, always_xy=True), geographic.get_geod() or Geod(ellps="WGS84")


def pixel_size_m(grid: Grid) -> tuple[float, float] | None:
    """Return the ground width and height of the pixel at the grid's centre, in metres.

    None without CRS, and where the centre has no place on the ellipsoid (a local engineering CRS).
    """
    column, row = grid.width / 2, grid.height / 2
    lengths = _lengths_m(grid, [(column, row), (column, row)], [(column + 1, row), (column, row + 1)])
    return None if lengths is None or not np.isfinite(lengths).all() else (float(lengths[0]), float(lengths[1]))


def row_areas_m2(grid: Grid) -> NDArray[np.float64] | None:
    """Return the ground area in m² of the pixel in the middle of each row ``[height]``.

    In degrees and in Mercator's metres pixels shrink towards the poles: an area is a sum over rows. 0 where a row's
    middle has no place on the ellipsoid; None without CRS, and where no row has.
    """

    def middles(right: float, down: float) -> NDArray[np.float64]:
        rows = np.arange(grid.height)
        return np.stack([np.full(rows.shape, grid.width / 2 + right), rows + down], axis=1)

    across, down = (
        _lengths_m(grid, middles(-0.5, 0.5), middles(0.5, 0.5)),
        _lengths_m(grid, middles(0, 0), middles(0, 1)),
    )
    if across is None or down is None:
        return None
    areas = across * down
    known = np.isfinite(areas)
    return np.where(known, areas, 0) if known.any() else None


def _lengths_m(grid: Grid, starts: ArrayLike, ends: ArrayLike) -> NDArray[np.float64] | None:
    """Metres on the ellipsoid from place to place, both (column, row) ``[n, 2]``; not finite where there is no place.

    None without CRS, and where that has no way to the ellipsoid.
    """
    if grid.crs is None:
        return None
    try:
        transformer, geod = _to_lonlat(grid.crs.to_wkt())
    except Exception:  # pyproj raises several types for a CRS that has no way to the ellipsoid
        return None
    columns, rows = np.concatenate([starts, ends]).T
    to_x, to_y = grid.transform[:3], grid.transform[3:6]
    lon, lat = transformer.transform(*(columns * a + rows * b + c for a, b, c in (to_x, to_y)))
    known = np.isfinite(lon) & np.isfinite(lat)
    lon, lat, known = (np.split(values, 2) for values in (np.where(known, lon, 0), np.where(known, lat, 0), known))
    _, _, lengths = geod.inv(lon[0], lat[0], lon[1], lat[1])
    return np.where(known[0] & known[1], lengths, np.nan)


def ground_sampling_distance(grid: Grid) -> float | None:
    """Return the side in metres of a square pixel of the same ground area, or None without CRS."""
    size = pixel_size_m(grid)
    return math.sqrt(size[0] * size[1]) if size else None


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
        transformer, geod = _to_lonlat(crs.to_wkt())
    except Exception:  # as above
        return None
    dense = [_split(part, longest_edge) for part in shapely.get_parts(geometry) if part.area > 0]
    lonlat = shapely.transform(shapely.multipolygons(dense), transformer.transform, interleaved=False)
    area, _ = geod.geometry_area_perimeter(shapely.orient_polygons(lonlat))
    return abs(area) if math.isfinite(area) else None


def _split(polygon: BaseGeometry, longest_edge: float) -> BaseGeometry:
    """A polygon without longer edges; ring by ring, for as a whole its validity would be checked, which takes long."""
    rings = shapely.segmentize(shapely.get_rings(polygon), longest_edge)
    return shapely.polygons(rings[0], holes=rings[1:])
