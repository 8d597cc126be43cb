"""What pairs are drawn from: imagery to learn from or held out, in the configured mix of what it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from changen2.training.config import TrainingConfig
from changen2.training.examples import draw_key
from changen2.training.loop import Imagery
from changen2.training.pairs import Pair
from changen2.training.places import Place, PlacePair

Cut = Callable[[Sequence[PlacePair], TrainingConfig, np.random.Generator], Pair]
Make = Callable[[Mapping[str, Sequence[Place]], TrainingConfig, str, np.random.Generator], Pair]


def part(imagery: Imagery, held_out: bool) -> Imagery:
    """What is held out, or what is not; sources of which nothing is left are left out."""
    places = {name: [p for p in found if p.held_out is held_out] for name, found in imagery.places.items()}
    pairs = {name: [p for p in found if p.before.held_out is held_out] for name, found in imagery.pairs.items()}
    return Imagery(
        {name: found for name, found in places.items() if found},
        {name: found for name, found in pairs.items() if found},
    )


def mix_of(imagery: Imagery, config: TrainingConfig) -> dict[str, float]:
    """Of the configured kinds and folders of pairs, those that the imagery can make, by weight above 0."""
    has_places = any(share and name in imagery.places for name, share in config.sources.items())
    pairs = {name: share for name, share in config.pairs.items() if name in imagery.pairs}
    mix = {**(config.kinds if has_places else {}), **pairs}
    return {name: share for name, share in mix.items() if share}


def draw_from(imagery: Imagery, config: TrainingConfig, rng: np.random.Generator, cut: Cut, make: Make) -> Pair:
    """One pair of the configured mix, of what the imagery holds of it: cut out of two dates, or made of single ones."""
    kind = draw_key(mix_of(imagery, config), rng)
    if kind in imagery.pairs:
        return cut(imagery.pairs[kind], config, rng)
    sources = {name: share for name, share in config.sources.items() if name in imagery.places}
    return make(imagery.places, config.model_copy(update={"sources": sources}), kind, rng)
