"""Pairs of what is kept from training, to stop a run by and to calibrate its end: the same every time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from changen2.training.config import TrainingConfig
from changen2.training.examples import cut_pair, draw_key, make_pair
from changen2.training.loop import Imagery
from changen2.training.measure import Counts, count, detect, f1
from changen2.training.pairs import Pair

FIRST = 1_000_003
"""Keeps the draws apart from those of the training."""


def held_out_pairs(imagery: Imagery, config: TrainingConfig) -> list[Pair]:
    """Make ``config.held_out_pairs`` pairs of held-out places by the training's own rules and mix.

    Sources without a held-out place are left out of the mix; where none has one, no pair is made.
    """
    places = {name: [place for place in found if place.held_out] for name, found in imagery.places.items()}
    pairs = {name: [pair for pair in found if pair.before.held_out] for name, found in imagery.pairs.items()}
    sources = {name: share for name, share in config.sources.items() if places.get(name)}
    mix = {
        **(config.kinds if sources else {}),
        **{name: share for name, share in config.pairs.items() if pairs.get(name)},
    }
    if not mix:
        return []
    settings = config.model_copy(update={"sources": sources})
    made = []
    for index in range(config.held_out_pairs):
        rng = np.random.default_rng((FIRST, index))
        kind = draw_key(mix, rng)
        made.append(
            cut_pair(pairs[kind], settings, rng) if kind in config.pairs else make_pair(places, settings, kind, rng)
        )
    return made


def score(model: nn.Module, pairs: Sequence[Pair]) -> float:
    """F1 of change at 0.5, pooled over pairs."""
    counts: Counts = np.array([count(detect(model, pair.before, pair.after)["change"], pair.change) for pair in pairs])
    return f1(counts)
