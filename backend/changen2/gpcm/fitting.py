"""A whole object of another place, turned and stretched into a footprint.

A roof has ridges that follow its walls. A piece cut out of a larger roof has not, and does not look like a house.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from changen2.gpcm.labels import Box
from changen2.gpcm.libraries import Library, Mask, Picture

Floats = NDArray[np.float64]

LARGEST_SIDE = 192
"""Pixels along a footprint that whole objects are looked for; larger ones are rare."""

LEAST_AREA = 24
"""Pixels of an object below which there is nothing to see."""

TRIES, ENOUGH = 60, 20
"""Places of the class that are looked at for objects, and objects that are enough."""

WARPED = 8
"""Objects of most similar size that are tried on the footprint, each in four turns."""

STRETCH_COST, TURN_COST = 0.2, 0.1
"""What a doubled side and a quarter turn cost, in intersection over union: stretched tiles and a roof lit from the
wrong side look wrong."""

CONTRAST_WORTH = 1.0
"""What an object gains that is as unlike the ground as black is unlike white: a brown house in a brown field is hardly
an event."""

ANGLES = np.deg2rad(np.arange(0, 90, 3))


@dataclass(frozen=True)
class Frame:
    """The smallest rectangle around an object, in the pixels of its mask.

    Attributes:
        centre: row and column [2].
        axes: unit vectors of its two sides, as rows, (row, column) each [2, 2].
        half_sides: half the length of each side [2].
    """

    centre: Floats
    axes: Floats
    half_sides: Floats

    @classmethod
    def around(cls, mask: Mask) -> Frame:
        """That of a mask which is not empty [h, w]."""
        rim = np.argwhere(mask & ~scipy.ndimage.binary_erosion(mask)).astype(np.float64)
        axes = np.stack([[np.cos(ANGLES), np.sin(ANGLES)], [-np.sin(ANGLES), np.cos(ANGLES)]]).transpose(2, 0, 1)
        along = axes @ rim.T  # [angles, 2, points]
        low, high = along.min(axis=2) - 0.5, along.max(axis=2) + 0.5
        best = int((high - low).prod(axis=1).argmin())
        return cls(axes[best].T @ ((low + high) / 2)[best], axes[best], (high - low)[best] / 2)

    def turned(self, quarters: int) -> Frame:
        """The same rectangle, told from another of its corners."""
        turn = [[1, 0], [0, 1], [-1, 0], [0, -1]][quarters % 4], [[0, 1], [-1, 0], [0, -1], [1, 0]][quarters % 4]
        return Frame(self.centre, np.array(turn, float) @ self.axes, self.half_sides[:: -1 if quarters % 2 else 1])


@dataclass(frozen=True)
class Fitted:
    """An object in a footprint's bounding box.

    Attributes:
        rgb: [3, h, w].
        covered: where it shows the object [h, w].
        score: intersection over union with the footprint, less what stretching and turning cost.
    """

    rgb: Picture
    covered: Mask
    score: float


@dataclass(frozen=True)
class _Candidate:
    box: Box
    mask: Mask
    frame: Frame

    def contrast(self, library: Library, ground: Floats) -> float:
        """How unlike a colour its mean colour is, 0..1."""
        return float(np.abs(library.rgb(self.box)[:, self.mask].mean(1) - ground).mean() / 255)


def fit_object(
    inside: Mask, wanted: int, library: Library, ground: Floats, least: float, rng: np.random.Generator
) -> Fitted | None:
    """The object of a library that fits a footprint best, turned and stretched into it.

    Among those that fit well enough, one that can be told from the ground is preferred.

    Args:
        inside: the footprint in its bounding box [h, w].
        wanted: its class.
        library: what objects are taken from.
        ground: colour of what it will lie on [3].
        least: score of a fit that is good enough.
        rng: decides which are looked at.

    Returns:
        None where the footprint is too large or the library holds no whole object of the class that fits.
    """
    if max(inside.shape) > LARGEST_SIDE:
        return None
    target = Frame.around(inside)
    found = islice(_objects(inside.shape, wanted, library, rng), ENOUGH)
    candidates = sorted(found, key=lambda each: _misfit(each.frame, target))
    fits = [_Fit.of(each, target.turned(turn), inside) for each in candidates[:WARPED] for turn in range(4)]
    good = [fit for fit in fits if fit.score >= least]
    best = max(good, key=lambda fit: fit.score + CONTRAST_WORTH * fit.candidate.contrast(library, ground), default=None)
    return None if best is None else Fitted(best.picture(library), best.covered, best.score)


def _misfit(frame: Frame, target: Frame) -> float:
    """How far the sides of two rectangles are from each other, in octaves."""
    octaves = np.abs(np.log2(np.sort(frame.half_sides) / np.sort(target.half_sides)))
    return float(octaves.sum())


def _objects(shape: tuple[int, int], wanted: int, library: Library, rng: np.random.Generator) -> Iterator[_Candidate]:
    """Whole objects of a class at some places of a library, each once."""
    places = library.places(wanted)
    reach = 2 * max(shape) + 8
    seen: set[tuple[int, int, int]] = set()
    for row, column in places[rng.integers(len(places), size=TRIES)] if len(places) else ():
        top, left = max(0, int(row) - reach), max(0, int(column) - reach)
        box = Box(top, left, min(library.shape[0], int(row) + reach), min(library.shape[1], int(column) + reach))
        numbers, _ = scipy.ndimage.label(library.labels(box) == wanted, np.ones((3, 3), int))
        number = numbers[row - box.top, column - box.left]
        if number == 0:
            continue
        rows, columns = scipy.ndimage.find_objects(numbers)[number - 1]
        mask = numbers[rows, columns] == number
        cut_off = min(rows.start, columns.start) == 0 or rows.stop == box.shape[0] or columns.stop == box.shape[1]
        key = (box.top + rows.start, box.left + columns.start, int(mask.sum()))
        if cut_off or key[2] < LEAST_AREA or key in seen:
            continue
        seen.add(key)
        place = Box(key[0], key[1], key[0] + mask.shape[0], key[1] + mask.shape[1])
        yield _Candidate(place, mask, Frame.around(mask))


@dataclass(frozen=True)
class _Fit:
    """A candidate whose rectangle was turned and stretched to be the footprint's.

    Attributes:
        candidate: the object.
        at: its place for each pixel of the footprint's bounding box: rows and columns [2, h * w].
        covered: where it lies [h, w].
        score: see ``Fitted``.
    """

    candidate: _Candidate
    at: Floats
    covered: Mask
    score: float

    @classmethod
    def of(cls, candidate: _Candidate, target: Frame, inside: Mask) -> _Fit:
        frame = candidate.frame
        to_source = frame.axes.T @ np.diag(frame.half_sides / target.half_sides) @ target.axes
        grid = np.indices(inside.shape, dtype=np.float64).reshape(2, -1)
        at = frame.centre[:, None] + to_source @ (grid - target.centre[:, None])
        limits = np.array(candidate.mask.shape)[:, None] - 0.5
        covered = (_sampled(candidate.mask, at) >= 0.5) & ((at >= -0.5) & (at <= limits)).all(axis=0)
        covered = covered.reshape(inside.shape)
        stretch = np.abs(np.log2(frame.half_sides / target.half_sides)).sum()
        turn = np.arccos(np.clip(np.sum(frame.axes[0] * target.axes[0]), -1, 1)) / (np.pi / 2)
        shared = (covered & inside).sum() / (covered | inside).sum()
        return cls(candidate, at, covered, float(shared - STRETCH_COST * stretch - TURN_COST * turn))

    def picture(self, library: Library) -> Picture:
        """The object over the footprint's bounding box [3, h, w]."""
        rgb = np.stack([_sampled(channel, self.at) for channel in library.rgb(self.candidate.box)])
        return np.clip(np.rint(rgb), 0, 255).astype(np.uint8).reshape(3, *self.covered.shape)


def _sampled(values: NDArray[np.generic], at: Floats) -> Floats:
    """Values [h, w] at places between pixels [2, n], linearly."""
    return np.asarray(scipy.ndimage.map_coordinates(values.astype(np.float64), at, order=1, mode="nearest"))
