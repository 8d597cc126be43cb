"""A footprint as a few rectangles along its walls, which is what a roof is built on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from changen2.gpcm.fitting import Frame
from changen2.gpcm.libraries import Mask

Rectangle = tuple[float, float, float, float]
"""Centre and half sides (u, v, half_u, half_v) along the frame's axes, in pixels from its centre."""

FULL = 0.85
"""Share of its frame from which a footprint counts as one rectangle."""

MOST, LEFT_OVER = 3, 0.06
"""Rectangles at most, and the share of a footprint that need not be covered."""

CELLS = 48
"""Cells along the frame's longer side; finer outlines are noise of the raster."""


def rectangles_of(footprint: Mask, frame: Frame) -> list[Rectangle]:
    """The largest rectangles inside a footprint, in turn, each grown into the others as far as the footprint goes.

    Args:
        footprint: not empty [h, w].
        frame: the smallest rectangle around it.
    """
    half_u, half_v = (float(side) for side in frame.half_sides)
    if footprint.sum() >= FULL * 4 * half_u * half_v:
        return [(0.0, 0.0, half_u, half_v)]
    longest = max(1.0, 2 * max(half_u, half_v) / CELLS)
    counts = np.maximum(1, np.ceil(2 * frame.half_sides / longest - 1e-6).astype(int))
    cell = 2 * frame.half_sides / counts
    cells = _cells(footprint, frame, counts, cell)
    left = cells.copy()
    found: list[Rectangle] = []
    while left.sum() > LEFT_OVER * cells.sum() and len(found) < MOST:
        box = _grown(largest_rectangle(left), cells)
        left[box] = False
        middle = [(side.start + side.stop) / 2 * length for side, length in zip(box, cell, strict=True)]
        half = [(side.stop - side.start) / 2 * length for side, length in zip(box, cell, strict=True)]
        found.append((float(middle[0] - half_u), float(middle[1] - half_v), float(half[0]), float(half[1])))
    # A sliver may run between the centres of all cells.
    return found or [(0.0, 0.0, half_u, half_v)]


def largest_rectangle(mask: Mask) -> tuple[slice, slice]:
    """The rectangle of most true cells in a mask that has any; rows and columns."""
    best, area = (slice(0, 0), slice(0, 0)), 0
    heights = np.zeros(mask.shape[1] + 1, int)  # the last column stays empty and closes what is open
    for row, line in enumerate(mask):
        heights[:-1] = np.where(line, heights[:-1] + 1, 0)
        open_from: list[tuple[int, int]] = []  # (first column, height), rising
        for column, height in enumerate(heights.tolist()):
            first = column
            while open_from and open_from[-1][1] >= height:
                first, tall = open_from.pop()
                if tall * (column - first) > area:
                    area = tall * (column - first)
                    best = slice(row + 1 - tall, row + 1), slice(first, column)
            open_from.append((first, height))
    return best


def _cells(footprint: Mask, frame: Frame, counts: NDArray[np.int64], cell: NDArray[np.float64]) -> Mask:
    """Which of so many cells of some length along each of the frame's axes have their centre in the footprint."""
    u, v = ((np.arange(counts[axis]) + 0.5) * cell[axis] - frame.half_sides[axis] for axis in (0, 1))
    places = frame.centre + u[:, None, None] * frame.axes[0] + v[None, :, None] * frame.axes[1]
    rows, columns = np.moveaxis(np.rint(places).astype(int), -1, 0)
    inside = (rows >= 0) & (columns >= 0) & (rows < footprint.shape[0]) & (columns < footprint.shape[1])
    return inside & footprint[rows.clip(0, footprint.shape[0] - 1), columns.clip(0, footprint.shape[1] - 1)]


def _grown(box: tuple[slice, slice], cells: Mask) -> tuple[slice, slice]:
    """A rectangle of cells grown to each side while all its cells are inside."""
    top, bottom, left, right = box[0].start, box[0].stop, box[1].start, box[1].stop
    while top > 0 and cells[top - 1, left:right].all():
        top -= 1
    while bottom < cells.shape[0] and cells[bottom, left:right].all():
        bottom += 1
    while left > 0 and cells[top:bottom, left - 1].all():
        left -= 1
    while right < cells.shape[1] and cells[top:bottom, right].all():
        right += 1
    return slice(top, bottom), slice(left, right)
