"""How sure a figure is: percentiles of what it would be on resampled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(statistic: Callable[[Indices], float], count: int, resamples: int = 1000, seed: int = 0) -> Score:
    """A figure with its 95 % percentile interval (Efron 1979).

    Args:
        statistic: the figure of some images, given by number; an image may come more than once.
        count: images.
        resamples: how often they are drawn with replacement.
        seed: of the draws.

    Raises:
        InputError: no images.
    """
    if count < 1:
        raise InputError("There is nothing to resample.", hint="Measure on at least one tile.", code="no_tiles")
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(count, size=count)) for _ in range(resamples)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Score(statistic(np.arange(count)), float(low), float(high))


def rounded(score: Score) -> dict[str, float]:
    """A figure with its interval as a report shows it."""
    return {"value": round(score.value, 3), "low": round(score.low, 3), "high": round(score.high, 3)}
