"""Instances of an image without labels, found block by block, and their removal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import scipy.ndimage
from numpy.typing import NDArray

from changen2.gpcm.instances import HALO, choose_instances, contours_after, segment
from changen2.gpcm.labels import Box, LabelMap, Labels
from changen2.gpcm.simulation import Event, OnMark
from changen2.jobs.image_series import SourceImage, mirrored_read
from changen2.jobs.label_series import as_window

SIDE = 512
"""Side of the blocks that are segmented, on the raster's grid. What touches a block's edge is left out, so that every
instance is whole and none depends on what else is asked for."""

PER_BLOCK = 1 << 12
"""Room for the numbers of one block; more instances than SIDE² / 64 cannot be."""


class InstanceRaster:
    """Instance numbers on disk, 0 where there is none.

    Args:
        path: in a work folder.
        image: what is segmented.
    """

    def __init__(self, path: Path, image: SourceImage) -> None:
        self._image = image
        self._across = -(-image.shape[1] // SIDE)
        self._found: set[tuple[int, int]] = set()
        self._dataset = rasterio.open(
            path, "w+", driver="GTiff", dtype="int64", count=1, width=image.shape[1], height=image.shape[0],
            tiled=True, blockxsize=256, blockysize=256, sparse_ok=True, bigtiff="IF_SAFER", compress="DEFLATE",
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the file."""
        self._dataset.close()

    def read(self, box: Box) -> NDArray[np.int64]:
        """Numbers [h, w] of a box inside the raster; blocks are segmented when first read."""
        for row in range(box.top // SIDE, -(-box.bottom // SIDE)):
            for column in range(box.left // SIDE, -(-box.right // SIDE)):
                if (row, column) not in self._found:
                    self._segment(row, column)
        return self._dataset.read(1, window=as_window(box))

    def _segment(self, row: int, column: int) -> None:
        block = Box(row * SIDE, column * SIDE, (row + 1) * SIDE, (column + 1) * SIDE).clip(self._image.shape)
        window = as_window(block)
        valid = self._image.valid(window)
        rgb = self._image.rgb(self._image.dataset.read(window=window), valid)
        ids = segment(np.moveaxis(rgb, 0, -1)).astype(np.int64)
        edge = np.unique(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1], ids[~valid]]))
        ids[np.isin(ids, edge)] = 0
        numbers = np.where(ids > 0, ids + (row * self._across + column) * PER_BLOCK, 0)
        self._dataset.write(numbers, 1, window=window)
        self._found.add((row, column))


class InstanceLabels:
    """S_0 of an image without labels: 1 where an instance stands, else 0.

    Args:
        instances: where they are.
    """

    def __init__(self, instances: InstanceRaster) -> None:
        self._instances = instances

    def read(self, box: Box) -> Labels:
        """0 or 1 [h, w]."""
        return (self._instances.read(box) > 0).astype(np.uint8)


class Removals:
    """Class-agnostic removal: each instance goes with some probability at each step.

    Args:
        instances: where they are.
        asked: only blocks that meet this box are looked at.
        seed: of the run.
    """

    def __init__(self, instances: InstanceRaster, asked: Box, seed: int) -> None:
        self._instances, self._asked, self._seed = instances, asked, seed

    def blocks(self) -> list[Box]:
        """The blocks that are looked at."""
        asked = self._asked
        first = Box(asked.top // SIDE * SIDE, asked.left // SIDE * SIDE, asked.bottom, asked.right)
        return list(first.blocks(SIDE))

    def happen(self, now: LabelMap, then: LabelMap, step: int, mark: OnMark) -> list[Event]:
        """Take the chosen instances of one step away."""
        events: list[Event] = []
        for block in self.blocks():
            block = Box(block.top, block.left, block.top + SIDE, block.left + SIDE).clip(now.shape)
            ids = np.where(now.read(block) == 1, self._instances.read(block), 0)
            chosen = choose_instances(ids, self._seed, step)
            if not len(chosen):
                continue
            ranks = np.searchsorted(chosen, ids)
            gone = np.isin(ids, chosen)
            then.write(block, np.where(gone, 0, then.read(block)).astype(np.uint8))
            numbers = np.where(gone, ranks + 1, 0)
            for rank, (rows, columns) in enumerate(scipy.ndimage.find_objects(numbers), 1):
                top, left = block.top + rows.start, block.left + columns.start
                box = Box(top, left, block.top + rows.stop, block.left + columns.stop)
                area = int((numbers[rows, columns] == rank).sum())
                events.append(Event("remove", len(events) + 1, 1, 0, area, box))
            first = len(events) - len(chosen)
            mark(block, np.where(gone, numbers + first, 0).astype(np.int32))
        return events

    def contours(self, now: LabelMap, then: LabelMap, box: Box) -> NDArray[np.bool_]:
        """The contours that are left in a box inside the raster when this step's instances have gone [h, w]."""
        grown = Box(box.top - HALO, box.left - HALO, box.bottom + HALO, box.right + HALO)

        def left(part: Box) -> NDArray[np.int64]:
            return np.where(now.read(part) == 1, self._instances.read(part), 0)

        def gone(part: Box) -> NDArray[np.bool_]:
            return now.read(part) != then.read(part)

        ids = mirrored_read(left, grown, now.shape).astype(np.int64)
        change = mirrored_read(gone, grown, now.shape).astype(bool)
        return contours_after(ids, change)[HALO:-HALO, HALO:-HALO]
