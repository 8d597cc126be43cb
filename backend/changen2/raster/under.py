"""Which pixels a polygon covers, piece by piece: it may be as large as the raster, and as ragged as noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from changen2.raster.grid import Grid

CHUNK = 2048
"""Longest side, in pixels, of a piece; of a wide polygon it has as few rows as make the same number of pixels."""

Inside = NDArray[np.bool_] | tuple[slice, slice]
"""Which pixels of a window count ``[h, w]``, to index an array of it with."""


def pixels_under(
    geometry: BaseGeometry, grid: Grid, check: Callable[[], None] = lambda: None
) -> Iterator[tuple[Window, Inside]]:
    """Yield the windows in which a polygon has pixels, and which of them; they do not overlap.

    GDAL would look at every corner for every row, which takes days where a noisy map hangs together as one polygon.

    Args:
        geometry: a valid polygon made of whole pixels of the grid, in its coordinates.
        grid: may be rotated.
        check: called before each piece; may raise to cancel.
    """
    to_pixels = ~grid.transform
    # Corners are whole numbers there, so that nothing is lost to rounding.
    outline = shapely.transform(geometry, lambda x, y: np.rint(to_pixels @ (x, y)), interleaved=False)
    left, top, right, bottom = (int(value) for value in outline.bounds)
    width, height = right - left, bottom - top
    # Most changes of a noisy map are a pixel or a row of some: what fills its bounds is known without its edges.
    edges = None if outline.area == width * height else _edges(outline)
    rows = min(CHUNK, max(1, CHUNK * CHUNK // width))
    for row in range(top, bottom, rows):
        end = min(row + rows, bottom)
        inside = None if edges is None else _between(edges, left, width, row, end)
        for column in range(0, width, CHUNK):
            check()
            window = Window(left + column, row, min(CHUNK, width - column), end - row)
            if inside is None:
                yield window, np.s_[:, :]
            elif (part := inside[:, column : column + CHUNK]).any():
                yield window, part


def _edges(outline: BaseGeometry) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pixels on whose left edge a polygon begins or ends, by rows."""
    corners, ring = shapely.get_coordinates(shapely.get_rings(outline), return_index=True)
    x, y = corners.astype(np.int64).T
    upright = np.flatnonzero((x[1:] == x[:-1]) & (ring[1:] == ring[:-1]))
    first, last = np.minimum(y[upright], y[upright + 1]), np.maximum(y[upright], y[upright + 1])
    # One for every row that an edge passes.
    length = last - first
    passed = np.arange(length.sum()) - np.repeat(length.cumsum() - length, length)
    rows, columns = np.repeat(first, length) + passed, np.repeat(x[upright], length)
    order = rows.argsort()
    return rows[order], columns[order]


def _between(
    edges: tuple[NDArray[np.int64], NDArray[np.int64]], left: int, width: int, row: int, end: int
) -> NDArray[np.bool_]:
    """The pixels of some rows ``[h, width]``: those with an odd number of edges on their left."""
    rows, columns = edges
    these = slice(*np.searchsorted(rows, (row, end)))
    turns = np.zeros((end - row, width + 1), bool)
    turns[rows[these] - row, columns[these] - left] = True
    return np.logical_xor.accumulate(turns, axis=1)[:, :width]
