"""What the licence of a generator asks of a detector that learned from images that it drew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from changen2.jobs.runs.manifest import generator_of


def under_terms(card: dict[str, Any], folders: Iterable[Path]) -> dict[str, Any]:
    """Return some fields of a new card as the images that were learned from allow.

    Args:
        card: its fields; of these ``licence``, ``noncommercial`` and ``credits`` count.
        folders: of the images. Where a manifest there names a generator for no commercial use, neither is the card: it
            has that licence, unless its own forbids the same, and the generator in its credits.
    """
    drawn_by = [model for folder in folders if (model := generator_of(folder)) and model.get("noncommercial")]
    if not drawn_by:
        return card
    licence = card["licence"] if card.get("noncommercial") else drawn_by[0]["licence"]
    credits = (f"Images drawn by {model.get('title') or model['name']}, {model['licence']}" for model in drawn_by)
    named = dict.fromkeys((*card.get("credits", ()), *credits))
    return {**card, "licence": licence, "noncommercial": True, "credits": [*named]}
