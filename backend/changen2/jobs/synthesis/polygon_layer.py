"""Polygons of any vector file, in the pixels of a raster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.raster.area import in_grid_crs
from changen2.raster.cover import polygonal
from changen2.raster.grid import Grid
from changen2.raster.layers import Layer, read_layer


def read_polygons(
    path: str | Path, grid: Grid, usual: Sequence[str] = ()
) -> tuple[list[BaseGeometry], dict[str, NDArray[Any]], list[str]]:
    """Read a polygon layer; what is invalid is repaired.

    Args:
        path: of one layer of any vector file, see :func:`changen2.raster.layers.read_layer`; its CRS is transformed to
            the grid's. On a grid without CRS coordinates are (column, row), y down, whatever the file claims.
        grid: of the raster.
        usual: names of the layer that is meant where the file holds several.

    Returns:
        Geometries in pixel coordinates, empty where they lie beyond what the grid's CRS can tell, fields by their names
        in lower case, and what was repaired.

    Raises:
        InputError: as of ``read_layer`` and ``in_grid_crs``, or ``no_events`` where something encloses no area.
    """
    layer = read_layer(path, usual=usual)
    geometries, repairs = in_pixels(layer, path, grid)
    return geometries, {name.casefold(): values for name, values in layer.fields.items()}, repairs


def in_pixels(layer: Layer, path: str | Path, grid: Grid) -> tuple[list[BaseGeometry], list[str]]:
    """What is read of a layer in pixel coordinates, and what was repaired; see :func:`read_polygons`."""
    if not layer.geometries:
        raise InputError(f"{path} holds no polygon.", hint="Draw at least one.", code="no_events")
    geometries, repairs = _repair(layer)
    return _to_pixels(in_grid_crs(geometries, layer.crs, grid, path), grid), repairs


def _repair(layer: Layer) -> tuple[list[BaseGeometry], list[str]]:
    """Make polygons valid, say how many were not, and refuse what encloses nothing."""
    repaired, broken = [], []
    for number, geometry in zip(layer.numbers, layer.geometries, strict=True):
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


def _to_pixels(geometries: list[BaseGeometry], grid: Grid) -> list[BaseGeometry]:
    inverse = ~grid.transform
    return [shapely.transform(g, lambda x, y: inverse @ (x, y), interleaved=False) for g in geometries]
