"""Pairs of dates with a change label, made from single dates.

Every pair is a base crop and, at the other date, the same crop with parts of donor crops laid over it. The label is
laid over with the image, so the change is always the exclusive or of both dates' labels (single-temporal
supervision, Zheng et al., ICCV 2021), whatever was laid over: a whole other crop, a region, one building with or
without the ground around it, or bare ground over a building.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from changen2.training.crops import Crop
from changen2.training.places import BACKGROUND, BUILDING, IGNORE, Bytes

Floats = NDArray[np.float32]
DrawCrop = Callable[[], Crop]

MIN_OBJECT_PIXELS = 24


@dataclass(frozen=True)
class Pair:
    """Two dates of one place: images ``[h, w, 3]`` in 0..255, labels ``[h, w]`` (0, 1, 255 not known)."""

    before: Crop
    after: Crop
    change: Bytes


def change_label(before: Bytes, after: Bytes) -> Bytes:
    """1 where a building came or went, 255 where either date is not known."""
    change = (before != after).astype(np.uint8)
    change[(before == IGNORE) | (after == IGNORE)] = IGNORE
    return change


def overlay(base: Crop, donor: Crop, alpha: Floats) -> Crop:
    """``donor`` over ``base`` with opacity ``alpha`` ``[h, w]`` in 0..1; the label follows from half opacity."""
    image = base.image + alpha[..., None] * (donor.image - base.image)
    return Crop(image, np.where(alpha > 0.5, donor.label, base.label))


def match_tone(donor: Crop, base: Crop, rng: np.random.Generator) -> Crop:
    """Bring the donor's colours part of the way to the base's, so that a seam is no clue."""
    share = rng.uniform(0, 1)
    # Every fourth pixel each way tells the tone as well as all.
    (mean, spread), (wanted, wanted_spread) = (
        (thinned.mean(axis=0), thinned.std(axis=0))
        for thinned in (crop.image[::4, ::4].reshape(-1, 3) for crop in (donor, base))
    )
    gain = np.clip((wanted_spread + 8) / (spread + 8), 0.6, 1.6)
    matched = (donor.image - mean) * (1 + share * (gain - 1)) + mean + share * (wanted - mean)
    return Crop(np.clip(matched, 0, 255).astype(np.float32), donor.label)


def feather(mask: NDArray[np.bool_], sigma: float) -> Floats:
    """Soften the edge of a mask; half opacity stays at the edge."""
    if sigma < 0.2:
        return mask.astype(np.float32)
    return ndimage.gaussian_filter(mask.astype(np.float32), sigma, truncate=2.5)


def blob(size: int, rng: np.random.Generator, share: float) -> NDArray[np.bool_]:
    """A random region covering ``share`` of a square: a smooth shape or the side of a line."""
    rows, columns = np.mgrid[:size, :size] / size - rng.uniform(0.2, 0.8, 2)[:, None, None]
    angle = rng.uniform(0, 2 * np.pi)
    field = rows * np.sin(angle) + columns * np.cos(angle)
    if rng.random() < 0.6:
        coarse = int(rng.integers(3, 9))
        noise = ndimage.zoom(rng.normal(size=(coarse, coarse)), size / coarse, order=3, mode="nearest", grid_mode=True)
        field = field * rng.uniform(0, 3) + noise[:size, :size]
    return field <= np.quantile(field[::4, ::4], share)


def objects(label: Bytes) -> list[tuple[NDArray[np.bool_], tuple[slice, slice]]]:
    """Whole buildings of a crop: each one's mask and its bounding window."""
    groups, _ = ndimage.label(label == BUILDING)
    found = []
    for index, window in enumerate(ndimage.find_objects(groups), start=1):
        touches = any(part.start == 0 or part.stop == size for part, size in zip(window, label.shape, strict=True))
        mask = groups[window] == index
        if not touches and mask.sum() >= MIN_OBJECT_PIXELS:
            found.append((mask, window))
    return found


def shifted(crop: Crop, rows: int, columns: int) -> Crop:
    """Moved by whole pixels, going round at the edges."""
    move = (rows, columns)
    return Crop(np.roll(crop.image, move, (0, 1)), np.roll(crop.label, move, (0, 1)))


def _halo(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The footprint and what comes with it: an edge and its shadow, or half of the time the yard around."""
    reach = rng.uniform(1, 4) if rng.random() < 0.5 else rng.uniform(5, 22)
    return ndimage.distance_transform_edt(~mask) <= reach


def paste_objects(base: Crop, donor: Crop, rng: np.random.Generator, count: int) -> Crop:
    """New buildings: objects of the donor, with some ground around them, at places free of buildings."""
    candidates = objects(donor.label)
    size = base.label.shape[0]
    for _ in range(min(count, len(candidates))):
        mask, window = candidates[int(rng.integers(len(candidates)))]
        for _ in range(12):
            rows = int(rng.integers(-window[0].start, size - window[0].stop + 1))
            columns = int(rng.integers(-window[1].start, size - window[1].stop + 1))
            footprint = np.zeros((size, size), bool)
            top, left = window[0].start + rows, window[1].start + columns
            footprint[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
            if not (base.label[footprint] != BACKGROUND).any():
                alpha = feather(_halo(footprint, rng), rng.uniform(0, 1.5))
                base = overlay(base, match_tone(shifted(donor, rows, columns), base, rng), alpha)
                break
    return base


def remove_objects(base: Crop, donor: Crop, rng: np.random.Generator, count: int) -> Crop:
    """Buildings gone: the donor's ground, or the base's own from elsewhere, over objects of the base."""
    candidates = objects(base.label)
    rng.shuffle(candidates)
    size = base.label.shape[0]
    for mask, window in candidates[:count]:
        footprint = np.zeros((size, size), bool)
        footprint[window] = mask
        halo = _halo(footprint, rng)
        ground = base if rng.random() < 0.5 else donor
        for _ in range(8):
            moved = shifted(ground, *(int(v) for v in rng.integers(0, size, 2)))
            if not (moved.label[halo] != BACKGROUND).any():
                base = overlay(base, match_tone(moved, base, rng), feather(halo, rng.uniform(0, 1.5)))
                break
    return base


def second_date(base: Crop, draw: DrawCrop, kind: str, rng: np.random.Generator) -> Crop:
    """What stands at the other date, by kind of change.

    Args:
        base: the first date.
        draw: gives a donor crop of the same size.
        kind: ``star`` (an unrelated crop), ``region``, ``create``, ``remove``, ``mixed`` or ``none``.
        rng: source of randomness.

    Returns:
        A crop on the same grid.
    """
    if kind == "none":
        return base
    donor = draw()
    if kind == "star":
        return donor
    size = base.label.shape[0]
    result = base
    if kind in {"region", "mixed"}:
        alpha = feather(blob(size, rng, rng.uniform(0.08, 0.7)), rng.uniform(0, 2))
        result = overlay(result, match_tone(donor, base, rng), alpha)
    if kind in {"create", "mixed"}:
        result = paste_objects(result, donor, rng, int(rng.integers(1, 7)))
    if kind in {"remove", "mixed"}:
        result = remove_objects(result, donor, rng, int(rng.integers(1, 7)))
    return result
