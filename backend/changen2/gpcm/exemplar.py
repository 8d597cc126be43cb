"""An exemplar start: the change begins as a patch of the wanted class instead of noise (SDEdit, Meng et al. 2022).

The patch comes from the same raster where its labels hold the class, else from another library, such as a drawn scene.
It is laid into the change, noised to some level and denoised to fit its surroundings. What is to become background
begins as its surroundings, mirrored inwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from changen2.gpcm.labels import Box

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

BACKGROUND = 0
"""The generator's class of what is nothing else; nothing can be copied for it."""

SIDES = (256, 96, 40)
"""Largest sides of a patch in pixels, tried in turn; a region larger than its patch repeats it mirrored."""

TRIES = 24
"""Patches that are compared for one region."""

GOOD, ENOUGH = 0.97, 0.6
"""Share of a region that a patch covers with the wanted class: good ends the search, less than enough is no patch."""

RIM = 4
"""Pixels around a region in which a patch had better show something else: the edge of a roof, not its middle."""

SURROUNDINGS = "surroundings"


class Library(Protocol):
    """Pictures with classes that patches are taken from."""

    name: str
    shape: tuple[int, int]

    def rgb(self, box: Box) -> Picture:
        """RGB 0..255 [3, h, w] of a box inside."""
        ...

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """The generator's classes [h, w]."""
        ...

    def places(self, wanted: int) -> NDArray[np.int64]:
        """Rows and columns [n, 2] of pixels of a class; some of them suffice."""
        ...


class ArrayLibrary:
    """A library in memory.

    Args:
        name: for the record.
        rgb: uint8 [3, h, w].
        labels: the generator's classes [h, w].
    """

    def __init__(self, name: str, rgb: Picture, labels: NDArray[np.uint8]) -> None:
        self.name = name
        self.shape: tuple[int, int] = (labels.shape[0], labels.shape[1])
        self._rgb, self._labels = rgb, labels

    def rgb(self, box: Box) -> Picture:
        """RGB [3, h, w]."""
        return self._rgb[:, box.top : box.bottom, box.left : box.right]

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """Classes [h, w]."""
        return self._labels[box.top : box.bottom, box.left : box.right]

    def places(self, wanted: int) -> NDArray[np.int64]:
        """Rows and columns [n, 2]."""
        return np.argwhere(self._labels == wanted)


@dataclass(frozen=True)
class Patch:
    """A picture with what of it shows the wanted class.

    Attributes:
        rgb: [3, h, w].
        covered: [h, w].
        score: how well it fits, at most 1.
        source: where it is from.
    """

    rgb: Picture
    covered: Mask
    score: float
    source: str


def start_picture(
    before: Picture,
    wanted: NDArray[np.uint8],
    change: Mask,
    libraries: Sequence[Library],
    seed: Sequence[int],
    counted: Mask | None = None,
) -> tuple[Picture, dict[str, int]]:
    """Lay patches of the wanted classes into the change.

    Args:
        before: the image [3, h, w].
        wanted: the generator's classes [h, w].
        change: [h, w].
        libraries: searched in this order.
        seed: numbers that decide which patches are tried.
        counted: only regions that meet it are counted [h, w]; all where None.

    Returns:
        The picture [3, h, w], equal to ``before`` outside the change, and how many regions came from which source.
    """
    picture = mirrored(before, change)
    sources: dict[str, int] = {}
    for value in np.unique(wanted[change]) if change.any() else []:
        regions, _ = scipy.ndimage.label(change & (wanted == value), np.ones((3, 3), int))
        for number, window in enumerate(scipy.ndimage.find_objects(regions), 1):
            inside = regions[window] == number
            rng = np.random.default_rng([*seed, int(value), number])
            patch = find_patch(inside, int(value), libraries, rng) if value != BACKGROUND else None
            if patch is not None:
                picture[:, window[0], window[1]][:, inside] = _tiled(patch, inside.shape)[:, inside]
            source = patch.source if patch else SURROUNDINGS
            if counted is not None and not counted[window][inside].any():
                continue
            sources[source] = sources.get(source, 0) + 1
    return picture, sources


def mirrored(before: Picture, change: Mask) -> Picture:
    """The image with its change filled by what lies around it, mirrored at the change's rim [3, h, w]."""
    picture = before.copy()
    if not change.any() or change.all():
        return picture
    nearest = scipy.ndimage.distance_transform_edt(change, return_distances=False, return_indices=True)
    rows, columns = np.nonzero(change)
    rim = nearest[:, rows, columns]
    limits = np.array(change.shape)[:, None] - 1
    across = np.clip(2 * rim - np.stack([rows, columns]), 0, limits)
    # A mirrored place may lie in the change again (a narrow gap): the rim itself never does.
    taken = np.where(change[across[0], across[1]], rim, across)
    picture[:, rows, columns] = before[:, taken[0], taken[1]]
    return picture


def find_patch(inside: Mask, wanted: int, libraries: Sequence[Library], rng: np.random.Generator) -> Patch | None:
    """The patch that fits a region best, from the first library that has one that fits at all.

    Args:
        inside: the region in its bounding box [h, w].
        wanted: its class.
        libraries: searched in order.
        rng: decides which places are tried.
    """
    for library in libraries:
        places = library.places(wanted)
        if not len(places) or min(library.shape) < 2:
            continue
        for side in SIDES:
            patch = _best_patch(inside[:side, :side], wanted, library, places, rng)
            if patch.score >= ENOUGH:
                return patch
            if max(inside.shape) <= SIDES[-1]:
                break
    return None


def _best_patch(
    inside: Mask, wanted: int, library: Library, places: NDArray[np.int64], rng: np.random.Generator
) -> Patch:
    """The best of some patches from a library."""
    tried = []
    for row, column in places[rng.integers(len(places), size=TRIES)]:
        tried.append(_patch_at(library, int(row), int(column), wanted, inside))
        if tried[-1].score >= GOOD:
            break
    return max(tried, key=lambda patch: patch.score)


def _patch_at(library: Library, row: int, column: int, wanted: int, inside: Mask) -> Patch:
    """The patch around an object, in the one of its four mirror images that fits best."""
    shape = (min(inside.shape[0], library.shape[0]), min(inside.shape[1], library.shape[1]))
    row, column = _middle(library, row, column, wanted, shape)
    box = _box_around(row, column, shape, library.shape)
    rgb, covered = library.rgb(box), library.labels(box) == wanted
    inside = inside[: shape[0], : shape[1]]
    rim = scipy.ndimage.binary_dilation(np.pad(inside, RIM), iterations=RIM)[RIM:-RIM, RIM:-RIM] & ~inside
    best = Patch(rgb, covered, -1.0, library.name)
    for down in (1, -1):
        for right in (1, -1):
            flipped = covered[::down, ::right]
            score = float(flipped[inside].mean())
            if rim.any():
                score -= 0.25 * float(flipped[rim].mean())
            if score > best.score:
                best = Patch(rgb[:, ::down, ::right], flipped, score, library.name)
    return best


def _middle(library: Library, row: int, column: int, wanted: int, shape: tuple[int, int]) -> tuple[int, int]:
    """The middle of the object at a place, or the place itself where the object is larger than what is looked at."""
    box = _box_around(row, column, (2 * shape[0], 2 * shape[1]), library.shape)
    numbers, _ = scipy.ndimage.label(library.labels(box) == wanted, np.ones((3, 3), int))
    number = numbers[row - box.top, column - box.left]
    if number == 0:
        return row, column
    rows, columns = scipy.ndimage.find_objects(numbers)[number - 1]
    if rows.stop - rows.start == box.shape[0] or columns.stop - columns.start == box.shape[1]:
        return row, column
    return (rows.start + rows.stop) // 2 + box.top, (columns.start + columns.stop) // 2 + box.left


def _box_around(row: int, column: int, shape: tuple[int, int], limits: tuple[int, int]) -> Box:
    height, width = min(shape[0], limits[0]), min(shape[1], limits[1])
    top = min(max(row - height // 2, 0), limits[0] - height)
    left = min(max(column - width // 2, 0), limits[1] - width)
    return Box(top, left, top + height, left + width)


def _tiled(patch: Patch, shape: tuple[int, int]) -> Picture:
    """A patch of the wanted class all over, repeated mirrored to a shape [3, h, w]."""
    rgb = mirrored(patch.rgb, ~patch.covered)
    rows, columns = (_reflected(length, side) for length, side in zip(shape, rgb.shape[1:], strict=True))
    return rgb[:, rows[:, None], columns[None, :]]


def _reflected(length: int, side: int) -> NDArray[np.int64]:
    place = np.arange(length) % (2 * side)
    return np.minimum(place, 2 * side - 1 - place)
