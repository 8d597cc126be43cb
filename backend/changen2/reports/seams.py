"""Seams: how steep a picture is across the border of an edit, against the same pixels before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from changen2.training.bootstrap import Indices, Score, bootstrap

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Steepness:
    """Mean absolute differences between neighbouring pixels of one edit, 0..255, after and before.

    Attributes:
        border_after, border_before: over all pairs of a pixel inside the mask and one outside.
        inside_after, inside_before: over all pairs with both inside.
        pairs: number of the former.
    """

    border_after: float
    border_before: float
    inside_after: float
    inside_before: float
    pairs: int


def steepness(after: Picture, before: Picture, mask: Mask, aside: Mask | None = None) -> Steepness:
    """Measure one edit.

    Args:
        after, before: [3, h, w].
        mask: where the edit was, neither empty nor everywhere [h, w].
        aside: pixels whose part of the border is left out [h, w].
    """
    crosses = _pairs(mask, np.not_equal)
    if aside is not None:
        left_out = _pairs(aside, np.logical_or)
        crosses = crosses[0] & ~left_out[0], crosses[1] & ~left_out[1]
    within = _pairs(mask, np.logical_and)
    return Steepness(
        _mean_step(after, crosses),
        _mean_step(before, crosses),
        _mean_step(after, within),
        _mean_step(before, within),
        int(sum(pairs.sum() for pairs in crosses)),
    )


def border_ratio(edits: Sequence[Steepness], resamples: int = 1000) -> Score:
    """Steepness on the masks' borders after over before, pooled over edits; 1 where there is no seam."""
    rows = np.array([[each.border_after * each.pairs, each.border_before * each.pairs] for each in edits])
    return _ratio(rows, resamples)


def inside_ratio(edits: Sequence[Steepness], resamples: int = 1000) -> Score:
    """The same inside the masks: below 1 where what was drawn is smoother than what was there."""
    return _ratio(np.array([[each.inside_after, each.inside_before] for each in edits]), resamples)


def _ratio(rows: NDArray[np.float64], resamples: int) -> Score:
    def statistic(chosen: Indices) -> float:
        after, before = rows[chosen].sum(axis=0)
        return float(after / max(before, 1e-9))

    return bootstrap(statistic, len(rows), resamples)


def _pairs(mask: Mask, join: np.ufunc) -> tuple[Mask, Mask]:
    """Pairs of vertical and of horizontal neighbours [h − 1, w], [h, w − 1]."""
    return join(mask[1:], mask[:-1]), join(mask[:, 1:], mask[:, :-1])


def _mean_step(picture: Picture, pairs: tuple[Mask, Mask]) -> float:
    """Mean absolute difference over pairs and channels; 0 without pairs."""
    values = picture.astype(np.float64)
    down, across = (np.abs(np.diff(values, axis=axis)).mean(axis=0) for axis in (1, 2))
    steps = np.concatenate([down[pairs[0]], across[pairs[1]]])
    return float(steps.mean()) if steps.size else 0.0
