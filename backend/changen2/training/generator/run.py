"""What both training runs share: averaged weights, checkpoints to resume from, a log."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.training.generator.config import RunConfig
from changen2.training.generator.optimizers import Optimizer, make_optimizer

CHECKPOINT = "checkpoint.pt"
CHECKPOINT_EVERY_S = 120.0
LOG_EVERY = 20

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called after each step with (steps done, steps in all, mean losses where some were logged); may raise to cancel."""


@dataclass
class Run:
    """What goes on from step to step.

    Attributes:
        model: is trained.
        average: its averaged weights.
        optimizer: of the model's parameters.
        step: steps done.
        samples: crops seen.
        seconds: spent on steps.
    """

    model: nn.Module
    average: nn.Module
    optimizer: Optimizer
    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)


def start(model: nn.Module, config: RunConfig) -> Run:
    """A new run of a model, or the one that its folder holds."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(model, config)
    return Run(model, copy.deepcopy(model).eval().requires_grad_(False), optimizer)


def save(run: Run, path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    state = {
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "samples": run.samples,
        "seconds": run.seconds,
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def restore(run: Run, path: Path) -> None:
    """Go on from a checkpoint."""
    state = torch.load(path, weights_only=True)
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.samples, run.seconds = state["step"], state["samples"], state["seconds"]


def average(run: Run, keep: float) -> None:
    """Move the averaged weights towards the model's, faster at first."""
    keep = min(keep, (1 + run.step) / (10 + run.step))
    source = run.model.state_dict()
    for key, value in run.average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(source[key], 1 - keep)
        else:
            value.copy_(source[key])


def train(
    run: Run,
    config: RunConfig,
    losses: Callable[[Run], tuple[dict[str, Tensor], int]],
    learning_rate: Callable[[int], float],
    resumed: bool,
    on_step: OnStep | None = None,
) -> nn.Module:
    """Train until ``config.steps``.

    Args:
        run: from ``start``.
        config: the experiment.
        losses: losses of a step, ``total`` among them, and how many crops it took; it must draw them from the step's
            number alone, so that a resumed run is the same run.
        learning_rate: of a step.
        resumed: go on from the checkpoint in ``config.out``, if there is one.
        on_step: progress; may raise :class:`changen2.errors.Cancelled`, which leaves a checkpoint.

    Returns:
        The averaged model.

    Raises:
        InputError: the folder holds a run and ``resumed`` is not set.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    checkpoint = config.out / CHECKPOINT
    if checkpoint.exists() and not resumed:
        raise InputError(
            f"{config.out} already holds a training run.",
            hint="Add --resume, or choose another `out`.",
            code="not_empty",
        )
    if checkpoint.exists():
        restore(run, checkpoint)
    began = saved = time.monotonic()
    try:
        while run.step < config.steps:
            _step(run, config, losses, learning_rate(run.step))
            now = time.monotonic()
            run.seconds, began = run.seconds + now - began, now
            logged = run.step % LOG_EVERY == 0 or run.step == config.steps
            means = _log(config.out / "log.jsonl", run) if logged else {}
            if on_step:
                on_step(run.step, config.steps, means)
            if now - saved > CHECKPOINT_EVERY_S:
                save(run, checkpoint)
                saved = now
    finally:
        save(run, checkpoint)
    return run.average


def _step(run: Run, config: RunConfig, losses: Callable[[Run], tuple[dict[str, Tensor], int]], rate: float) -> None:
    run.model.train()
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    parts, count = losses(run)
    run.optimizer.zero_grad(set_to_none=True)
    parts["total"].backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    run.step += 1
    run.samples += count
    average(run, config.ema)
    for key, value in parts.items():
        run.sums[key] = run.sums.get(key, 0.0) + value.item()


def _log(path: Path, run: Run) -> dict[str, float]:
    means = {key: value / (run.step % LOG_EVERY or LOG_EVERY) for key, value in run.sums.items()}
    run.sums = {}
    line: dict[str, float] = {"step": run.step, "samples": run.samples, "seconds": round(run.seconds, 1)}
    line.update({key: round(value, 5) for key, value in means.items()})
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    return means


def warm_cosine(config: RunConfig) -> Callable[[int], float]:
    """Linear rise, then half a cosine down to a hundredth: for a run that ends."""

    def rate(step: int) -> float:
        if step < config.warmup:
            return config.learning_rate * (step + 1) / config.warmup
        done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
        return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    return rate


def warm_constant(config: RunConfig) -> Callable[[int], float]:
    """Linear rise, then level: the average of the weights is good at any time, and a run may be made longer."""

    def rate(step: int) -> float:
        return config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup))

    return rate


def save_weights(model: nn.Module, path: Path) -> None:
    """Write matrices and kernels as fp16; the few values of one dimension stay fp32."""
    state = model.state_dict()
    save_file({key: (value.half() if value.dim() > 1 else value).contiguous() for key, value in state.items()}, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load what ``save_weights`` wrote.

    Raises:
        InputError: there is no such file.
    """
    if not path.exists():
        raise InputError(
            f"There are no weights {path}.", hint="Run `changen2 train autoencoder` first.", code="missing_file"
        )
    model.load_state_dict(load_file(path))
