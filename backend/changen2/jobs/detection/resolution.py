"""Whether a model suits a ground sampling distance, and by how much an image is resampled to another."""

from __future__ import annotations

from changen2.errors import InputError
from changen2.models.registry import ModelCard

SAME_GSD = 0.05
"""Relative difference of ground sampling distances that nobody can see: resampling would only blur."""


def suits(card: ModelCard, gsd: float) -> bool:
    """Whether a model was trained at pixels of ``gsd`` metres."""
    return card.gsd_min * (1 - SAME_GSD) <= gsd <= card.gsd_max * (1 + SAME_GSD)


def resampling_factor(gsd: float, wanted: float) -> float:
    """How many pixels of ``wanted`` metres make one of ``gsd`` metres, along a side; 1 where both are the same.

    Raises:
        InputError: ``bad_value`` where the two are too far apart.
    """
    factor = gsd / wanted
    if not 1 / 64 <= factor <= 64:
        raise InputError(
            f"From {gsd:.3g} m pixels to {wanted:.3g} m is a factor of {factor:.3g}; allowed is 1/64 to 64.",
            hint="Choose a ground sampling distance (--gsd) nearer to the image's own.",
            code="bad_value",
        )
    return 1.0 if abs(factor - 1) < SAME_GSD else factor
