"""Polygons of any vector file, in the pixels of a raster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyogrio
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.raster.area import in_grid_crs, polygonal
from changen2.raster.grid import Grid
from changen2.raster.reading import may_be_there


def read_polygons(path: str | Path, grid: Grid) -> tuple[list[BaseGeometry], dict[str, NDArray[Any]], list[str]]:
    """Read a polygon layer; what is invalid is repaired.

    Args:
        path: any vector file; its CRS is transformed to the grid's. On a grid without CRS coordinates are
            (column, row), y down, whatever the file claims.
        grid: of the raster.

    Returns:
        Geometries in pixel coordinates, empty where they lie beyond what the grid's CRS can tell, fields by their names
        in lower case, and what was repaired.

    Raises:
        InputError: ``missing_file``, ``unreadable``, or ``no_events`` where something encloses no area.
    """
    if not may_be_there(path):
        raise InputError(f"There is no file {path}.", hint="Check the path.", code="missing_file")
    try:
        meta, _, wkb, fields = pyogrio.raw.read(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise InputError(
            f"{path} cannot be read as a vector layer: {error}", hint="Export it as GeoPackage.", code="unreadable"
        ) from error
    if wkb is None or not len(wkb):
        raise InputError(f"{path} holds no polygon.", hint="Draw at least one.", code="no_events")
    columns = {str(name).casefold(): values for name, values in zip(meta["fields"], fields, strict=True)}
    geometries, repairs = _repair(list(shapely.from_wkb(wkb)))
    return _to_pixels(geometries, meta.get("crs"), grid), columns, repairs


def _repair(geometries: list[BaseGeometry]) -> tuple[list[BaseGeometry], list[str]]:
    """Make polygons valid, say how many were not, and refuse what encloses nothing."""
    repaired, broken = [], []
    for number, geometry in enumerate(geometries, 1):
        sound = None if geometry is None else polygonal(geometry)
        if sound is not geometry:
            broken.append(str(number))
        if sound is None or not sound.area > 0:
            kind = "nothing" if geometry is None else geometry.geom_type
            raise InputError(
                f"Feature {number} is {kind} and encloses no area.",
                hint="Polygons are needed; remove or redraw this one.",
                code="no_events",
            )
        repaired.append(sound)
    said = [f"Invalid polygons were repaired (features {', '.join(broken[:10])})."] if broken else []
    return repaired, said


def _to_pixels(geometries: list[BaseGeometry], crs: str | None, grid: Grid) -> list[BaseGeometry]:
    inverse = ~grid.transform
    moved = in_grid_crs(geometries, crs, grid)
    return [shapely.transform(g, lambda x, y: inverse @ (x, y), interleaved=False) for g in moved]
