"""True metres on the ellipsoid, whatever the CRS: Web Mercator's metres, degrees and feet are not."""

from __future__ import annotations

import math
from functools import lru_cache

import shapely
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
    if grid.crs is None:
        return None
    try:
        transformer, geod = _to_lonlat(grid.crs.to_wkt())
    except Exception:  # pyproj raises several types for a CRS that has no way to the ellipsoid
        return None
    column, row = grid.width / 2, grid.height / 2
    places = [grid.transform @ place for place in ((column, row), (column + 1, row), (column, row + 1))]
    lon, lat = transformer.transform([x for x, _ in places], [y for _, y in places])
    if not all(math.isfinite(value) for value in (*lon, *lat)):
        return None
    _, _, (across, down) = geod.inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    return across, down


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
    dense = shapely.segmentize(geometry, longest_edge)
    lonlat = shapely.transform(dense, transformer.transform, interleaved=False)
    area, _ = geod.geometry_area_perimeter(shapely.orient_polygons(lonlat))
    return abs(area) if math.isfinite(area) else None
