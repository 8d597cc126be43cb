"""Where a step of a series is drawn: connected change, and the model windows that look at it.

Everything is counted on the raster's latent grid, whose first place lies on the raster's first pixels. The grid is
divided into *cells* of 8 × 8 tokens, the model's own attention windows; change in touching cells is one region, unless
the raster is divided into blocks that no event crosses.

A small region is drawn in one window around it. A larger one is drawn jointly: at each sampling step the grid is
partitioned into windows without overlap, shifted by a number of whole cells that depends on the seed and the step, and
all windows that hold changed cells advance together. No border between windows stays in its place, so none can show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from changen2.gpcm.labels import Box

Mask = NDArray[np.bool_]
Cells = NDArray[np.int64]

TOKEN = 2
"""Latent places along a token's side."""

CELL = 8 * TOKEN
"""Latent places along a cell's side."""

WINDOW_CELLS = 4
"""Cells along the side of a window of the partition: 64 latent places, the size that the model was trained at."""

SINGLE = 96
"""Largest side, in latent places, of the one window that a small region is drawn in."""

MARGIN = 6
"""Latent places around the change that such a window shows at least."""

REACH = WINDOW_CELLS
"""Cells around changed ones that a window, or a decoder, may look at."""

JOINT_CELLS = 128
"""Side, in cells, of the largest region that is drawn jointly. Larger ones are drawn in parts of this size on the
raster's grid, one after the other, each seeing those before it: this is what bounds memory."""


@dataclass(frozen=True)
class Region:
    """Connected change.

    Attributes:
        cells: rows and columns of the changed cells [n, 2], in reading order.
        box: the part of the latent grid that is looked at; may reach over the raster's edge.
        is_joint: whether it is drawn in shifted windows, else ``box`` is the only window.
        drawn: cells of the same change that were drawn before [m, 2].
    """

    cells: Cells
    box: Box
    is_joint: bool = False
    drawn: Cells = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    def windows(self, shift: tuple[int, int]) -> list[Box]:
        """The windows, in latent places, that hold changed cells when the partition is shifted by some cells."""
        return _partition(self.cells, shift) if self.is_joint else [self.box]

    @cached_property
    def encoded(self) -> list[Box]:
        """The blocks of the latent grid that are read from the image."""
        return _partition(_grown(self.cells, REACH), (0, 0)) if self.is_joint else [self.box]


def find_regions(
    occupied: Mask, extent: Callable[[Cells], Box], shape: tuple[int, int], block: int | None = None
) -> Iterator[Region]:
    """Divide a step's change into regions.

    Args:
        occupied: which cells hold change [rows, columns].
        extent: the box, in latent places, of the change in some cells; asked for small regions only.
        shape: rows and columns of the latent grid.
        block: cells along the side of blocks of the raster; change in two of them is never one region. None: all that
            touches is.

    Yields:
        The regions, block by block, in reading order of their first cells.
    """
    for part in Box(0, 0, *occupied.shape).blocks(block or max(occupied.shape)):
        yield from _connected(occupied[part.top : part.bottom, part.left : part.right], part, extent, shape)


def _connected(occupied: Mask, part: Box, extent: Callable[[Cells], Box], shape: tuple[int, int]) -> Iterator[Region]:
    """The regions of a part of the cells."""
    numbers, count = scipy.ndimage.label(occupied, np.ones((3, 3), int))
    for number, (rows, columns) in enumerate(scipy.ndimage.find_objects(numbers, count), 1):
        corner = np.array([part.top + rows.start, part.left + columns.start])
        inside = np.argwhere(numbers[rows, columns] == number) + corner
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if max(height, width) <= SINGLE // CELL + 1:
            box = _window_around(extent(inside), shape)
            if max(box.shape) <= SINGLE:
                yield Region(inside, box)
                continue
        yield from _joint(inside, max(height, width) > JOINT_CELLS)


def within(cells: Cells, box: Box, side: int = CELL) -> Mask:
    """Which places [h, w] of a box lie in some cells; ``side`` is that of a cell, in places of the box's grid."""
    first = np.array([box.top // side, box.left // side])
    last = np.array([(box.bottom - 1) // side, (box.right - 1) // side])
    grid = np.zeros(last - first + 1, bool)
    near = cells[((cells >= first) & (cells <= last)).all(axis=1)] - first
    grid[near[:, 0], near[:, 1]] = True
    rows = np.arange(box.top, box.bottom) // side - first[0]
    columns = np.arange(box.left, box.right) // side - first[1]
    return grid[rows[:, None], columns[None, :]]


def _joint(cells: Cells, is_too_large: bool) -> Iterator[Region]:
    parts = [cells]
    if is_too_large:
        keys = cells // JOINT_CELLS
        parts = [cells[(keys == key).all(axis=1)] for key in np.unique(keys, axis=0)]
    for number, part in enumerate(parts):
        blocks = np.array([[b.top, b.left, b.bottom, b.right] for b in _partition(_grown(part, REACH), (0, 0))])
        low, high = blocks.min(axis=0), blocks.max(axis=0)
        drawn = np.concatenate([np.zeros((0, 2), np.int64), *parts[:number]])
        yield Region(part, Box(int(low[0]), int(low[1]), int(high[2]), int(high[3])), True, drawn)


def _window_around(extent: Box, shape: tuple[int, int]) -> Box:
    """A window around a small change, inside the raster where it fits, on whole tokens."""
    spans = []
    for first, end, length in (
        (extent.top, extent.bottom, shape[0]),
        (extent.left, extent.right, shape[1]),
    ):
        wanted = max(WINDOW_CELLS * CELL, -(-(end - first + 2 * MARGIN) // CELL) * CELL)
        side = min(wanted, -(-length // CELL) * CELL)
        start = (first + end - side) // 2
        last = max(length - side, 0)
        start = min(max(start, 0), last + last % TOKEN)  # the last window may reach over an odd edge, never short of it
        spans.append((start // TOKEN * TOKEN, side))
    (top, height), (left, width) = spans
    return Box(top, left, top + height, left + width)


def _partition(cells: Cells, shift: tuple[int, int]) -> list[Box]:
    """The windows of a shifted partition that hold some of the cells, in reading order."""
    found = np.unique((cells - shift) // WINDOW_CELLS, axis=0)
    side = WINDOW_CELLS * CELL
    starts = found * side + np.array(shift) * CELL
    return [Box(int(top), int(left), int(top) + side, int(left) + side) for top, left in starts]


def _grown(cells: Cells, reach: int) -> Cells:
    """Cells at most ``reach`` rows and columns away."""
    low = cells.min(axis=0) - reach
    grid = np.zeros(cells.max(axis=0) + reach + 1 - low, bool)
    grid[tuple((cells - low).T)] = True
    return np.argwhere(scipy.ndimage.maximum_filter(grid, 2 * reach + 1)) + low
