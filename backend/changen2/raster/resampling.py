"""Bring a result from the model's ground sampling distance back to the reference grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

BLOCK = 1024
"""Side of the windows worked on; they hang on the reference grid, so a pixel's sums are always the same."""


def blocks_of(wanted: Window) -> list[Window]:
    """Return the blocks of the reference grid that meet ``wanted``, row by row (not cropped to it)."""
    rows = range(wanted.row_off // BLOCK, -(-(wanted.row_off + wanted.height) // BLOCK))
    columns = range(wanted.col_off // BLOCK, -(-(wanted.col_off + wanted.width) // BLOCK))
    return [Window(j * BLOCK, i * BLOCK, BLOCK, BLOCK) for i in rows for j in columns]


def reach_of(factor: float) -> float:
    """Return how far from its centre a pixel is resampled from, in pixels of the scaled grid."""
    return max(1.0, factor)


def source_window(target: Window, factor: float, height: int, width: int) -> Window:
    """Return the window of the scaled grid that a window of the reference grid is made from.

    Args:
        target: window of the reference grid.
        factor: pixels of the scaled grid per pixel of the reference grid, along a side.
        height: rows of the scaled grid.
        width: columns of the scaled grid.
    """
    reach = reach_of(factor)
    spans = []
    for first, length, limit in ((target.row_off, target.height, height), (target.col_off, target.width, width)):
        start = int(np.floor((first + 0.5) * factor - reach - 0.5))
        end = int(np.ceil((first + length - 0.5) * factor + reach + 0.5))
        start = min(max(0, start), limit - 1)
        spans.append((start, max(start + 1, min(limit, end))))
    (r0, r1), (c0, c1) = spans
    return Window(c0, r0, c1 - c0, r1 - r0)


def resample_probability(values: NDArray[np.uint8], source: Window, target: Window, factor: float) -> NDArray[np.uint8]:
    """Resample quantised probabilities (0 = nodata) with a triangle as wide as the coarser pixel.

    Nodata has no weight; a pixel is nodata where its nearest source pixel is.

    Args:
        values: ``[h, w]`` of ``source``.
        source: from ``source_window``.
        target: window of the reference grid.
        factor: as in ``source_window``.
    """
    rows = _kernel(target.row_off, target.height, source.row_off, source.height, factor)
    columns = _kernel(target.col_off, target.width, source.col_off, source.width, factor)
    valid = (values > 0).astype(np.float64)
    weight = rows @ valid @ columns.T
    total = rows @ (values * valid) @ columns.T
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    nearest = resample_nearest(values, source, target, factor)
    # A hundredth of the last digit keeps exact halves from falling either way with the order of a sum.
    quantised = np.clip(np.floor(mean + 0.5 + 1e-9), 1, 255).astype(np.uint8)
    return np.where(nearest > 0, quantised, 0).astype(np.uint8)


def resample_nearest(values: NDArray[np.uint8], source: Window, target: Window, factor: float) -> NDArray[np.uint8]:
    """Take the source pixel under each target pixel's centre; arguments as above."""
    rows = _nearest(target.row_off, target.height, source.row_off, source.height, factor)
    columns = _nearest(target.col_off, target.width, source.col_off, source.width, factor)
    return values[rows[:, None], columns[None, :]]


def _centres(first: int, length: int, factor: float) -> NDArray[np.float64]:
    return (np.arange(first, first + length, dtype=np.float64) + 0.5) * factor


def _nearest(first: int, length: int, source_first: int, source_length: int, factor: float) -> NDArray[np.int64]:
    index = np.floor(_centres(first, length, factor)).astype(np.int64) - source_first
    return np.clip(index, 0, source_length - 1)


def _kernel(first: int, length: int, source_first: int, source_length: int, factor: float) -> NDArray[np.float64]:
    """Triangle weights ``[target, source]``, one row a target pixel."""
    centres = _centres(first, length, factor)[:, None]
    places = np.arange(source_first, source_first + source_length)[None, :] + 0.5
    kernel: NDArray[np.float64] = np.clip(1 - np.abs(places - centres) / reach_of(factor), 0, None)
    return kernel
