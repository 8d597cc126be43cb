"""Square crops of places at a chosen ground sampling distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from changen2.training.places import BUILDING, IGNORE, Bytes, Place


@dataclass(frozen=True)
class Crop:
    """An image and its label on one grid.

    Attributes:
        image: ``[size, size, 3]`` float32, 0..255.
        label: ``[size, size]``, 0 background, 1 building, 255 not known.
    """

    image: NDArray[np.float32]
    label: Bytes

    def turned(self, quarter_turns: int, mirrored: bool) -> Crop:
        """Rotated by quarter turns, then mirrored."""
        image, label = np.rot90(self.image, quarter_turns), np.rot90(self.label, quarter_turns)
        if mirrored:
            image, label = image[:, ::-1], label[:, ::-1]
        return Crop(np.ascontiguousarray(image), np.ascontiguousarray(label))

    def window(self, row: int, column: int, size: int) -> Crop:
        """The square of ``size`` pixels from (row, column)."""
        rows, columns = slice(row, row + size), slice(column, column + size)
        return Crop(self.image[rows, columns], self.label[rows, columns])


def resample(place: Place, rows: slice, columns: slice, shape: tuple[int, int]) -> Crop:
    """Cut a window of a place and resample it, without aliasing, to ``shape`` (height, width)."""
    size = (shape[1], shape[0])
    image = Image.fromarray(np.ascontiguousarray(place.image[rows, columns])).resize(size, Image.Resampling.BICUBIC)
    window = place.label[rows, columns]
    label = (_share(window == BUILDING, size) > 127).astype(np.uint8)
    unknown = window == IGNORE
    if unknown.any():
        label[_share(unknown, size) > 100] = IGNORE
    return Crop(np.asarray(image, dtype=np.float32), label)


def _share(mask: NDArray[np.bool_], size: tuple[int, int]) -> Bytes:
    """How much of each resampled pixel a mask covers, 0..255."""
    picture = Image.fromarray(np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class Cut:
    """Where and how to cut a square crop out of a place, so that another date can be cut alike.

    Attributes:
        rows, columns: window of the place.
        shape: (height, width) that the window is resampled to; up to ``size`` the crop goes on mirrored.
        size: side of the crop.
        quarter_turns, mirrored: applied last.
    """

    rows: slice
    columns: slice
    shape: tuple[int, int]
    size: int
    quarter_turns: int
    mirrored: bool

    def of(self, place: Place) -> Crop:
        """The crop of ``place``."""
        crop = resample(place, self.rows, self.columns, self.shape)
        if self.shape != (self.size, self.size):
            pads = ((0, self.size - self.shape[0]), (0, self.size - self.shape[1]))
            crop = Crop(np.pad(crop.image, (*pads, (0, 0)), "reflect"), np.pad(crop.label, pads, "reflect"))
        return crop.turned(self.quarter_turns, self.mirrored)


def random_cut(
    place: Place, size: int, rng: np.random.Generator, gsd_range: tuple[float, float], centred: bool = False
) -> Cut:
    """A randomly placed, turned and scaled square.

    Args:
        place: where from.
        size: side of the crop in pixels.
        rng: source of randomness.
        gsd_range: metres per pixel to draw from, evenly in the logarithm; never much finer than the place's own.
        centred: put a labelled building near the middle, if there is one.
    """
    low = max(gsd_range[0], 0.6 * place.gsd)
    gsd = np.exp(rng.uniform(np.log(low), np.log(max(gsd_range[1], low))))
    span = max(8, round(size * gsd / place.gsd))
    height, width = place.label.shape
    span_y, span_x = min(span, height), min(span, width)
    top, left = int(rng.integers(height - span_y + 1)), int(rng.integers(width - span_x + 1))
    thinned = place.label[::8, ::8]
    seeds = np.flatnonzero(thinned == BUILDING) if centred else np.empty(0, int)
    if len(seeds):
        seed_y, seed_x = np.unravel_index(rng.choice(seeds), thinned.shape)
        top = int(np.clip(seed_y * 8 - span_y * rng.uniform(0.2, 0.8), 0, height - span_y))
        left = int(np.clip(seed_x * 8 - span_x * rng.uniform(0.2, 0.8), 0, width - span_x))
    shape = (max(1, round(size * span_y / span)), max(1, round(size * span_x / span)))
    rows, columns = slice(top, top + span_y), slice(left, left + span_x)
    return Cut(rows, columns, shape, size, int(rng.integers(4)), bool(rng.random() < 0.5))
