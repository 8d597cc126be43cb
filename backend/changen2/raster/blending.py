"""Blend overlapping tiles in whole numbers, so that the result does not depend on their order.

A tile's values are uint16 and its weights whole numbers: sums are exact, and a pixel comes out the
same whichever block, process or run computed which tile first. What a block adds to its right and
lower neighbours (part of an overlap wide) waits for them on disk, so memory holds one block whatever the
raster's size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from changen2.raster.tiles import Block, TileGrid
from changen2.raster.writing import disk_errors, to_disk

Values = NDArray[np.uint16]
Sums = NDArray[np.uint32]


class BlockSums:
    """Weighted sums of one block's tiles over all that they have a say in.

    Args:
        block: the block.
        planes: values per pixel.
    """

    def __init__(self, block: Block, planes: int) -> None:
        self.block = block
        self.sums: Sums = np.zeros((planes, block.decided.height, block.decided.width), np.uint32)

    def add(self, row: int, column: int, values: Values) -> None:
        """Add one tile.

        Args:
            row: row of tiles.
            column: column of tiles.
            values: ``[planes, tile, tile]``; what lies beyond the raster is dropped.
        """
        rows, columns, decided = self.block.grid.rows, self.block.grid.columns, self.block.decided
        (r0, r1), (c0, c1) = rows.counted(row), columns.counted(column)
        top, left = rows.seen(row)[0], columns.seen(column)[0]
        down, across = slice(r0 - top, r1 - top), slice(c0 - left, c1 - left)
        weights = rows.weights(row)[down, None] * columns.weights(column)[None, across]
        top, left = decided.row_off, decided.col_off
        self.sums[:, r0 - top : r1 - top, c0 - left : c1 - left] += values[:, down, across] * weights


class Carry:
    """Hands overlap strips from a block to its right, lower and lower right neighbours.

    Blocks arrive row by row. A strip lives in ``folder`` until its row of blocks is done, so a
    killed run, also one that lost its power, finds every strip that its next block needs.

    Args:
        folder: an existing folder of its own.
        grid: the tile grid.
    """

    def __init__(self, folder: Path, grid: TileGrid) -> None:
        self._folder = folder
        self._grid = grid

    def finish(self, done: BlockSums) -> Values:
        """Add what earlier neighbours left for this block, leave its own strips, return its core.

        Args:
            done: the sums of all wanted tiles of a block.

        Returns:
            ``[planes, h, w]``: the weighted mean over the block's core.
        """
        block, sums = done.block, done.sums
        for name in ("right", "below", "corner"):
            strip = self._path(name, block.i, block.j)
            if strip.exists():
                carried = np.load(strip)
                sums[:, : carried.shape[1], : carried.shape[2]] += carried
        height, width = block.core.height, block.core.width
        # The strip below a block reaches under its right neighbour: that corner is owed to the block
        # diagonally below and travels by itself, or it would be counted twice.
        self._leave("right", block.i, block.j + 1, sums[:, :height, width:])
        self._leave("below", block.i + 1, block.j, sums[:, height:, :width])
        self._leave("corner", block.i + 1, block.j + 1, sums[:, height:, width:])
        to_disk(self._folder)
        rows, columns = self._grid.rows, self._grid.columns
        weights = (
            rows.total_weights(*rows.core(block.i))[:, None] * columns.total_weights(*columns.core(block.j))[None, :]
        )
        return ((sums[:, :height, :width] + weights // 2) // weights).astype(np.uint16)

    def forget_above(self, row: int) -> None:
        """Delete the strips of rows of blocks that are done."""
        for strip in self._folder.glob("*.npy"):
            if int(strip.stem.split("_")[1]) < row:
                strip.unlink()

    def _path(self, name: str, i: int, j: int) -> Path:
        return self._folder / f"{name}_{i}_{j}.npy"

    def _leave(self, name: str, i: int, j: int, strip: Sums) -> None:
        if strip.size == 0:
            return
        aside = self._folder / "aside.tmp"
        with disk_errors(aside):
            with aside.open("wb") as file:
                np.save(file, strip)
            aside.replace(self._path(name, i, j))
            to_disk(self._path(name, i, j))
