"""The objects of a label map: 8-connected components of equal class, found block by block.

Blocks are labelled one at a time and joined along their borders by union-find, so a map of any size needs the
memory of one block, one row of ids and a small record per object. Objects are numbered by their first pixel in
reading order, which does not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from changen2.gpcm.labels import BLOCK, Box, LabelMap, Labels, whole

Ids = NDArray[np.int64]


def components(values: Labels) -> tuple[Ids, int]:
    """8-connected regions of equal value, numbered from 1 [h, w], and their count."""
    # The library's "background" gets no number; none of our values is below 0.
    ids, count = label(values.astype(np.int16), background=-1, return_num=True, connectivity=2)
    return ids.astype(np.int64), int(count)


@dataclass(frozen=True)
class Objects:
    """All objects of a label map, ordered by their first pixel in reading order.

    Attributes:
        classes: uint8 [n].
        areas: pixels, int64 [n].
        boxes: top, left, bottom, right (the last two excluded), int64 [n, 4].
        firsts: place of the first pixel in reading order, row · width + column, int64 [n].
    """

    classes: NDArray[np.uint8]
    areas: Ids
    boxes: Ids
    firsts: Ids
    _offsets: dict[Box, int]
    _objects: Ids

    def __len__(self) -> int:
        return len(self.classes)

    def box(self, index: int) -> Box:
        """The bounding box of one object."""
        top, left, bottom, right = (int(value) for value in self.boxes[index])
        return Box(top, left, bottom, right)

    def ids(self, block: Box, values: Labels) -> Ids:
        """The object of each pixel [h, w] of a block; ``values`` are the labels that were scanned there."""
        local, _ = components(values)
        return self._objects[local - 1 + self._offsets[block]]

    def blocks(self) -> list[Box]:
        """The blocks that ``ids`` knows."""
        return list(self._offsets)

    def footprint(self, labels: LabelMap, index: int) -> NDArray[np.bool_]:
        """The pixels of one object inside its box [h, w]; reads that box only."""
        box = self.box(index)
        local, _ = components(labels.read(box))
        row, column = divmod(int(self.firsts[index]), labels.shape[1])
        return local == local[row - box.top, column - box.left]


def find_objects(
    labels: LabelMap, *, block: int = BLOCK, on_block: Callable[[int, int], None] | None = None
) -> Objects:
    """Find all objects of a map.

    Args:
        labels: the map.
        block: side of the blocks in pixels; the result does not depend on it.
        on_block: progress (done, total), may raise to cancel.
    """
    width = labels.shape[1]
    boxes = list(whole(labels).blocks(block))
    parts: list[tuple[Ids, ...]] = []
    joins: list[Ids] = []
    offsets: dict[Box, int] = {}
    above, below, beside = _Border(width), _Border(width), _Border(0)
    count = 0
    for number, box in enumerate(boxes):
        values = labels.read(box)
        local, found = components(values)
        parts.append(_measure(values, local, found, box, width))
        offsets[box] = count
        ids = local - 1 + count
        count += found
        if box.left == 0 and box.top > 0:
            above, below = below, _Border(width)
        if box.top > 0:
            joins.append(_touching(ids[0], values[0], *above.around(box.left, box.right)))
        if box.left > 0:
            joins.append(_touching(ids[:, 0], values[:, 0], *beside.around(0, box.shape[0])))
        below.put(box.left, ids[-1], values[-1])
        beside = _Border(box.shape[0])
        beside.put(0, ids[:, -1], values[:, -1])
        if on_block:
            on_block(number + 1, len(boxes))
    return _merge([np.concatenate(column) for column in zip(*parts, strict=True)], joins, offsets)


class _Border:
    """A line of pixels that the next block will touch: object ids and classes, with one empty place at each end."""

    def __init__(self, length: int) -> None:
        self.ids = np.full(length + 2, -1, np.int64)
        self.values = np.full(length + 2, -1, np.int16)

    def put(self, start: int, ids: Ids, values: Labels) -> None:
        self.ids[start + 1 : start + 1 + len(ids)] = ids
        self.values[start + 1 : start + 1 + len(ids)] = values

    def around(self, start: int, stop: int) -> tuple[Ids, NDArray[np.int16]]:
        """Ids and classes from ``start`` to ``stop`` with one neighbour on either side."""
        return self.ids[start : stop + 2], self.values[start : stop + 2]


def _touching(ids: Ids, values: Labels, other_ids: Ids, other_values: NDArray[np.int16]) -> Ids:
    """Pairs [n, 2] of objects of equal class that touch across a border, diagonals included."""
    pairs = []
    for shift in range(3):
        facing = other_ids[shift : shift + len(ids)]
        same = (other_values[shift : shift + len(ids)] == values) & (facing >= 0)
        pairs.append(np.stack([ids[same], facing[same]], 1))
    return np.unique(np.concatenate(pairs), axis=0)


def _measure(values: Labels, local: Ids, found: int, box: Box, width: int) -> tuple[Ids, ...]:
    """Class, area, first pixel, top, left, bottom and right of each component of a block."""
    flat = local.ravel() - 1
    place = np.arange(flat.size, dtype=np.int64)
    first = np.zeros(found, np.int64)
    # Assigning backwards leaves the first pixel, since the last assignment to a repeated index wins.
    first[flat[::-1]] = place[::-1]
    rows, columns = np.divmod(first, values.shape[1])
    slices = scipy.ndimage.find_objects(local)
    tops, bottoms = (np.array([getattr(s[0], end) for s in slices]) + box.top for end in ("start", "stop"))
    lefts, rights = (np.array([getattr(s[1], end) for s in slices]) + box.left for end in ("start", "stop"))
    return (
        values.ravel()[first].astype(np.int64),
        np.bincount(flat, minlength=found).astype(np.int64),
        (rows + box.top) * width + columns + box.left,
        tops.astype(np.int64),
        lefts.astype(np.int64),
        bottoms.astype(np.int64),
        rights.astype(np.int64),
    )


def _merge(columns: list[Ids], joins: list[Ids], offsets: dict[Box, int]) -> Objects:
    """Join the components of all blocks and number the objects by their first pixel."""
    classes, areas, firsts, tops, lefts, bottoms, rights = columns
    count = len(classes)
    pairs = np.concatenate([*joins, np.zeros((0, 2), np.int64)])
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    found, roots = connected_components(graph, directed=False)
    first = np.full(found, np.iinfo(np.int64).max)
    np.minimum.at(first, roots, firsts)
    order = np.argsort(first)
    rank = np.empty(found, np.int64)
    rank[order] = np.arange(found)
    objects = rank[roots]

    def gather(values: Ids, join: np.ufunc, start: int) -> Ids:
        result = np.full(found, start, np.int64)
        join.at(result, objects, values)
        return result

    largest = np.iinfo(np.int64).max
    boxes = np.stack(
        [
            gather(tops, np.minimum, largest),
            gather(lefts, np.minimum, largest),
            gather(bottoms, np.maximum, 0),
            gather(rights, np.maximum, 0),
        ],
        axis=1,
    )
    return Objects(
        classes=gather(classes, np.maximum, 0).astype(np.uint8),
        areas=gather(areas, np.add, 0),
        boxes=boxes,
        firsts=first[order],
        _offsets=offsets,
        _objects=objects,
    )
