"""The tile grid: where a model looks, and with which weight each look counts.

Tiles hang on the raster's own first pixel, never on the extent asked for, so a pixel is seen by the
same tiles whatever part of the raster is wanted. Tiles are grouped into *blocks*, the unit of
reading, memory and resuming: block (i, j) owns the tiles that start in it, and its tiles reach
``overlap`` pixels beyond it to the right and below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from changen2.errors import InputError

PAD_TO = 32
"""Models halve their input five times."""

EVEN_TO = 64
"""Tiles start at multiples of this where the overlap is one, too: a model that looks at the image and at half of it
sees the same pixels in the same places of its coarsest grid, so that neighbours agree better where they overlap."""

RAMP_LEVELS = 64
"""Steps of the blending ramp: 65² × 65535 still fits in 32 bits."""

BLOCK_PIXELS = 2048
"""Largest side of a block (one tile at least), which is what bounds memory."""


@dataclass(frozen=True)
class Axis:
    """Tiles along one side of a raster.

    Args:
        length: pixels of the raster along this side.
        tile: pixels of a tile.
        overlap: pixels shared by neighbouring tiles, at most half a tile.
        tiles_per_block: tiles that start in one block.
    """

    length: int
    tile: int
    overlap: int
    tiles_per_block: int

    @property
    def stride(self) -> int:
        """Pixels from one tile to the next."""
        return self.tile - self.overlap

    @property
    def tiles(self) -> int:
        """Number of tiles; the last one may reach over the edge."""
        return max(1, ceil((self.length - self.overlap) / self.stride))

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return ceil(self.tiles / self.tiles_per_block)

    def tiles_of(self, block: int) -> range:
        """Return the tiles that start in a block."""
        first = block * self.tiles_per_block
        return range(first, min(first + self.tiles_per_block, self.tiles))

    def core(self, block: int) -> tuple[int, int]:
        """Return first and end pixel of a block; the last one ends with the raster."""
        first = block * self.tiles_per_block * self.stride
        last = block == self.blocks - 1
        return first, self.length if last else (block + 1) * self.tiles_per_block * self.stride

    def reach(self, block: int) -> tuple[int, int]:
        """Return first and end pixel that a block's tiles look at, inside the raster."""
        first, end = self.core(block)
        return first, min(end + self.overlap, self.length)

    def seen(self, tile: int) -> tuple[int, int]:
        """Return first and end pixel of a tile, inside the raster."""
        return tile * self.stride, min(tile * self.stride + self.tile, self.length)

    def weights(self) -> NDArray[np.uint32]:
        """Return one tile's weights ``[tile]``: a linear ramp in each overlap, in whole numbers."""
        position = np.arange(self.tile)
        from_edge = np.minimum(position, position[::-1])
        ramp = 1 + from_edge * RAMP_LEVELS // max(1, self.overlap)
        return np.minimum(ramp, RAMP_LEVELS).astype(np.uint32)

    def total_weights(self, first: int, end: int) -> NDArray[np.uint32]:
        """Return the sum of all tiles' weights at each pixel from ``first`` to ``end``."""
        weights, total = self.weights(), np.zeros(end - first, np.uint32)
        for tile in range(max(0, (first - self.tile) // self.stride), min(self.tiles, end // self.stride + 1)):
            start, stop = max(first, tile * self.stride), min(end, tile * self.stride + self.tile)
            if start < stop:
                total[start - first : stop - first] += weights[start - tile * self.stride : stop - tile * self.stride]
        return total


@dataclass(frozen=True)
class TileGrid:
    """Tiles and blocks of a raster.

    Args:
        rows: tiles along the height.
        columns: tiles along the width.
    """

    rows: Axis
    columns: Axis

    @classmethod
    def plan(cls, height: int, width: int, tile_size: int, overlap: int, planes: int = 1) -> TileGrid:
        """Lay tiles over a raster.

        Args:
            height: rows of the raster.
            width: columns of the raster.
            tile_size: largest side of a tile, a multiple of 32. Tiles are shrunk alike, so that the last one reaches
                little over the raster's edge; a raster that one tile holds is padded to the next multiple of 32.
            overlap: pixels shared by neighbouring tiles, 0 to half a tile.
            planes: values per pixel that the model returns; more planes make smaller blocks.

        Raises:
            InputError: a tile size or overlap that cannot work.
        """
        if tile_size < PAD_TO or tile_size % PAD_TO:
            raise InputError(
                f"Tile size {tile_size}: it must be a multiple of {PAD_TO}, at least {PAD_TO}.",
                hint="Use 256, 512 or 1024, or leave it out.",
                code="bad_value",
            )
        if not 0 <= overlap <= tile_size // 2:
            raise InputError(
                f"Overlap {overlap}: it must be between 0 and half the tile size ({tile_size // 2}).",
                hint="Leave it out to use what the model's card recommends.",
                code="bad_value",
            )
        side = max(1, int(BLOCK_PIXELS / max(1.0, planes / 3) ** 0.5) // tile_size)
        axes = []
        for length in (height, width):
            tile = _even(length, tile_size, overlap)
            axes.append(Axis(length, tile, min(overlap, tile // 2), side))
        return cls(*axes)

    def blocks(self, wanted: Window) -> Iterator[Block]:
        """Yield, row by row, the blocks with tiles that look at a pixel of ``wanted``."""
        for i in range(self.rows.blocks):
            for j in range(self.columns.blocks):
                block = Block(self, i, j, wanted)
                if block.row_tiles and block.column_tiles:
                    yield block

    def count_tiles(self, wanted: Window) -> int:
        """Return how many tiles look at a pixel of ``wanted``."""
        return sum(len(block.row_tiles) * len(block.column_tiles) for block in self.blocks(wanted))


@dataclass(frozen=True)
class Block:
    """One block of a tile grid, with the tiles needed for a wanted window.

    Args:
        grid: the grid it belongs to.
        i: row of blocks.
        j: column of blocks.
        wanted: the window of the raster that is asked for.
    """

    grid: TileGrid
    i: int
    j: int
    wanted: Window

    @property
    def row_tiles(self) -> list[int]:
        """Rows of tiles that start here and see a wanted pixel."""
        return _needed(self.grid.rows, self.i, self.wanted.row_off, self.wanted.row_off + self.wanted.height)

    @property
    def column_tiles(self) -> list[int]:
        """Columns of tiles that start here and see a wanted pixel."""
        return _needed(self.grid.columns, self.j, self.wanted.col_off, self.wanted.col_off + self.wanted.width)

    @property
    def reach(self) -> Window:
        """What this block's tiles look at, inside the raster."""
        return _window(self.grid.rows.reach(self.i), self.grid.columns.reach(self.j))

    @property
    def core(self) -> Window:
        """The part that is final once this block and those left of and above it are done."""
        return _window(self.grid.rows.core(self.i), self.grid.columns.core(self.j))


def _even(length: int, tile_size: int, overlap: int) -> int:
    """Return the smallest side with which as many tiles as it takes anyway cover a length."""
    tiles = max(1, ceil((length - overlap) / (tile_size - overlap)))
    if tiles == 1:
        return min(tile_size, _up(length, PAD_TO))
    shared = (length + (tiles - 1) * overlap) / tiles
    return min(tile_size, _up(max(shared, 2 * overlap), EVEN_TO))


def _up(length: float, step: int) -> int:
    return ceil(length / step) * step


def _needed(axis: Axis, block: int, first: int, end: int) -> list[int]:
    return [tile for tile in axis.tiles_of(block) if axis.seen(tile)[0] < end and axis.seen(tile)[1] > first]


def _window(rows: tuple[int, int], columns: tuple[int, int]) -> Window:
    return Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])
