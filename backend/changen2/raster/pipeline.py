"""Tiles through a model, with reading, inference and writing overlapped in time.

A reader thread fetches the next block while the model works on this one and a writer thread
finishes the one before: three blocks are in memory, whatever the raster's size.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from changen2.raster.blending import BlockSums, Carry, Values
from changen2.raster.gdal import gdal_thread
from changen2.raster.reading import FILL, AlignedRaster
from changen2.raster.tiles import Block

Predict = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Values]
"""``[n, 3, h, w]`` uint8 of both dates to ``[n, planes, h, w]`` uint16."""

WriteCore = Callable[[Block, Values, NDArray[np.bool_]], None]
"""Takes a block, and the planes and valid mask of its core."""


@dataclass(frozen=True)
class BlockPixels:
    """One block's imagery, over all that its tiles look at.

    Attributes:
        block: the block.
        before, after: ``[3, h, w]`` uint8; invalid pixels are filled alike on both dates.
        valid: ``[h, w]``, where both dates have data.
    """

    block: Block
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    def tile(self, row: int, column: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """Return one tile of both dates ``[3, tile, tile]``, or None where nothing in it is valid.

        Beyond the raster's edge the image is mirrored.
        """
        rows, columns = self.block.grid.rows, self.block.grid.columns
        (r0, r1), (c0, c1) = rows.seen(row), columns.seen(column)
        top, left = self.block.reach.row_off, self.block.reach.col_off
        part = (slice(None), slice(r0 - top, r1 - top), slice(c0 - left, c1 - left))
        if not self.valid[part[1:]].any():
            return None
        missing = ((0, 0), (0, rows.tile - (r1 - r0)), (0, columns.tile - (c1 - c0)))
        before, after = self.before[part], self.after[part]
        if missing[1][1] or missing[2][1]:
            return np.pad(before, missing, "reflect"), np.pad(after, missing, "reflect")
        return before, after


def read_block(before: AlignedRaster, after: AlignedRaster, block: Block) -> BlockPixels:
    """Read what a block's tiles look at, with one valid mask for both dates."""
    (first, valid_first), (second, valid_second) = before.read(block.reach), after.read(block.reach)
    valid = valid_first & valid_second
    if not valid.all():
        first, second = first.copy(), second.copy()
        for values in (first, second):
            values[:, ~valid] = FILL[:, None]
    return BlockPixels(block, first, second, valid)


def core_of(block: Block, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cut a block's core ``[h, w]`` from all that its tiles look at."""
    core, reach = block.core, block.reach
    top, left = core.row_off - reach.row_off, core.col_off - reach.col_off
    return seen[top : top + core.height, left : left + core.width]


def sum_block(
    pixels: BlockPixels, predict: Predict, planes: int, batch_size: int, on_tiles: Callable[[int], None]
) -> BlockSums:
    """Run the model over a block's wanted tiles.

    Args:
        pixels: the block's imagery.
        predict: the model.
        planes: what it returns per pixel.
        batch_size: tiles at once.
        on_tiles: called with the number of tiles done; may raise to cancel.
    """
    block = pixels.block
    sums = BlockSums(block, planes)
    waiting: list[tuple[int, int, NDArray[np.uint8], NDArray[np.uint8]]] = []

    def flush() -> None:
        if not waiting:
            return
        values = predict(np.stack([tile[2] for tile in waiting]), np.stack([tile[3] for tile in waiting]))
        for (row, column, _, _), value in zip(waiting, values, strict=True):
            sums.add(row, column, value)
        on_tiles(len(waiting))
        waiting.clear()

    for row, column in block.tiles:
        tile = pixels.tile(row, column)
        if tile is None:
            on_tiles(1)
            continue
        waiting.append((row, column, *tile))
        if len(waiting) == batch_size:
            flush()
    flush()
    return sums


def run_tiles(
    before: AlignedRaster,
    after: AlignedRaster,
    blocks: list[Block],
    predict: Predict,
    *,
    planes: int,
    batch_size: int,
    carry: Carry,
    write_core: WriteCore,
    on_tiles: Callable[[int], None],
) -> None:
    """Run a model over the wanted tiles of blocks and hand each finished core to ``write_core``.

    Args:
        before, after: both dates on the grid that the blocks belong to.
        blocks: what to work on, row by row.
        predict: the model, called from this thread only.
        planes: values per pixel it returns.
        batch_size: pairs at once.
        carry: hands overlaps from block to block.
        write_core: called from one other thread, in order.
        on_tiles: called with tiles done; raising in it stops everything.
    """

    def finish(pixels: BlockPixels, sums: BlockSums) -> None:
        with gdal_thread():
            write_core(pixels.block, carry.finish(sums), core_of(pixels.block, pixels.valid))

    with ThreadPoolExecutor(1, "writer") as writer:
        pending: Future[None] | None = None
        row = 0
        for pixels in _prefetch(before, after, blocks):
            sums = sum_block(pixels, predict, planes, batch_size, on_tiles)
            if pending:
                pending.result()
            if pixels.block.i > row:
                row = pixels.block.i
                carry.forget_above(row)
            pending = writer.submit(finish, pixels, sums)
        if pending:
            pending.result()


def _prefetch(before: AlignedRaster, after: AlignedRaster, blocks: list[Block]) -> Iterator[BlockPixels]:
    """Read blocks one ahead in a thread of its own; its errors are raised here."""
    ready: queue.Queue[BlockPixels | Exception | None] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(item: BlockPixels | Exception | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def read() -> None:
        try:
            with gdal_thread():
                for block in blocks:
                    if stopped.is_set():
                        return
                    put(read_block(before, after, block))
            put(None)
        except Exception as error:  # whatever it is, it belongs to the consumer
            put(error)

    thread = threading.Thread(target=read, name="reader", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
