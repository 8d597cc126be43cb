"""Classifier-free guidance by labels (Ho and Salimans 2022), above the noise level from which it pays."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from changen2.diffusion.schedules import Schedule

GUIDED_FROM = 0.3
"""Share of the diffusion below which labels no longer guide: forms stand by then, and guidance only costs time and
contrast (Kynkäänniemi et al. 2024)."""


def guided(predict: Callable[[bool], Tensor], schedule: Schedule, t: int, weight: float) -> Tensor:
    """A network's prediction, led away from what it would say without labels.

    Args:
        predict: the prediction with labels (True) or without.
        schedule: the network's.
        t: the timestep.
        weight: of the labels; 1 asks once, without guidance.
    """
    told = predict(True)
    if weight == 1 or t < GUIDED_FROM * len(schedule):
        return told
    untold = predict(False)
    return untold + weight * (told - untold)
