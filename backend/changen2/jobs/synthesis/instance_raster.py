"""Instances of an image without labels, given or found block by block, and their removal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio
import scipy.ndimage
from numpy.typing import NDArray

from changen2.gpcm.instances import HALO, choose_instances, contours_after, segment
from changen2.gpcm.labels import Box, LabelMap, Labels
from changen2.gpcm.simulation import Event, OnMark
from changen2.jobs.synthesis.given_instances import open_instances
from changen2.jobs.synthesis.image_series import SourceImage, mirrored_read

AUTO = "auto"
"""Instances that nobody gave: those that the image shows."""

SIDE = 512
"""Side of the blocks that are segmented, on the raster's grid. What touches a block's edge is left out, so that every
instance is whole and none depends on what else is asked for."""

PER_BLOCK = 1 << 12
"""Room for the numbers of one block; more instances than SIDE² / 64 cannot be."""


OnBlock = Callable[[int, int, int], None]


class InstanceMap(Protocol):
    """Numbered instances on a raster's grid.

    Attributes:
        block: side, in pixels, of blocks of the raster whose edges no instance touches; None where any may.
    """

    @property
    def block(self) -> int | None: ...  # noqa: D102

    def read(self, box: Box) -> NDArray[np.int64]:
        """Numbers [h, w] of a box inside the raster, 0 where there is no instance."""


class InstanceRaster:
    """Instances found in the image itself, kept on disk.

    Args:
        path: in a work folder.
        image: what is segmented.
    """

    block = SIDE

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
        return self._dataset.read(1, window=box.window)

    def _segment(self, row: int, column: int) -> None:
        block = Box(row * SIDE, column * SIDE, (row + 1) * SIDE, (column + 1) * SIDE).clip(self._image.shape)
        window = block.window
        valid = self._image.valid(window)
        rgb = self._image.rgb(self._image.dataset.read(window=window), valid)
        ids = segment(np.moveaxis(rgb, 0, -1)).astype(np.int64)
        edge = np.unique(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1], ids[~valid]]))
        ids[np.isin(ids, edge)] = 0
        numbers = np.where(ids > 0, ids + (row * self._across + column) * PER_BLOCK, 0)
        self._dataset.write(numbers, 1, window=window)
        self._found.add((row, column))


def find_instances(
    given: str | None, image: SourceImage, work: Path, files: ExitStack
) -> tuple[InstanceMap, list[str]]:
    """What stands on an image without labels, and what is to be said of it.

    Args:
        given: a raster of instance numbers or a polygon layer; None or ``auto``: regions of even colour.
        image: its grid counts.
        work: folder for what is found.
        files: closes what is opened.
    """
    if given is None or given == AUTO:
        found = InstanceRaster(work / "instances.tif", image)
        files.callback(found.close)
        return found, ["There are no labels: regions of even colour were taken for objects, and some removed."]
    known = open_instances(given, image.grid)
    files.callback(known.close)
    return known, known.notes


class InstanceLabels:
    """S_0 of an image without labels: 1 where an instance stands, else 0.

    Args:
        instances: where they are.
    """

    def __init__(self, instances: InstanceMap) -> None:
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
        probability: of each instance to go in a step.
        on_block: receives (step, blocks done, of so many); may raise to cancel.
    """

    def __init__(self, instances: InstanceMap, asked: Box, seed: int, probability: float, on_block: OnBlock) -> None:
        self._instances, self._asked, self._on_block = instances, asked, on_block
        self._seed, self._probability = seed, probability

    def blocks(self) -> list[Box]:
        """The blocks that are looked at."""
        asked = self._asked
        first = Box(asked.top // SIDE * SIDE, asked.left // SIDE * SIDE, asked.bottom, asked.right)
        return list(first.blocks(SIDE))

    def happen(self, now: LabelMap, then: LabelMap, step: int, mark: OnMark) -> list[Event]:
        """Take the chosen instances of one step away."""
        gone: dict[int, Event] = {}
        blocks = self.blocks()
        for done, block in enumerate(blocks):
            self._on_block(step, done, len(blocks))
            block = Box(block.top, block.left, block.top + SIDE, block.left + SIDE).clip(now.shape)
            ids = np.where(now.read(block) == 1, self._instances.read(block), 0)
            chosen = choose_instances(ids, self._seed, step, self._probability)
            if not len(chosen):
                continue
            places = np.where(np.isin(ids, chosen), np.searchsorted(chosen, ids) + 1, 0)
            then.write(block, np.where(places > 0, 0, then.read(block)).astype(np.uint8))
            numbers = np.zeros(len(chosen) + 1, np.int32)
            for place, (rows, columns) in enumerate(scipy.ndimage.find_objects(places), 1):
                top, left = block.top + rows.start, block.left + columns.start
                box = Box(top, left, block.top + rows.stop, block.left + columns.stop)
                area = int((places[rows, columns] == place).sum())
                found = int(chosen[place - 1])
                part = Event("remove", len(gone) + 1, 1, 0, area, box)
                gone[found] = _joined(gone[found], part) if found in gone else part
                numbers[place] = gone[found].number
            mark(block, numbers[places])
        return list(gone.values())

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


def _joined(event: Event, part: Event) -> Event:
    """An event and what of it lies in another block."""
    a, b = event.box, part.box
    box = Box(min(a.top, b.top), min(a.left, b.left), max(a.bottom, b.bottom), max(a.right, b.right))
    return replace(event, area=event.area + part.area, box=box)
