"""Whether a probability of change means what it says: reliability, calibration error, and Platt's scaling.

All is worked out from one table: how many pixels of each stored probability did and did not change. Sources: Platt
1999 (scaling, and the smoothed targets that keep it finite); Guo et al., ICML 2017 (expected calibration error).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from changen2.raster.accuracy import SEED, resamples

Tally = NDArray[np.float64]
"""``[255, 2]``: pixels that did not and that did change, by stored probability; row v is p = v / 254."""

TOP = 254
BINS = 10
ECE_RESAMPLES = 500
ENOUGH = 0.01  # of F1; the best of few images is a matter of luck, and a detector is trained towards a half


def tally(probability: NDArray[np.floating], true: NDArray[np.bool_], known: NDArray[np.bool_]) -> Tally:
    """Count the known pixels of a probability 0..1 by its stored value and by the truth; all ``[...]`` alike."""
    return tally_levels(np.rint(probability[known] * TOP).astype(np.int64), true[known])


def tally_levels(levels: NDArray[np.integer], true: NDArray[np.bool_]) -> Tally:
    """The same from stored values 0..254, ``[n]`` both."""
    counts = np.bincount(levels.astype(np.int64) * 2 + true, minlength=2 * (TOP + 1))
    return counts.reshape(TOP + 1, 2).astype(np.float64)


@dataclass(frozen=True)
class Platt:
    """A scaling ``sigmoid(a · z + b)`` of a probability's logit z."""

    a: float = 1.0
    b: float = 0.0

    def __call__(self, probability: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated probabilities, any shape."""
        return _sigmoid(self.a * _logit(probability) + self.b)


def fit_platt(counts: Tally, keep_half: bool = False) -> Platt | None:
    """Return the scaling under which the truth is likeliest, or None where only one outcome was seen.

    Args:
        counts: the table.
        keep_half: b is 0, so that 0.5 stays 0.5 and only the spread around it changes (Guo et al.'s temperature).
    """
    no, yes = counts.sum(axis=0)
    if not (no and yes):
        return None
    z = _logit(np.arange(TOP + 1) / TOP)
    targets = np.array([1 / (no + 2), (yes + 1) / (yes + 2)])
    design = np.stack([z] if keep_half else [z, np.ones_like(z)])
    weights, wanted = counts.sum(axis=1), counts @ targets
    found = np.array([1.0, 0.0])[: len(design)]
    for _ in range(100):  # Newton's method on a convex function
        p = _sigmoid(found @ design)
        gradient = design @ (weights * p - wanted)
        curvature = (design * (weights * p * (1 - p))) @ design.T + 1e-9 * np.eye(len(design))
        step = np.linalg.solve(curvature, gradient)
        # Far from the optimum the curvature all but vanishes, and a whole step would overshoot.
        found = found - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    return Platt(*map(float, found))


def reliability(counts: Tally, platt: Platt | None = None, bins: int = BINS) -> list[dict[str, float]]:
    """Return the reliability curve: what was said and what was so, over equal ranges of probability.

    Args:
        counts: the table.
        platt: scales the probabilities first.
        bins: ranges of 0..1; empty ones are left out.

    Returns:
        For each range ``low``, ``high``, ``pixels``, ``predicted`` (mean probability) and ``observed`` (share that
        changed).
    """
    levels = np.arange(TOP + 1) / TOP
    said = platt(levels) if platt else levels
    index = np.minimum((said * bins).astype(int), bins - 1)
    pixels = counts.sum(axis=1)
    curve = []
    for number in range(bins):
        here = index == number
        total = pixels[here].sum()
        if total:
            curve.append(
                {
                    "low": number / bins,
                    "high": (number + 1) / bins,
                    "pixels": int(total),
                    "predicted": float((said * pixels)[here].sum() / total),
                    "observed": float(counts[here, 1].sum() / total),
                }
            )
    return curve


def expected_calibration_error(curve: list[dict[str, float]]) -> float:
    """Return the mean distance between what was said and what was so, weighted by pixels."""
    total = sum(part["pixels"] for part in curve)
    return sum(part["pixels"] * abs(part["predicted"] - part["observed"]) for part in curve) / max(1, total)


def calibration(counts: Tally, keep_half: bool = False) -> dict[str, object]:
    """Return what a report and a model card hold: curve and error before and after scaling, and the scaling.

    For the arguments see :func:`fit_platt`.
    """
    curve, platt = reliability(counts), fit_platt(counts, keep_half)
    found: dict[str, object] = {"ece": expected_calibration_error(curve), "reliability": curve}
    if platt:
        found["platt"] = {"a": platt.a, "b": platt.b}
        found["ece_scaled"] = expected_calibration_error(reliability(counts, platt))
    return found


def ece_interval(parts: NDArray[np.float64]) -> dict[str, float]:
    """Return the 95 % bootstrap interval of the calibration error, ``ece_low`` and ``ece_high``.

    Args:
        parts: ``[n, 255, 2]``, a table (see :func:`tally`) each of a map, or of a share of a map's blocks.
    """
    parts = parts[parts.sum(axis=(1, 2)) > 0]
    draws = resamples(len(parts), np.random.default_rng(SEED), ECE_RESAMPLES)
    drawn = [expected_calibration_error(reliability(np.tensordot(draw, parts, 1))) for draw in draws]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"ece_low": float(low), "ece_high": float(high)}


def f1_by_threshold(counts: Tally) -> NDArray[np.float64]:
    """Return F1 ``[255]`` where change is all that is stored as v or more; 0 where nothing is to be found."""
    reversed_sums = counts[::-1].cumsum(axis=0)[::-1]
    false, hit = reversed_sums[:, 0], reversed_sums[:, 1]
    return 2 * hit / np.maximum(1, hit + false + counts[:, 1].sum())


def best_threshold(counts: Tally) -> tuple[float, float]:
    """Return the threshold, a probability, that serves best, and its F1; of those as good, the nearest to a half."""
    scores = f1_by_threshold(counts)
    level = _nearest_to_a_half(scores, ENOUGH)
    return level / TOP, float(scores[level])


def best_f1(images: Sequence[Tally]) -> tuple[float, float]:
    """Return F1 at the threshold that serves best, pooled over images, and its standard error by the jackknife.

    One image alone does not tell how much another would differ: its error is infinite.
    """
    total = np.sum(images, axis=0)
    if len(images) < 2:
        return best_threshold(total)[1], float("inf")
    others = np.array([best_threshold(total - each)[1] for each in images])
    error = np.sqrt((len(images) - 1) * others.var())
    return best_threshold(total)[1], float(error)


def settled_threshold(held_out: Tally, learned: Tally, few: float) -> float:
    """Return a threshold, a probability, for a model whose held-out images are few.

    These may be of other ground than what it will see next, and the best threshold of a few is then far off. That of
    what it learned from flatters, but it is near a half. The highest mean of both F1 lies in between.

    Args:
        held_out: of the model.
        learned: likewise, on what it was trained on.
        few: weight of the latter, against 1 of what is held out.
    """
    return _nearest_to_a_half(f1_by_threshold(held_out) + few * f1_by_threshold(learned), 1e-9) / TOP


def _nearest_to_a_half(scores: NDArray[np.float64], enough: float) -> int:
    """Of the levels whose score is within ``enough`` of the highest; but below 1 everything is change."""
    good = np.flatnonzero(scores[1:] >= scores[1:].max() - enough) + 1
    return int(good[np.abs(good - TOP / 2).argmin()])


def _logit(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    # The outermost stored values stand for all that lies beyond them.
    p = np.clip(np.asarray(probability, np.float64), 0.25 / TOP, 1 - 0.25 / TOP)
    return np.log(p / (1 - p))


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-z))
