"""Accuracy of a change map: confusion, the usual scores (kappa after Cohen 1960), and bootstrap intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.float64]
"""``[..., 4]``: true positives, false positives, false negatives, true negatives, in pixels."""

SCORES = ("f1", "iou", "precision", "recall", "kappa")

RESAMPLES, SEED = 2000, 0

DRAWS_AT_ONCE = 2_000_000
"""Units that are resampled at once, some 32 MB."""


def confusion(predicted: NDArray[np.bool_], true: NDArray[np.bool_], known: NDArray[np.bool_]) -> Confusion:
    """Count one window's pixels; where ``known`` is false they are left out."""
    predicted, true = predicted[known], true[known]
    hit = int(np.count_nonzero(predicted & true))
    false = int(np.count_nonzero(predicted)) - hit
    missed = int(np.count_nonzero(true)) - hit
    return np.array([hit, false, missed, predicted.size - hit - false - missed], np.float64)


def scores(counts: Confusion) -> dict[str, NDArray[np.float64]]:
    """Return each score of ``counts`` ``[..., 4]``; NaN where it is undefined."""
    hit, false, missed, right = (counts[..., index] for index in range(4))
    total = counts.sum(axis=-1)
    agreed = _ratio(hit + right, total)
    chance = _ratio((hit + false) * (hit + missed) + (missed + right) * (false + right), total**2)
    return {
        "f1": _ratio(2 * hit, 2 * hit + false + missed),
        "iou": _ratio(hit, hit + false + missed),
        "precision": _ratio(hit, hit + false),
        "recall": _ratio(hit, hit + missed),
        "kappa": _ratio(agreed - chance, 1 - chance),
    }


def scores_with_intervals(units: Confusion) -> dict[str, float | None]:
    """Return pooled scores with 95 % bootstrap intervals over units.

    Args:
        units: ``[n, 4]``, one row an image or a block: neighbouring pixels are no independent sample.

    Returns:
        Each score of ``SCORES``, and the same with ``_low`` and ``_high``; None where it is undefined.
    """
    drawn = drawn_sums(units, np.random.default_rng(SEED))
    return with_intervals(scores(units.sum(axis=0)), scores(drawn))


def place_scores_with_intervals(
    known: NDArray[np.float64], reported: NDArray[np.float64], paired: bool
) -> dict[str, float | None]:
    """Return precision, recall and F1 of whole places with 95 % bootstrap intervals over units.

    Args:
        known: ``[n, 2]`` of known places: how many, and how many of them are found; one row a map, or a place.
        reported: ``[m, 2]`` of reported places: how many, and how many of them are right.
        paired: rows of both are the same maps.

    Returns:
        Each score, and the same with ``_low`` and ``_high``; None where it is undefined.
    """
    rng = np.random.default_rng(SEED)
    if paired:
        both = drawn_sums(np.hstack([known, reported]), rng)
        of_known, of_reported = both[:, :2], both[:, 2:]
    else:
        of_known, of_reported = _drawn_sums_of_alike(known, rng), _drawn_sums_of_alike(reported, rng)
    pooled = _place_scores(known.sum(axis=0), reported.sum(axis=0))
    return with_intervals(pooled, _place_scores(of_known, of_reported))


def resamples(count: int, rng: np.random.Generator, times: int = RESAMPLES) -> NDArray[np.int64]:
    """How often each of ``count`` units is drawn, ``[times, count]`` (Efron 1979)."""
    if count == 0:
        return np.zeros((times, 0), np.int64)
    return rng.multinomial(count, np.full(count, 1 / count), times)


def drawn_sums(units: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Sums ``[RESAMPLES, k]`` of resampled units ``[n, k]``, some resamples at a time: n may be large."""
    at_once = max(1, DRAWS_AT_ONCE // max(1, len(units)))
    parts = [min(at_once, RESAMPLES - first) for first in range(0, RESAMPLES, at_once)]
    return np.concatenate([resamples(len(units), rng, times).astype(np.float64) @ units for times in parts])


def _drawn_sums_of_alike(units: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The same where most units are alike: how often each kind of them is drawn says all."""
    kinds, counts = np.unique(units, axis=0, return_counts=True)
    if len(kinds) == 0:
        return np.zeros((RESAMPLES, units.shape[1]))
    return rng.multinomial(len(units), counts / len(units), RESAMPLES) @ kinds


def _place_scores(known: NDArray[np.float64], reported: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    recall, precision = _ratio(known[..., 1], known[..., 0]), _ratio(reported[..., 1], reported[..., 0])
    # Where none is right, none is, though there be nothing known or nothing reported to take a share of.
    f1 = np.where((recall == 0) | (precision == 0), 0.0, _ratio(2 * precision * recall, precision + recall))
    return {"precision": precision, "recall": recall, "f1": f1}


def with_intervals(
    pooled: dict[str, NDArray[np.float64]], drawn: dict[str, NDArray[np.float64]]
) -> dict[str, float | None]:
    """Return scores with the 95 % intervals of their resamples, ``_low`` and ``_high``.

    Args:
        pooled: each score, NaN where it is undefined; all three are None then.
        drawn: the same of each resample ``[RESAMPLES]``.
    """
    result: dict[str, float | None] = {}
    for name, value in pooled.items():
        # A draw without any change says nothing about how well change is found.
        known = drawn[name][~np.isnan(drawn[name])]
        told: list[float | None] = [None] * 3
        if known.size and not np.isnan(value):
            told = [float(value), *(float(end) for end in np.quantile(known, (0.025, 0.975)))]
        result |= zip((name, f"{name}_low", f"{name}_high"), told, strict=True)
    return result


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
