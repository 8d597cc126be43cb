"""Training of the detectors that tell land cover: of its change, and of any change.

The configuration is that of the building detector; sources and folders of pairs mean those of land cover
(:mod:`changen2.training.landcover`). See :func:`changen2.jobs.train.train_landcover` and ``train_anything``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import default_collate

from changen2.errors import InputError
from changen2.models.changestar_anything import ChangeStarAnything
from changen2.models.changestar_landcover import CLASSES, ChangeStarLandCover, without_encoder
from changen2.models.detection import normalize
from changen2.scenes.classes import BUILDING
from changen2.training import anything_pairs, held_out, landcover_pairs, loop, run
from changen2.training.calibrate import best_bias, measure_calibration, shift_bias
from changen2.training.config import TrainingConfig
from changen2.training.examples import Example
from changen2.training.export import compact
from changen2.training.landcover import NOT_BUILDING, SOURCES
from changen2.training.landcover_folders import read_class_images, read_class_pairs
from changen2.training.landcover_scenes import read_scenes
from changen2.training.landcover_teacher import fill_unknown
from changen2.training.loop import Imagery
from changen2.training.losses import masked_cross_entropy
from changen2.training.mix import draw_from, mix_of, part
from changen2.training.pairs import Pair
from changen2.training.places import IGNORE
from changen2.training.run import OnStep, Run, Watch
from changen2.training.sources import read_source
from changen2.training.watched import Check, Watched, go_on

logger = logging.getLogger(__name__)

PAIRS = {"landcover_scenes": read_scenes}
"""Readers of folders of pairs that are known by their name, where a configuration says ``project_imagery``."""

MAKERS = {"landcover": landcover_pairs.make_pair, "anything": anything_pairs.make_pair}
NETWORKS = {"landcover": ChangeStarLandCover, "anything": ChangeStarAnything}
"""What makes pairs of single dates, and what learns from them, by a configuration's ``network``."""


def read_imagery(config: TrainingConfig, check: Check = go_on) -> Imagery:
    """Read all that a configuration names; see :func:`changen2.training.loop.read_imagery`."""
    known = PAIRS if config.project_imagery else {}
    pairs = {
        name: known.get(name, read_class_pairs)(config.folder(name), config.gsds.get(name), check)
        for name in config.pairs
    }
    places = {}
    for name in Watched(list(config.sources), check):
        if name in pairs:
            places[name] = [place for pair in pairs[name] for place in (pair.before, pair.after)]
        else:
            root, gsd = config.folder(name), config.gsds.get(name)
            places[name] = read_source(name, root, gsd, config.project_imagery, SOURCES, read_class_images, check)
    loop.warn_of_folders(places, pairs, config)
    if config.teacher:
        torch.set_num_threads(config.threads)
        teacher = fresh(config)
        loop.begin_with(teacher, config.teacher)
        for name in places:
            places[name] = fill_unknown(teacher, Watched(places[name], check))
            logger.info("the teacher has labelled %s", name)
    return Imagery(places, pairs)


def draw_pair(imagery: Imagery, config: TrainingConfig, rng: np.random.Generator) -> Pair:
    """One pair of the configured mix, of what the imagery holds of it."""
    return draw_from(imagery, config, rng, landcover_pairs.cut_pair, MAKERS[config.network])


def to_example(pair: Pair) -> Example:
    """Tensors of a pair: images normalized ``[3, h, w]``, class maps ``[h, w]``, change and known ``[1, h, w]``."""
    example: Example = {}
    for key, crop in (("before", pair.before), ("after", pair.after)):
        example[key] = normalize(torch.from_numpy(np.ascontiguousarray(crop.image)).permute(2, 0, 1)[None])[0]
        example[f"semantic_{key}"] = torch.from_numpy(crop.label.astype(np.int64))
    example["change"] = torch.from_numpy((pair.change == 1).astype(np.float32))[None]
    example["change_known"] = torch.from_numpy((pair.change != IGNORE).astype(np.float32))[None]
    return example


def class_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy of classes where they are known, wholly or only as not being a building.

    Args:
        logits: ``[b, 5, h, w]`` of the classes 1 to 5.
        label: ``[b, h, w]``; 1 to 5, ``NOT_BUILDING`` or ``IGNORE``.
    """
    log_p = logits.float().log_softmax(dim=1)
    exact = label <= CLASSES
    told = log_p.gather(1, torch.where(exact, label - 1, 0)[:, None])[:, 0]
    others = [index for index in range(CLASSES) if index != BUILDING - 1]
    told = torch.where(exact, told, log_p[:, others].logsumexp(dim=1))
    known = exact | (label == NOT_BUILDING)
    return -(told * known).sum() / known.sum().clamp(min=1)


def fused_cross_entropy(change: Tensor, before: Tensor, after: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of the final score, see :func:`changen2.models.changestar_landcover.fuse_classes`."""
    same = (before.float().log_softmax(1) + after.float().log_softmax(1)).logsumexp(dim=1, keepdim=True)
    log_differs = torch.log(-torch.expm1(same.clamp(max=-1e-4)))
    log_p = 0.5 * (F.logsigmoid(change.float()) + log_differs)
    log_not_p = torch.log(-torch.expm1(log_p.clamp(max=-1e-4)))
    return (-(target * log_p + (1 - target) * log_not_p) * known).sum() / known.sum().clamp(min=1)


def change_of_classes(batch: Example) -> tuple[Tensor, Tensor]:
    """Where something changed that is or was of a class, and where that is known, ``[b, 5, h, w]`` each, 0 or 1."""
    changed, known = batch["change"] > 0, batch["change_known"] > 0
    dates = [batch[f"semantic_{date}"][:, None] for date in ("before", "after")]
    classes = torch.arange(1, CLASSES + 1, device=changed.device).view(1, CLASSES, 1, 1)
    involved = torch.stack([date == classes for date in dates]).any(dim=0)
    told = [(date <= CLASSES) | ((date == NOT_BUILDING) & (classes == BUILDING)) for date in dates]
    return (changed & involved).float(), (known & (~changed | involved | torch.stack(told).all(dim=0))).float()


def losses(model: nn.Module, batch: Example, config: TrainingConfig) -> dict[str, Tensor]:
    """Loss of each part, and ``total``."""
    with loop.mixed_precision(batch["before"].device):
        change, before, after = model.logits(batch["before"], batch["after"])  # type: ignore[operator]
    target = (batch["change"], batch["change_known"])
    parts = {
        "change": masked_cross_entropy(change[:, :1], *target),
        "semantic": class_cross_entropy(
            torch.cat([before, after]), torch.cat([batch["semantic_before"], batch["semantic_after"]])
        ),
    }
    if isinstance(model, ChangeStarAnything):
        parts["change_of_classes"] = masked_cross_entropy(change[:, 1:], *change_of_classes(batch))
    else:
        parts["fused"] = fused_cross_entropy(change, before, after, *target)
    weights = {"semantic": config.semantic_weight, "fused": config.fused_weight}
    total = torch.stack([weights.get(key, 1.0) * value for key, value in parts.items()]).sum()
    return {**parts, "total": total}


def fresh(config: TrainingConfig) -> ChangeStarLandCover:
    """The detector before its training, on the ImageNet encoder."""
    torch.manual_seed(config.seed)
    model = NETWORKS[config.network](config.encoder)
    loop.read_encoder(model.encoder, config.encoder_weights)
    nn.init.constant_(model.change.classify.get_parameter("bias"), -1.5)
    for lateral in model.decoder.far_laterals:
        nn.init.normal_(lateral.get_parameter("weight"), std=1e-3)
    if config.start_from:
        loop.begin_with(model, config.start_from)
    return model


def held_out_pairs(imagery: Imagery, config: TrainingConfig, check: Check = go_on) -> Sequence[Pair]:
    """Pairs of held-out places by the training's own rules, the same every time."""
    return held_out.held_out_pairs(imagery, config, draw_pair, check)


def train(
    config: TrainingConfig,
    imagery: Imagery,
    resumed: bool = False,
    on_step: OnStep | None = None,
    watch: Watch | None = None,
) -> ChangeStarLandCover:
    """Train the detector and return its averaged weights, with ``watch`` those of its best step."""
    torch.set_num_threads(config.threads)
    learned = part(imagery, held_out=False)
    if not mix_of(learned, config):
        raise InputError(
            "There is nothing to train on: `sources` with `kinds`, or `pairs`, hold no place that is not held out.",
            hint="Check them and `data` in the configuration.",
        )

    def batch_of(step: int) -> Example:
        numbers = range(step * config.batch_size, (step + 1) * config.batch_size)
        rngs = (np.random.default_rng((config.seed, number)) for number in numbers)
        collated: Example = default_collate([to_example(draw_pair(learned, config, rng)) for rng in rngs])
        return collated

    def step_losses(state: Run) -> tuple[dict[str, Tensor], int]:
        return losses(state.model, batch_of(state.step), config), config.batch_size

    model = fresh(config)
    measured = False
    if isinstance(model, ChangeStarAnything):
        measured = loop.is_measured(model)
        model.ask_of_classes()
    trained = run.train(
        loop.begin(model, config),
        config,
        step_losses,
        run.warm_cosine(config),
        resumed,
        on_step,
        settle=lambda state: loop.hold_still(state, config, measured),
        watch=watch,
    )
    if isinstance(trained, ChangeStarAnything):
        trained.ask_of_change_alone()
    return trained  # type: ignore[return-value]


def export(model: nn.Module, path: Path) -> None:
    """Write the decoder and the heads; the encoder is the building detector's."""
    save_file(without_encoder(compact(model)), path)


def calibrate(model: ChangeStarLandCover, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Make 0.5 the natural threshold on held-out pairs, in place, and tell how reliable the probabilities then are."""
    bias = best_bias(model, pairs)
    shift_bias(model, bias)
    return {"bias_from_calibration": bias, "calibration": measure_calibration(model, pairs)}
