"""Label consistency: does a segmenter that knows real buildings see one where the labels say that one was created?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from changen2.training.bootstrap import Indices, bootstrap

Mask = NDArray[np.bool_]

LEAST_CEILING = 0.5
"""Where the segmenter does worse on real buildings, its word on drawn ones is worth nothing."""


@dataclass(frozen=True)
class ObjectScore:
    """What the segmenter makes of one footprint, as intersection over union, 0..1.

    Attributes:
        tile: number of the tile; objects of a tile are not independent.
        source: where the tile is from.
        score: on the image after the creation.
        floor: at the same place before it.
        ceiling: at the place where the footprint's own building stands, on the real image.
    """

    tile: int
    source: str
    score: float
    floor: float
    ceiling: float


def own_region(footprint: Mask) -> Mask:
    """The footprint dilated by its own radius, that of a disc of equal area [h, w]."""
    return np.asarray(distance_transform_edt(~footprint) <= np.sqrt(footprint.sum() / np.pi))


def object_iou(found: Mask, footprint: Mask, others: Mask) -> float:
    """Intersection over union within the footprint's own region.

    Args:
        found: what the segmenter calls building [h, w].
        footprint: the object [h, w], not empty.
        others: other buildings, which are neither right nor wrong here [h, w].
    """
    region = own_region(footprint) & ~(others & ~footprint)
    return float((found & footprint).sum() / ((found & region) | footprint).sum())


def recovered(scores: NDArray[np.float64]) -> float:
    """(score − floor) / (ceiling − floor) of the means over objects [n, 3]; NaN where the ceiling is no higher."""
    score, floor, ceiling = scores.mean(axis=0)
    return float((score - floor) / (ceiling - floor)) if ceiling > floor else float("nan")


def summarize(objects: Sequence[ObjectScore], resamples: int = 1000) -> dict[str, Any]:
    """All figures of some objects, with the interval of a bootstrap over tiles.

    Returns:
        ``label_consistency`` with ``_low`` and ``_high``, all None where the ceiling is below 0.5 (``void``), the three
        means, and how many objects and tiles.
    """
    values = np.array([[each.score, each.floor, each.ceiling] for each in objects], np.float64)
    numbers = np.unique([each.tile for each in objects])
    of_tile = [values[[each.tile == number for each in objects]] for number in numbers]

    def statistic(chosen: Indices) -> float:
        return recovered(np.concatenate([of_tile[tile] for tile in chosen]))

    score, floor, ceiling = values.mean(axis=0).round(3).tolist()
    means = {"objects": len(objects), "tiles": len(numbers), "score": score, "floor": floor, "ceiling": ceiling}
    if ceiling < LEAST_CEILING or ceiling <= floor:
        nothing = {"label_consistency": None, "label_consistency_low": None, "label_consistency_high": None}
        return {**nothing, "void": True, **means}
    found = bootstrap(statistic, len(numbers), resamples)
    return {
        "label_consistency": round(found.value, 3),
        "label_consistency_low": round(found.low, 3),
        "label_consistency_high": round(found.high, 3),
        "void": False,
        **means,
    }
