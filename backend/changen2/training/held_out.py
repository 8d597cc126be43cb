"""Pairs of what is kept from training, to stop a run by and to calibrate its end: the same every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from changen2.training.config import TrainingConfig
from changen2.training.examples import cut_pair, make_pair
from changen2.training.loop import Imagery
from changen2.training.measure import Counts, count, detect, f1
from changen2.training.mix import draw_from, mix_of, part
from changen2.training.pairs import Pair
from changen2.training.watched import Check, Watched, go_on

DrawPair = Callable[[Imagery, TrainingConfig, np.random.Generator], Pair]

FIRST = 1_000_003
"""Keeps the draws apart from those of the training."""


def draw_pair(imagery: Imagery, config: TrainingConfig, rng: np.random.Generator) -> Pair:
    """One pair of buildings that came or went, see :func:`changen2.training.mix.draw_from`."""
    return draw_from(imagery, config, rng, cut_pair, make_pair)


def held_out_pairs(
    imagery: Imagery, config: TrainingConfig, draw: DrawPair = draw_pair, check: Check = go_on
) -> Sequence[Pair]:
    """Make ``config.held_out_pairs`` pairs of held-out places by the training's own rules and mix.

    Sources without a held-out place are left out of the mix; where none has one, no pair is made.
    ``check`` is called before each is made, and later before each is looked at; it may raise to cancel.
    """
    kept = part(imagery, held_out=True)
    if not mix_of(kept, config):
        return []
    numbers = Watched(range(config.held_out_pairs), check)
    return Watched([draw(kept, config, np.random.default_rng((FIRST, number))) for number in numbers], check)


def score(model: nn.Module, pairs: Sequence[Pair]) -> float:
    """F1 of change at 0.5, pooled over pairs."""
    counts: Counts = np.array([count(detect(model, pair.before, pair.after)["change"], pair.change) for pair in pairs])
    return f1(counts)
