"""Ground for a place where something was taken away: a piece of the same ground nearby that continues its rim."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.signal
from numpy.typing import NDArray

from changen2.gpcm.libraries import Mask, Picture

RING = 6
"""Pixels around the place at which a piece has to look like what is there."""

REACH = 3
"""How many times the place's own longer side a piece may lie away."""

TRIES = 150
"""Pieces that are compared."""

USUAL = 5, 95
"""Percentiles of each colour of the place's rim between which it is usual there."""

STRANGE = 0.3
"""Most of a piece that may have colours that the place's rim does not: more is another object."""

LARGEST_SIDE = 512
"""Pixels along a place; comparing pieces takes time with its area."""


def within_reach(window: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, slice]:
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
        Colours of the place's pixels, in their order [3, n]; None where no piece that looks like the rim lies within
        reach, where no ground is at the rim, or where the place is too large to compare pieces for.
    """
    rows, columns = scipy.ndimage.find_objects(place.astype(np.uint8))[0]
    if max(rows.stop - rows.start, columns.stop - columns.start) > LARGEST_SIDE:
        return None
    top, left = max(rows.start - RING, 0), max(columns.start - RING, 0)
    bottom, right = min(rows.stop + RING, place.shape[0]), min(columns.stop + RING, place.shape[1])
    inside = place[top:bottom, left:right]
    ring = scipy.ndimage.binary_dilation(inside, iterations=RING) & ~inside & ground[top:bottom, left:right]
    if not ring.any():
        return None
    height, width = inside.shape
    reach = REACH * max(height, width)
    here = before[:, top:bottom, left:right][:, ring].astype(np.float64)
    # The rim alone does not tell: a neighbour's house has a yard around it, too.
    low, high = np.percentile(here, USUAL, axis=1)[:, :, None, None]
    strange = ((before < low) | (before > high)).any(0)
    fits = (_covered(inside, ~ground) == 0) & (_covered(inside, strange) <= STRANGE * inside.sum())
    rows, columns = (slice(max(first - reach, 0), first + reach + 1) for first in (top, left))
    pieces = np.argwhere(fits[rows, columns]) + np.array([rows.start, columns.start])
    if not len(pieces):
        return None

    def misfit(corner: NDArray[np.int64]) -> float:
        """How unlike the rim of a piece is."""
        row, column = corner
        rim = before[:, row : row + height, column : column + width][:, ring]
        return float(np.abs(rim - here).mean())

    best = min(rng.choice(pieces, TRIES), key=misfit)
    # Then to the pixel, for furrows and walls to meet.
    row, column = min(pieces[(np.abs(pieces - best) <= RING).all(1)], key=misfit)
    return before[:, row : row + height, column : column + width][:, inside]


def _covered(inside: Mask, mask: Mask) -> NDArray[np.float32]:
    """How many pixels of a mask a place covers, by where the corner of its box is laid [rows, columns]."""
    turned = inside[::-1, ::-1].astype(np.float32)
    return np.rint(scipy.signal.oaconvolve(mask.astype(np.float32), turned, "valid"))
