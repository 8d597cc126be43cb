"""Degrees on both sides of the antimeridian, where 179.9 and −180.1 are the same place."""

from __future__ import annotations

from rasterio.crs import CRS

from changen2.raster.grid import Grid


def crosses_antimeridian(grid: Grid) -> bool:
    """Whether a grid in degrees reaches beyond −180 or 180."""
    left, _, right, _ = grid.bounds()
    return grid.crs is not None and grid.crs.is_geographic and (left < -180 or right > 180)


def unbroken(grid: Grid) -> CRS | None:
    """Return a grid's CRS; one in degrees with its longitudes counted on from the grid's middle to either side."""
    if grid.crs is None or not grid.crs.is_geographic:
        return grid.crs
    left, _, right, _ = grid.bounds()
    return CRS.from_string(f"{grid.crs.to_proj4()} +lon_wrap={(left + right) / 2:.10g}")
