"""What all training runs share: averaged weights, checkpoints to resume from, a log, an end when nothing is gained."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.heap import kept_memory
from changen2.raster.writing import disk_errors
from changen2.training import distributed
from changen2.training.alone import alone

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
CHECKPOINT_EVERY_S = 120.0
LOG_EVERY = 20

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called after each step with (steps done, steps in all, mean losses where some were logged); may raise to cancel."""


class Optimizer(Protocol):
    """What is asked of an optimizer; torch's have it."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups whose ``lr`` is set before each step, to ``share`` of the rate where they have one."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> object:
        """Move the parameters."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""


class Settings(Protocol):
    """What a run's configuration tells the loop.

    Attributes:
        out: folder for the checkpoint and the log.
        steps: length of the run.
        warmup: steps in which the learning rate rises.
        learning_rate: at its highest.
        ema: share of the averaged weights kept each step, once warm.
    """

    @property
    def out(self) -> Path: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def warmup(self) -> int: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def ema(self) -> float: ...  # noqa: D102


@dataclass
class Run:
    """What goes on from step to step.

    Attributes:
        model: is trained.
        average: its averaged weights.
        optimizer: of the model's parameters.
        step: steps done.
        samples: crops or pairs seen.
        seconds: spent on steps.
        sums: losses since they were last logged.
        summed: steps that they are of.
        best: the highest score of the averaged weights on what is held out, and the step whose weights are kept.
        looked: the last step at which that was scored.
    """

    model: nn.Module
    average: nn.Module
    optimizer: Optimizer
    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0
    best: tuple[float, int] | None = None
    looked: int = 0


class Score(NamedTuple):
    """How good a model is.

    Attributes:
        value: higher is better.
        error: standard error of the value, 0 where none is known. Of steps that differ by less the latest is kept: for
            all that is known it is as good, and it was trained for longer.
    """

    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Watch:
    """What a run is judged by while it goes on.

    Attributes:
        score: of the averaged model on what is held out.
        every: steps from one look to the next.
        patience: looks without one that is kept after which the run ends.
    """

    score: Callable[[nn.Module], Score]
    every: int
    patience: int


Losses = Callable[[Run], tuple[dict[str, Tensor], int]]


def save(run: Run, path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    state = {
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "samples": run.samples,
        "seconds": run.seconds,
        "sums": run.sums,
        "summed": run.summed,
        "looked": run.looked,
    }
    _write(state if run.best is None else {**state, "best": run.best}, path)


def _write(state: dict[str, Any], path: Path) -> None:
    with disk_errors(path):
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)


def restore(run: Run, path: Path) -> None:
    """Go on from a checkpoint."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.seconds = state["step"], state["seconds"]
    run.samples, run.best = state.get("samples", 0), state.get("best")
    run.sums, run.summed = state.get("sums", {}), state.get("summed", 0)
    run.looked = state.get("looked", run.step)


def average(run: Run, keep: float) -> None:
    """Move the averaged weights towards the model's, faster at first."""
    keep = min(keep, (1 + run.step) / (10 + run.step))
    source = dict(_tensors(run.model))
    for name, value in _tensors(run.average):
        if isinstance(source[name], nn.Parameter) and not source[name].requires_grad:
            continue
        if value.is_floating_point():
            value.lerp_(source[name].detach(), 1 - keep)
        else:
            value.copy_(source[name])


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name, one that two parts share only once."""
    return chain(model.named_parameters(), model.named_buffers())


def train(
    run: Run,
    config: Settings,
    losses: Losses,
    learning_rate: Callable[[int], float],
    resumed: bool,
    on_step: OnStep | None = None,
    *,
    settle: Callable[[Run], None] | None = None,
    watch: Watch | None = None,
) -> nn.Module:
    """Train until ``config.steps``, or until what is held out gains no more.

    Where several processes train together (see :mod:`changen2.training.distributed`), the first writes checkpoints and
    log and looks at what is held out; all need the same ``config.out``.

    Args:
        run: a new one.
        config: the experiment.
        losses: losses of a step, ``total`` among them, and how many crops it took; it must draw them from the step's
            number alone, so that a resumed run is the same run.
        learning_rate: of a step.
        resumed: go on from the checkpoint in ``config.out``, if there is one.
        on_step: progress; may raise :class:`changen2.errors.Cancelled`, which leaves a checkpoint.
        settle: called before each step, once the model is in training mode, to hold parts of it still.
        watch: what to judge the run by; None trains to the end.

    Returns:
        The averaged model; with ``watch`` as it was when its score was best.

    Raises:
        InputError: the folder holds a run and ``resumed`` is not set, ``busy`` where another one is at work there, or
            torchrun started what does not share its work.
    """
    if distributed.started_by_torchrun() and distributed.size() == 1:
        raise InputError(
            "This training does not run as several processes.", hint="Start it without torchrun.", code="bad_value"
        )
    config.out.mkdir(parents=True, exist_ok=True)
    with alone(config.out), kept_memory():
        _go_through(run, config, losses, learning_rate, resumed, on_step, settle, watch)
        distributed.wait()
        if watch and run.best:
            run.average.load_state_dict(torch.load(config.out / BEST, map_location="cpu", weights_only=True))
    return run.average


def _go_through(
    run: Run,
    config: Settings,
    losses: Losses,
    learning_rate: Callable[[int], float],
    resumed: bool,
    on_step: OnStep | None,
    settle: Callable[[Run], None] | None,
    watch: Watch | None,
) -> None:
    checkpoint = config.out / CHECKPOINT
    if checkpoint.exists() and not resumed:
        raise InputError(
            f"{config.out} already holds a training run.",
            hint="Add --resume, or choose another `out`.",
            code="not_empty",
        )
    if checkpoint.exists():
        restore(run, checkpoint)
    distributed.wait()  # the first may write one soon
    leads = distributed.rank() == 0
    began = saved = time.monotonic()
    log = Log(config.out, run.step) if leads else None
    try:
        if watch and _is_due(run, watch, config):  # it was cancelled there
            _look(run, watch, log, config.out / BEST)
        while run.step < config.steps and not _gave_up(run, watch):
            _step(run, config, losses, learning_rate(run.step), settle)
            now = time.monotonic()
            run.seconds, began = run.seconds + now - began, now
            logged = run.step % LOG_EVERY == 0 or run.step == config.steps
            means = _mean_losses(run, log) if logged else {}
            if watch and _is_due(run, watch, config):
                _look(run, watch, log, config.out / BEST)
            if on_step:
                on_step(run.step, config.steps, means)
            if leads and now - saved > CHECKPOINT_EVERY_S:
                save(run, checkpoint)
                saved = now
    finally:
        if log:
            save(run, checkpoint)
            log.close()


def _step(run: Run, config: Settings, losses: Losses, rate: float, settle: Callable[[Run], None] | None) -> None:
    run.model.train()
    if settle:
        settle(run)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
    parts, count = losses(run)
    run.optimizer.zero_grad(set_to_none=True)
    parts["total"].backward()
    distributed.average_gradients(run.model.parameters())
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    distributed.average_norms(run.model)
    run.step += 1
    run.samples += count
    average(run, config.ema)
    for key, value in parts.items():
        run.sums[key] = run.sums.get(key, 0.0) + value.item()
    run.summed += 1


def _look(run: Run, watch: Watch, log: Log | None, best: Path) -> None:
    device = next(run.average.parameters()).device
    found = watch.score(run.average.eval()) if log else Score(0.0)
    score = Score(*(distributed.of_first(each, device) for each in found))
    if log:
        log.note(run, {"held_out": score.value})
    if run.best is None or score.value > run.best[0] - score.error:
        run.best = (max(score.value, run.best[0] if run.best else score.value), run.step)
        if log:
            _write(run.average.state_dict(), best)
    run.looked = run.step


def _is_due(run: Run, watch: Watch, config: Settings) -> bool:
    return run.looked < run.step and (run.step % watch.every == 0 or run.step == config.steps)


def _gave_up(run: Run, watch: Watch | None) -> bool:
    return watch is not None and run.best is not None and run.step - run.best[1] >= watch.patience * watch.every


def _mean_losses(run: Run, log: Log | None) -> dict[str, float]:
    """Losses since they were last told, over all processes; they begin anew."""
    device = next(run.average.parameters()).device
    sums = distributed.mean(torch.tensor(list(run.sums.values()), dtype=torch.float64, device=device)).tolist()
    means = {key: value / run.summed for key, value in zip(run.sums, sums, strict=True)}
    run.sums, run.summed = {}, 0
    if log:
        log.note(run, means)
    return means


class Log:
    """``log.jsonl``, and the same for TensorBoard where that is installed (the extra ``train``).

    Args:
        out: folder of the run.
        step: that it goes on from. What a run that was killed had told of later ones, which are done again, is dropped.
    """

    def __init__(self, out: Path, step: int) -> None:
        path = out / "log.jsonl"
        told = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in told if line.endswith("\n") and json.loads(line)["step"] <= step]
        if kept != told:
            path.with_suffix(".part").write_text("".join(kept), encoding="utf-8")
            path.with_suffix(".part").replace(path)
        self._lines = path.open("a", encoding="utf-8")
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            logger.info("TensorBoard is not installed; the losses are in %s alone.", out / "log.jsonl")
        else:
            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def note(self, run: Run, values: dict[str, float]) -> None:
        """Add what is known at a step."""
        line: dict[str, float] = {"step": run.step, "samples": run.samples, "seconds": round(run.seconds, 1)}
        line.update({key: round(value, 5) for key, value in values.items()})
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        if self._board:
            for key, value in values.items():
                self._board.add_scalar(key, value, run.step)

    def close(self) -> None:
        """Release the files."""
        self._lines.close()
        if self._board:
            self._board.close()


def warm_cosine(config: Settings) -> Callable[[int], float]:
    """Linear rise, then half a cosine down to a hundredth: for a run that ends."""

    def rate(step: int) -> float:
        if step < config.warmup:
            return config.learning_rate * (step + 1) / config.warmup
        done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
        return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    return rate


def warm_constant(config: Settings, cooldown: float = 0.0) -> Callable[[int], float]:
    """Linear rise, then level: the average of the weights is good at any time, and a run may be made longer.

    Args:
        config: the experiment.
        cooldown: share of the run, at its end, in which the rate falls linearly to zero (Hägele et al. 2024).
    """
    fall = max(1.0, cooldown * config.steps)

    def rate(step: int) -> float:
        risen = (step + 1) / max(1, config.warmup)
        return config.learning_rate * min(1.0, risen, (config.steps - step) / fall if cooldown else 1.0)

    return rate
