"""Where new buildings could stand: real footprints moved to free ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as connected

from changen2.models.rsdit_tiny import BACKGROUND, BUILDING, LAND, VEGETATION
from changen2.reports.consistency import own_region
from changen2.training.places import Bytes

Mask = NDArray[np.bool_]

TRIES = 50
MIN_AREA = 64
MAX_SIDE = 96
"""Pixels along a footprint's sides: larger ones leave no room for themselves."""

GROUND = (BACKGROUND, LAND, VEGETATION)
"""Classes that a house is built on: neither water nor a road."""


@dataclass(frozen=True)
class Placement:
    """A footprint moved somewhere.

    Attributes:
        number: of the footprint, in the order given.
        new: where it stands now [h, w].
    """

    number: int
    new: Mask


def whole_buildings(label: Bytes, least_area: float = MIN_AREA) -> list[Mask]:
    """The buildings of a label map that can be moved [h, w] each, largest first.

    Args:
        label: the generator's classes [h, w].
        least_area: in pixels.
    """
    numbers, count = connected(label == BUILDING, np.ones((3, 3), int))
    masks = [numbers == number for number in range(1, count + 1)]
    whole = [mask for mask in masks if mask.sum() > least_area and is_whole(mask)]
    return sorted(whole, key=lambda mask: -int(mask.sum()))


def place_buildings(label: Bytes, footprints: Sequence[Mask], most: int, rng: np.random.Generator) -> list[Placement]:
    """Move footprints to a tile's free ground, with their own radius of free ground around them.

    Args:
        label: the generator's classes [h, w].
        footprints: tried in random order, each once [h, w].
        most: how many are placed at most.
        rng: decides which, and where.
    """
    taken = ~np.isin(label, GROUND)
    placements: list[Placement] = []
    for number in rng.permutation(len(footprints)):
        if len(placements) == most:
            break
        new = free_place(footprints[number], taken, rng)
        if new is not None:
            placements.append(Placement(int(number), new))
            taken = taken | own_region(new)
    return placements


def is_whole(footprint: Mask) -> bool:
    """Whether a footprint is neither cut off by the tile's edge nor too large to be moved."""
    rows, columns = np.nonzero(footprint)
    inside = rows.min() > 0 and columns.min() > 0
    inside = inside and rows.max() < footprint.shape[0] - 1 and columns.max() < footprint.shape[1] - 1
    return bool(inside and max(np.ptp(rows), np.ptp(columns)) < MAX_SIDE)


def free_place(footprint: Mask, taken: Mask, rng: np.random.Generator) -> Mask | None:
    """The footprint moved to where nothing is taken within its own radius, or None after all tries."""
    reach = int(np.ceil(np.sqrt(footprint.sum() / np.pi)))
    rows, columns = (places - reach for places in np.nonzero(own_region(np.pad(footprint, reach))))
    height, width = taken.shape
    if np.ptp(rows) >= height or np.ptp(columns) >= width:
        return None
    for _ in range(TRIES):
        down = int(rng.integers(-rows.min(), height - rows.max()))
        right = int(rng.integers(-columns.min(), width - columns.max()))
        if not taken[rows + down, columns + right].any():
            return np.roll(footprint, (down, right), (0, 1))
    return None
