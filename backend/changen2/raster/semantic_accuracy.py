"""How right the classes of a change are: SeK, scores of each class, and the table from class to class.

At either date a pixel is in one of the states "no change", class 0, class 1, …; both dates are pooled. Sources:
Yang et al., Pattern Recognition 2021 (mIoU, SeK and their mean, the score of SECOND); Ding et al., TGRS 2022 (F_scd).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changen2.raster.accuracy import SEED, drawn_sums, with_intervals

Labels = NDArray[np.integer]
Bools = NDArray[np.bool_]

STATES = 256
"""No change, and classes 0 to 254 as states 1 to 255."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Codes of what was said and what is so, and how many pixels each has, ``[n]`` both."""


def states(classes: Labels, changed: Bools) -> Labels:
    """Return 0 where nothing changed and class + 1 where something did ``[...]``."""
    return np.where(changed, classes.astype(np.int64) + 1, 0)


def tally_states(predicted: Labels, true: Labels) -> Pairs:
    """Count pairs of states ``[n]``."""
    codes, counts = np.unique(predicted * STATES + true, return_counts=True)
    return codes, counts.astype(np.int64)


def tally_transitions(predicted: tuple[Labels, Labels], true: tuple[Labels, Labels]) -> Pairs:
    """Count pairs of what the states at both dates were said to be and are, ``[n]`` each."""
    said, was = (before * STATES + after for before, after in (predicted, true))
    codes, counts = np.unique(said * STATES**2 + was, return_counts=True)
    return codes, counts.astype(np.int64)


def confusion_of(units: list[Pairs]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the confusion of each unit ``[units, s, s]`` (row said, column true) and the states that occur ``[s]``.

    The first state is always "no change".
    """
    codes = np.concatenate([codes for codes, _ in units]) if units else np.zeros(0, np.int64)
    present = np.union1d([0], np.concatenate([codes // STATES, codes % STATES]))
    matrices = np.zeros((len(units), len(present), len(present)))
    for matrix, (unit_codes, counts) in zip(matrices, units, strict=True):
        rows, columns = (np.searchsorted(present, part) for part in (unit_codes // STATES, unit_codes % STATES))
        np.add.at(matrix, (rows, columns), counts)
    return matrices, present


def semantic_scores(matrix: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return ``miou``, ``sek``, ``score`` and ``f_scd`` of confusions ``[..., s, s]``; NaN where undefined."""
    total, unchanged = matrix.sum((-1, -2)), matrix[..., 0, 0]
    said, true = matrix.sum(-1), matrix.sum(-2)
    iou_unchanged = _ratio(unchanged, said[..., 0] + true[..., 0] - unchanged)
    iou_change = _ratio(matrix[..., 1:, 1:].sum((-1, -2)), total - unchanged)
    without = matrix.copy()
    without[..., 0, 0] = 0
    rest = without.sum((-1, -2))
    agreed = _ratio(np.trace(without, axis1=-2, axis2=-1), rest)
    chance = _ratio((without.sum(-1) * without.sum(-2)).sum(-1), rest**2)
    sek = _ratio(agreed - chance, 1 - chance) * np.exp(iou_change - 1)
    miou = (iou_unchanged + iou_change) / 2
    right = np.trace(matrix[..., 1:, 1:], axis1=-2, axis2=-1)
    f_scd = _ratio(2 * right, said[..., 1:].sum(-1) + true[..., 1:].sum(-1))
    return {"miou": miou, "sek": sek, "score": 0.3 * miou + 0.7 * sek, "f_scd": f_scd}


def semantic_report(
    units: list[Pairs], transitions: list[Pairs], names: tuple[Mapping[int, str], Mapping[int, str]]
) -> dict[str, Any]:
    """Return the scores with 95 % bootstrap intervals over units, those of each class, and the from→to table.

    Args:
        units: pairs of states, by image or block; none where a number does not mean the same at both dates.
        transitions: pairs of states at both dates, by image or block.
        names: of the classes before and after, by number; one without a name is called by its number, and one that
            shares its name by both.

    Returns:
        ``miou``, ``sek``, ``score``, ``f_scd``, each with ``_low`` and ``_high``; ``classes``: name → ``precision``,
        ``recall``, ``f1``, ``iou`` and ``pixels`` of the reference, both dates together; ``from_to``: a list of
        ``from``, ``to`` and the pixels that are so in the ``reference``, in the ``prediction`` and in ``both``. What is
        undefined is None.
    """
    matrices, present = confusion_of(units)
    pooled = semantic_scores(matrices.sum(axis=0))
    sums = drawn_sums(matrices.reshape(len(units), len(present) ** 2), np.random.default_rng(SEED))
    drawn = semantic_scores(sums.reshape(-1, len(present), len(present)))
    return {
        **with_intervals(pooled, drawn),
        "classes": _class_scores(matrices.sum(axis=0), present, {**names[0], **names[1]}),
        "from_to": _from_to(transitions, names),
    }


def _class_scores(
    matrix: NDArray[np.float64], present: NDArray[np.int64], names: Mapping[int, str]
) -> dict[str, dict[str, float | None]]:
    scores: dict[str, dict[str, float | None]] = {}
    for index, state in enumerate(present[1:], 1):
        hit, said, true = matrix[index, index], matrix[index].sum(), matrix[:, index].sum()
        values = {
            "precision": _ratio(hit, said),
            "recall": _ratio(hit, true),
            "f1": _ratio(2 * hit, said + true),
            "iou": _ratio(hit, said + true - hit),
        }
        known = {name: None if np.isnan(value) else float(value) for name, value in values.items()}
        scores[_name(state, names)] = {**known, "pixels": int(true)}
    return scores


def _from_to(transitions: list[Pairs], names: tuple[Mapping[int, str], Mapping[int, str]]) -> list[dict[str, Any]]:
    table: dict[int, list[int]] = {}
    for codes, counts in transitions:
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            said, was = divmod(code, STATES**2)
            for column, kind in ((0, was), (1, said)):
                table.setdefault(kind, [0, 0, 0])[column] += count
            if said == was:
                table[was][2] += count
    table.pop(0, None)  # no change
    rows = []
    for kind, (reference, prediction, both) in sorted(table.items(), key=lambda item: -item[1][0]):
        before, after = divmod(kind, STATES)
        rows.append(
            {
                "from": _name(before, names[0]),
                "to": _name(after, names[1]),
                "reference": reference,
                "prediction": prediction,
                "both": both,
            }
        )
    return rows


def _name(state: int, names: Mapping[int, str]) -> str:
    number = int(state) - 1
    name = names.get(number, str(number))
    return f"{name} ({number})" if [*names.values()].count(name) > (number in names) else name


def _ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
