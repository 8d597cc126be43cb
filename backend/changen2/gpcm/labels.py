"""Label maps of any size, read and written by windows, and the change between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

Labels = NDArray[np.uint8]

NODATA = 255
"""A pixel without a label: no event touches it, and the change there is unknown."""

BLOCK = 2048
"""Side of the square blocks in which a map is walked through; results do not depend on it."""


@dataclass(frozen=True)
class Box:
    """A window: rows ``top`` to ``bottom`` (excluded), columns ``left`` to ``right`` (excluded)."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def of(cls, window: Window) -> Box:
        """The box of a raster's window."""
        top, left = int(window.row_off), int(window.col_off)
        return cls(top, left, top + int(window.height), left + int(window.width))

    @property
    def window(self) -> Window:
        """The same as a raster's window."""
        return Window(self.left, self.top, self.right - self.left, self.bottom - self.top)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.bottom - self.top, self.right - self.left

    def clip(self, shape: tuple[int, int]) -> Box:
        """The part inside a map of that shape (possibly empty)."""
        return Box(
            min(max(self.top, 0), shape[0]),
            min(max(self.left, 0), shape[1]),
            min(max(self.bottom, 0), shape[0]),
            min(max(self.right, 0), shape[1]),
        )

    def grown(self, reach: int) -> Box:
        """This window with so many pixels more on each side."""
        return Box(self.top - reach, self.left - reach, self.bottom + reach, self.right + reach)

    def meet(self, other: Box) -> Box:
        """What both have in common (possibly empty)."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(top, left, max(top, min(self.bottom, other.bottom)), max(left, min(self.right, other.right)))

    def inside(self, outer: Box) -> tuple[slice, slice]:
        """Rows and columns of this window in an array that holds another one around it."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    def blocks(self, side: int = BLOCK) -> Iterator[Box]:
        """Square pieces of at most ``side`` pixels, row by row."""
        for top in range(self.top, self.bottom, side):
            for left in range(self.left, self.right, side):
                yield Box(top, left, min(top + side, self.bottom), min(left + side, self.right))


class Readable(Protocol):
    """Labels that can be read."""

    def read(self, box: Box) -> Labels:
        """The classes of a window [h, w]."""
        ...


class LabelMap(Protocol):
    """Class indices on a grid; nothing says that it is held in memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        ...

    def read(self, box: Box) -> Labels:
        """The labels of a window [h, w] inside the map."""
        ...

    def write(self, box: Box, values: Labels) -> None:
        """Replace the labels of a window."""
        ...


class ArrayLabels:
    """A label map in memory.

    Args:
        values: uint8 [h, w]; written to in place.
    """

    def __init__(self, values: Labels) -> None:
        self.values = values

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.values.shape[0], self.values.shape[1]

    def read(self, box: Box) -> Labels:
        """A copy of a window."""
        return self.values[box.top : box.bottom, box.left : box.right].copy()

    def write(self, box: Box, values: Labels) -> None:
        """Replace a window."""
        self.values[box.top : box.bottom, box.left : box.right] = values


def mirrored_places(first: int, end: int, length: int) -> NDArray[np.int64]:
    """Where ``first`` to ``end`` (excluded) lie on a side of so many pixels that is mirrored beyond its ends."""
    place = np.arange(first, end) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def whole(labels: LabelMap) -> Box:
    """The window of a whole map."""
    return Box(0, 0, *labels.shape)


def change(now: Labels, then: Labels) -> Labels:
    """The change label C = [S_t ≠ S_{t+1}]: 0 or 1, ``NODATA`` where either map has none."""
    differs = (now != then).astype(np.uint8)
    differs[(now == NODATA) | (then == NODATA)] = NODATA
    return differs
