"""The tile grid: where a model looks, and with which weight each look counts.

Tiles hang on the raster's own first pixel, never on the extent asked for, so a pixel is decided by the
same tiles whatever part of the raster is wanted. A tile has no say in its rims, where it has a neighbour: it
sees them to know what lies around. Tiles are grouped into *blocks*, the unit of reading, memory and resuming:
what the tiles of block (i, j) say of pixels beyond its core, to the right and below, is added to by its neighbours.
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
        """Return first and end pixel of a block: where its first tile has a say, to where the next block's has."""
        first = self.counted(block * self.tiles_per_block)[0]
        last = block == self.blocks - 1
        return first, self.length if last else self.counted((block + 1) * self.tiles_per_block)[0]

    def decided(self, block: int) -> tuple[int, int]:
        """Return first and end pixel that a block's tiles have a say in: its core and what the next one finishes."""
        return self.core(block)[0], self.counted(self.tiles_of(block)[-1])[1]

    def reach(self, block: int) -> tuple[int, int]:
        """Return first and end pixel that a block's tiles look at, inside the raster."""
        tiles = self.tiles_of(block)
        return self.seen(tiles[0])[0], self.seen(tiles[-1])[1]

    def seen(self, tile: int) -> tuple[int, int]:
        """Return first and end pixel of a tile, inside the raster."""
        return tile * self.stride, min(tile * self.stride + self.tile, self.length)

    @property
    def rim(self) -> int:
        """Pixels along a side with a neighbour that do not count: the model knows least there."""
        return 3 * self.overlap // 8

    def counted(self, tile: int) -> tuple[int, int]:
        """Return first and end pixel that a tile has a say in: all it sees but its rims."""
        first, end = self.seen(tile)
        return first + self.rim * (tile > 0), end - self.rim * (tile < self.tiles - 1)

    def weights(self, tile: int) -> NDArray[np.uint32]:
        """Return a tile's weights ``[tile]``: 0 in its rims, then a ramp in the middle quarter of the overlap, then 1.

        In whole numbers. The error at a tile's edge reaches far inside and falls slowly, so handing over in the middle
        keeps both far from their edges; with the embedded detector a ramp over the whole overlap left differences a
        fifth larger. It also leaves fewer tiles to look at for a part of a raster.
        """
        position = np.arange(self.tile)
        far = np.full(self.tile, self.tile)
        from_edge = np.minimum(position if tile > 0 else far, position[::-1] if tile < self.tiles - 1 else far)
        inside = from_edge - self.rim
        ramp = (1 + inside) * RAMP_LEVELS // (1 + self.overlap - 2 * self.rim)
        return np.where(inside < 0, 0, np.clip(ramp, 1, RAMP_LEVELS)).astype(np.uint32)

    def total_weights(self, first: int, end: int) -> NDArray[np.uint32]:
        """Return the sum of all tiles' weights at each pixel from ``first`` to ``end``."""
        total = np.zeros(end - first, np.uint32)
        for tile in range(max(0, (first - self.tile) // self.stride), min(self.tiles, end // self.stride + 1)):
            start, stop = max(first, tile * self.stride), min(end, tile * self.stride + self.tile)
            if start < stop:
                weights = self.weights(tile)
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

    def blocks(self, wanted: Window, inside: NDArray[np.bool_] | None = None) -> Iterator[Block]:
        """Yield, row by row, the blocks with tiles that have a say in a pixel of ``wanted``.

        Args:
            wanted: the window of the raster that is asked for.
            inside: ``[rows, columns]`` of tiles, those that are wanted if they have a say; None: all.
        """
        for i in range(self.rows.blocks):
            rows = _needed(self.rows, i, wanted.row_off, wanted.row_off + wanted.height)
            for j in range(self.columns.blocks):
                columns = _needed(self.columns, j, wanted.col_off, wanted.col_off + wanted.width)
                tiles = ((row, column) for row in rows for column in columns)
                if needed := tuple(tile for tile in tiles if inside is None or inside[tile]):
                    yield Block(self, i, j, needed)


@dataclass(frozen=True)
class Block:
    """One block of a tile grid, with the tiles that are needed.

    Args:
        grid: the grid it belongs to.
        i: row of blocks.
        j: column of blocks.
        tiles: row and column of those that start here and have a say in a wanted pixel, row by row.
    """

    grid: TileGrid
    i: int
    j: int
    tiles: tuple[tuple[int, int], ...]

    @property
    def reach(self) -> Window:
        """What this block's tiles look at, inside the raster."""
        return _window(self.grid.rows.reach(self.i), self.grid.columns.reach(self.j))

    @property
    def decided(self) -> Window:
        """What this block's tiles have a say in."""
        return _window(self.grid.rows.decided(self.i), self.grid.columns.decided(self.j))

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
    return [tile for tile in axis.tiles_of(block) if axis.counted(tile)[0] < end and axis.counted(tile)[1] > first]


def _window(rows: tuple[int, int], columns: tuple[int, int]) -> Window:
    return Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])
