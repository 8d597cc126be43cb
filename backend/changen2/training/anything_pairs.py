"""Pairs of dates in which anything may come, go or change, made from single dates.

The second date is the first one with shapes laid over it: objects and patches of an unrelated place, the place's own
ground from elsewhere, or a coat of another colour. Shapes are regions of one tone, buildings, or drawn. As many lie at
both dates, so that an edge alone tells nothing; light, season and sensor differ as in
:mod:`changen2.training.landcover_pairs` and are no change either. Labels stay those of land cover where they are known.

Source: Changen2 (Zheng et al., TPAMI 2024), the class-agnostic setting S0, whose objects are segments of any kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from changen2.scenes.classes import BUILDING
from changen2.training.config import TrainingConfig
from changen2.training.crops import Crop
from changen2.training.landcover_pairs import DrawCrop, Mask, drawn_from, finish, region
from changen2.training.pairs import MIN_OBJECT_PIXELS, Floats, Pair, feather, match_tone, overlay, shifted
from changen2.training.places import IGNORE, Bytes, Place

LARGEST = 6000
"""Pixels of a region of one tone that may be laid over at most."""
LEAST_CONTRAST = 14
"""Of 255, the mean difference of an object's pixels from which on it is a change; less is left open."""
LEAST_LOCAL_CONTRAST = 12
"""The same of a part of a large region, over 7 x 7 pixels."""


class Shape(NamedTuple):
    """Where something is laid over a crop, and what.

    Attributes:
        mask: ``[h, w]``.
        move: rows and columns that the donor is moved by before it is laid over.
        whole: the donor moved by that has its own object in the mask.
    """

    mask: Mask
    move: tuple[int, int]
    whole: bool


def tone_regions(image: Floats, rng: np.random.Generator) -> tuple[NDArray[np.int32], int]:
    """Connected regions ``[h, w]`` of one of some steps of tone of an image ``[h, w, 3]``, 1..n, and n."""
    tone = ndimage.gaussian_filter(image @ rng.normal(0, 1, 3).astype(np.float32), rng.uniform(0.8, 3))
    low, high = np.quantile(tone[::4, ::4], [0.02, 0.98])
    steps = np.floor((tone - low) / max(high - low, 1e-3) * rng.integers(3, 8)).astype(int)
    groups, count = ndimage.label(steps == rng.integers(steps.min(), steps.max() + 1))
    return groups, int(count)


def drawn_shape(rng: np.random.Generator) -> Mask:
    """A rectangle, an ellipse or a blob of 3 to 40 pixels from its middle, of any turn."""
    reach = float(np.exp(rng.uniform(np.log(3), np.log(40))))
    side = 2 * int(np.ceil(reach)) + 9
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    angle = rng.uniform(0, np.pi)
    u = (rows * np.sin(angle) + columns * np.cos(angle)) / reach
    v = (rows * np.cos(angle) - columns * np.sin(angle)) / reach
    narrow = rng.uniform(0.25, 1)
    kind = rng.integers(3)
    if kind == 0:
        return (np.abs(u) < 1) & (np.abs(v) < narrow)
    if kind == 1:
        return u**2 + (v / narrow) ** 2 < 1
    noise = ndimage.gaussian_filter(rng.normal(size=(side, side)), max(reach / 4, 1))
    inside = (noise > np.quantile(noise, 0.5)) & (u**2 + v**2 < 1)
    groups, count = ndimage.label(inside)
    return groups == 1 + np.argmax(ndimage.sum(inside, groups, range(1, count + 1))) if count else inside


def draw_shape(base: Crop, donor: Crop, rng: np.random.Generator) -> Shape:
    """What is laid over next: a region or building of either crop, or a drawn shape somewhere."""
    size = len(base.label)
    if rng.random() < 0.6:
        from_donor = rng.random() < 0.7
        source = donor if from_donor else base
        if from_donor and rng.random() < 0.3:
            groups, count = ndimage.label(source.label == BUILDING)
        else:
            groups, count = tone_regions(source.image, rng)
        areas = np.bincount(groups.ravel(), minlength=count + 1)[1:]
        fitting = np.flatnonzero((areas >= MIN_OBJECT_PIXELS) & (areas < LARGEST))
        if len(fitting):
            mask = ndimage.binary_fill_holes(groups == 1 + rng.choice(fitting))
            if rng.random() < 0.5:
                mask = ndimage.binary_dilation(mask, iterations=int(rng.integers(1, 3)))
            if not from_donor:
                return Shape(mask, (0, 0), whole=False)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            move = (
                int(rng.integers(-rows[0], size - rows[-1])),
                int(rng.integers(-columns[0], size - columns[-1])),
            )
            return Shape(np.roll(mask, move, (0, 1)), move, whole=True)
    shape = drawn_shape(rng)[: size - 2, : size - 2]
    mask = np.zeros((size, size), bool)
    row, column = (int(v) for v in rng.integers(0, size - len(shape) + 1, 2))
    mask[row : row + len(shape), column : column + len(shape)] = shape
    down, right = (int(v) for v in rng.integers(0, size, 2))
    return Shape(mask, (down, right), whole=False)


def recoloured(base: Crop, rng: np.random.Generator) -> Crop:
    """The same relief in another colour; of what class it then is nobody knows."""
    tint = rng.uniform(0.5, 1.7) * rng.normal(1, 0.25, 3)
    share = rng.uniform(0.3, 1.0)
    image = base.image * (1 - share) + share * base.image.mean(axis=2, keepdims=True) * tint
    return Crop(np.clip(image, 0, 255).astype(np.float32), np.full_like(base.label, IGNORE))


def lay(base: Crop, donor: Crop, shape: Shape, rng: np.random.Generator) -> tuple[Crop, Floats]:
    """Lay a shape over a crop; returns what comes of it, and the opacity ``[h, w]``."""
    how = rng.random()
    if shape.whole or how < 0.45:
        top = match_tone(shifted(donor, *shape.move), base, rng)
    elif how < 0.75:
        top = recoloured(base, rng)
    else:  # what was there is gone: the place's own ground from nearby
        top = shifted(base, *(int(v) for v in rng.integers(-60, 61, 2)))
    alpha = feather(shape.mask, rng.uniform(0, 1.5))
    return overlay(base, top, alpha), alpha


def dates_of(base: Crop, draw: DrawCrop, kind: str, rng: np.random.Generator) -> tuple[Crop, Crop, Bytes]:
    """Both dates, and the change between them.

    Args:
        base: the place.
        draw: gives a donor crop of the same size.
        kind: ``objects``, ``region`` (a large part) or ``none``.
        rng: source of randomness.
    """
    donor = draw()
    for _ in range(int(rng.integers(0, 4))):  # what lies there at both dates
        base, _alpha = lay(base, donor, draw_shape(base, donor, rng), rng)
    change = np.zeros_like(base.label)
    if kind == "none":
        return base, base, change
    second, alphas = base, []
    if kind == "region":
        alphas = [feather(region(len(base.label), rng), rng.uniform(0, 2.5))]
        second = overlay(base, match_tone(donor, base, rng), alphas[0])
    else:
        for _ in range(int(rng.integers(1, 9))):
            second, alpha = lay(second, donor, draw_shape(base, donor, rng), rng)
            alphas.append(alpha)
    differs = np.abs(second.image - base.image).mean(axis=2)
    for covered in (alpha > 0.5 for alpha in alphas):
        if kind == "objects" and covered.any() and differs[covered].mean() < LEAST_CONTRAST:
            change[covered & (change == 0)] = IGNORE
        else:
            change[covered] = 1
    if kind == "region":
        change[(change == 1) & (ndimage.uniform_filter(differs, 7) < LEAST_LOCAL_CONTRAST)] = IGNORE
    change[(change == 0) & (np.max(alphas, axis=0) > 0.05)] = IGNORE
    return base, second, change


def make_pair(
    places: Mapping[str, Sequence[Place]], config: TrainingConfig, kind: str, rng: np.random.Generator
) -> Pair:
    """One pair made of single dates; for ``kind`` see :func:`dates_of`."""
    draw = drawn_from(places, config, rng)
    return finish(*dates_of(draw(), draw, kind, rng), config, rng)
