"""Training examples by number: example ``i`` of a seed is always the same, so a run resumes where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from changen2.errors import InputError
from changen2.models.detection import normalize
from changen2.training.config import TrainingConfig
from changen2.training.crops import Crop, random_cut
from changen2.training.pairs import Pair, change_label, second_date
from changen2.training.photometry import another_season, archived, relight, resense
from changen2.training.places import IGNORE, Bytes, Place, PlacePair
from changen2.training.sunlight import another_sun

Example = dict[str, Tensor]


def draw_key(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """One key, drawn by weight."""
    shares = np.array(list(weights.values()), float)
    return str(list(weights)[rng.choice(len(shares), p=shares / shares.sum())])


def misregister(crop: Crop, size: int, reach: int, rng: np.random.Generator) -> Crop:
    """The middle square of ``size``, off by up to ``reach`` pixels."""
    margin = (crop.label.shape[0] - size) // 2
    rows, columns = (int(v) for v in rng.integers(-reach, reach + 1, 2))
    return crop.window(margin + rows, margin + columns, size)


def as_seen(first: Crop, second: Crop, change: Bytes, config: TrainingConfig, rng: np.random.Generator) -> Pair:
    """A pair of crops with a margin of ``max_shift``: order drawn, each in its own light, slightly shifted."""
    if rng.random() < 0.5:
        first, second = second, first
    middle = slice(config.max_shift, config.max_shift + config.crop_size)
    shift = config.max_shift if rng.random() < 0.7 else 0
    still = misregister(first, config.crop_size, 0, rng)
    moved = misregister(second, config.crop_size, shift, rng)
    dates = [seen(another_day(crop, config, rng), config.colour_strength, rng) for crop in (still, moved)]
    return kept(Pair(dates[0], dates[1], change[middle, middle]), config, rng)


def make_pair(
    places: Mapping[str, Sequence[Place]], config: TrainingConfig, kind: str, rng: np.random.Generator
) -> Pair:
    """One pair made of single dates, see :func:`changen2.training.pairs.second_date` for the kinds."""

    def draw() -> Crop:
        source = places[draw_key(config.sources, rng)]
        areas = np.array([place.label.size * place.gsd**2 for place in source]) ** 0.5
        place = source[rng.choice(len(source), p=areas / areas.sum())]
        size = config.crop_size + 2 * config.max_shift
        return random_cut(place, size, rng, config.gsd_range, centred=rng.random() < 0.6).of(place)

    first = draw()
    second = second_date(first, draw, kind, rng)
    change = change_label(first.label, second.label)
    change[(first.image == second.image).all(axis=2)] = 0  # whatever it is, it did not change
    return as_seen(first, second, change, config, rng)


def cut_pair(pairs: Sequence[PlacePair], config: TrainingConfig, rng: np.random.Generator) -> Pair:
    """One pair cut out of two real, drawn or synthesized dates, most often where something changed."""
    pair = pairs[int(rng.integers(len(pairs)))]
    size = config.crop_size + 2 * config.max_shift
    cut = random_cut(pair.change, size, rng, config.gsd_range, centred=rng.random() < 0.6)
    return as_seen(cut.of(pair.before), cut.of(pair.after), cut.of(pair.change).label, config, rng)


def another_day(crop: Crop, config: TrainingConfig, rng: np.random.Generator) -> Crop:
    """A crop at another hour, from another orbit, in another season, as far as the configuration asks for."""
    if config.sun_strength and rng.random() < 0.6:
        crop = another_sun(crop, rng, config.sun_strength)
    if config.season_strength and rng.random() < 0.6:
        crop = replace(crop, image=another_season(crop.image, rng, config.season_strength))
    return crop


def seen(crop: Crop, strength: float, rng: np.random.Generator) -> Crop:
    """A crop as some day and some sensor show it."""
    image = relight(crop.image, rng, strength) if rng.random() < 0.9 else crop.image
    return Crop(resense(image, rng), crop.label)


def kept(pair: Pair, config: TrainingConfig, rng: np.random.Generator) -> Pair:
    """A pair as an archive has it, as often as the configuration asks for."""
    if not config.archive_share:
        return pair
    before, after = archived(pair.before.image, pair.after.image, rng, config.archive_share)
    return replace(pair, before=replace(pair.before, image=before), after=replace(pair.after, image=after))


def _target(label: Bytes) -> tuple[Tensor, Tensor]:
    known = torch.from_numpy((label != IGNORE).astype(np.float32))[None]
    return torch.from_numpy((label == 1).astype(np.float32))[None], known


def to_example(pair: Pair) -> Example:
    """Tensors of a pair: images normalized ``[3, h, w]``, targets and masks of known pixels ``[1, h, w]``."""
    example: Example = {}
    for key, crop in (("before", pair.before), ("after", pair.after)):
        example[key] = normalize(torch.from_numpy(np.ascontiguousarray(crop.image)).permute(2, 0, 1)[None])[0]
        example[f"semantic_{key}"], example[f"semantic_{key}_known"] = _target(crop.label)
    example["change"], example["change_known"] = _target(pair.change)
    return example


class TrainingPairs:
    """Pairs by number, made of single dates or cut out of pairs; what is held out is left aside.

    Args:
        places: single dates by source.
        pairs: two dates by source.
        config: mixing weights, crop size, scales.
    """

    def __init__(
        self,
        places: Mapping[str, Sequence[Place]],
        pairs: Mapping[str, Sequence[PlacePair]],
        config: TrainingConfig,
    ) -> None:
        self.config = config
        self.places = {source: [p for p in places.get(source, ()) if not p.held_out] for source in config.sources}
        self.pairs = {source: [p for p in pairs.get(source, ()) if not p.before.held_out] for source in config.pairs}
        for source, known in {**self.places, **self.pairs}.items():
            if not known:
                raise InputError(
                    f"The source {source!r} has nothing to train on.",
                    hint="Check `sources`, `pairs` and `data` in the configuration.",
                )

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng((self.config.seed, index))
        kind = draw_key({**self.config.kinds, **self.config.pairs}, rng)
        if kind in self.pairs:
            return to_example(cut_pair(self.pairs[kind], self.config, rng))
        return to_example(make_pair(self.places, self.config, kind, rng))
