"""Ground for a place where something was taken away: a piece of the same ground nearby that continues its rim."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from changen2.gpcm.libraries import Mask, Picture

RING = 6
"""Pixels around the place at which a piece has to look like what is there."""

REACH = 3
"""How many times the place's own longer side a piece may lie away."""

TRIES = 150
"""Pieces that are compared."""

LARGEST_SIDE = 512
"""Pixels along a place; comparing pieces takes time with its area."""


def within_reach(window: tuple[slice, slice], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns in which pieces for a place with a bounding box are looked for."""
    reach = REACH * (max(side.stop - side.start for side in window) + 2 * RING) + RING
    rows, columns = (
        slice(max(side.start - reach, 0), min(side.stop + reach, length))
        for side, length in zip(window, shape, strict=True)
    )
    return rows, columns


def clone_ground(before: Picture, place: Mask, ground: Mask, rng: np.random.Generator) -> Picture | None:
    """The piece of ground whose rim differs least from the place's own.

    Args:
        before: RGB [3, h, w].
        place: where ground is wanted, not empty [h, w].
        ground: pixels that show ground of that kind and do not change [h, w].
        rng: decides which pieces are tried.

    Returns:
        Colours of the place's pixels, in their order [3, n]; None where no piece lies within reach, or where the place
        is too large to compare pieces for.
    """
    rows, columns = scipy.ndimage.find_objects(place.astype(np.uint8))[0]
    if max(rows.stop - rows.start, columns.stop - columns.start) > LARGEST_SIDE:
        return None
    top, left = max(rows.start - RING, 0), max(columns.start - RING, 0)
    bottom, right = min(rows.stop + RING, place.shape[0]), min(columns.stop + RING, place.shape[1])
    inside = place[top:bottom, left:right]
    ring = scipy.ndimage.binary_dilation(inside, iterations=RING) & ~inside & ground[top:bottom, left:right]
    height, width = inside.shape
    reach = REACH * max(height, width)
    here = before[:, top:bottom, left:right][:, ring].astype(np.float64)

    def misfit(down: int, across: int) -> float:
        """How unlike the rim of the piece so far away is."""
        first, last = (top + down, left + across), (bottom + down, right + across)
        if min(first) < 0 or last[0] > place.shape[0] or last[1] > place.shape[1]:
            return np.inf
        there = slice(first[0], last[0]), slice(first[1], last[1])
        if not ground[there][inside].all():
            return np.inf
        return float(np.abs(before[:, there[0], there[1]][:, ring] - here).mean()) if ring.any() else 0.0

    low = np.maximum([-top, -left], -reach)
    high = np.minimum([place.shape[0] - bottom, place.shape[1] - right], reach)
    best = min(rng.integers(low, high + 1, (TRIES, 2)).tolist(), key=lambda offset: misfit(*offset))
    # Then to the pixel, for furrows and walls to meet.
    near = range(-RING, RING + 1)
    best = min(
        ([best[0] + down, best[1] + across] for down in near for across in near), key=lambda offset: misfit(*offset)
    )
    if misfit(*best) == np.inf:
        return None
    return before[:, top + best[0] : bottom + best[0], left + best[1] : right + best[1]][:, inside]
