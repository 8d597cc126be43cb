"""Train a detector from one configuration file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from changen2.errors import InputError
from changen2.jobs.learning.register import held_out_note, register, require_free
from changen2.jobs.learning.telling import outcome, teller
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.models import store
from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.training import landcover_train
from changen2.training.calibrate import honest_bias, measure_calibration, shift_bias
from changen2.training.config import TrainingConfig, load_config
from changen2.training.distributed import Team, team
from changen2.training.export import export_weights
from changen2.training.held_out import held_out_pairs, score
from changen2.training.loop import read_imagery, train
from changen2.training.pairs import Pair
from changen2.training.places import BUILDING
from changen2.training.run import Score, Watch

logger = logging.getLogger(__name__)

BUILDINGS, LANDCOVER, ANYTHING = "buildings", "landcover", "anything"
COMMANDS = {BUILDINGS: "changestar", LANDCOVER: "landcover", ANYTHING: "anything"}
"""Subcommand of ``changen2 train`` by network."""

NOT_CALIBRATED: dict[str, Any] = {"bias_from_calibration": None, "calibration": None}


@dataclass(frozen=True)
class Naming:
    """Under which name a detector joins the installed models; refused at once where it cannot.

    Attributes:
        name: None where it does not join them.
        overwrite: it may replace an earlier one.
    """

    name: str | None
    overwrite: bool

    def __post_init__(self) -> None:
        if self.name is not None:
            require_free(self.name, self.overwrite)


def train_changestar(
    config: str | Path,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train the small detector and export its averaged weights.

    ``torchrun --nproc-per-node 2 -m changen2 train changestar --config FILE`` trains it with several processes, on one
    GPU each or on CPUs; the first of them exports and returns all that is told below, the others ``steps`` alone.

    Args:
        config: a YAML file, see :class:`changen2.training.config.TrainingConfig`.
        resume: go on from the checkpoint in the configured folder.
        on_progress: told of every step, stage ``train``.
        is_cancelled: asked there too, and at every image that is read and every held-out pair that is made or looked
            at; a run that is cancelled once it trains leaves a checkpoint to resume from.
        name: adds the detector to the installed models; a run that has ended is added by resuming it with a name.
        overwrite: replace an installed model of that name.

    Returns:
        ``weights``, ``log`` and ``checkpoint`` (paths), ``sha256``, ``steps``, ``losses`` (the last logged),
        ``bias_from_calibration`` (already in the weights, makes 0.5 the natural threshold) and the ``calibration``
        with it, for the model card, ``held_out_f1`` at 0.5, ``held_out_pairs`` and ``held_out_note``; these five are
        None where nothing is held out. ``model`` is the name where one was given, and ``model_weights`` their path.

    Raises:
        InputError: the configuration, its data or the encoder's weights do not serve, or the name is taken.
        Cancelled: where the caller asked for it.
    """
    settings, given = _read(config, BUILDINGS), Naming(name, overwrite)
    with team() as here:
        return _train_changestar(settings, given, here, resume, Reporter(on_progress, is_cancelled))


def train_landcover(
    config: str | Path,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train the small detector of land cover, in one process, and export its decoder and heads.

    Args, Returns, Raises:
        As :func:`train_changestar`; the configuration's ``network`` is ``landcover``, and its sources, kinds of pairs
        and folders of pairs mean those of land cover (:mod:`changen2.training.landcover`).
    """
    return _train_classes(
        _read(config, LANDCOVER), Naming(name, overwrite), resume, Reporter(on_progress, is_cancelled)
    )


def train_anything(
    config: str | Path,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train the small detector of any change, in one process, and export its decoder and heads.

    Args, Returns, Raises:
        As :func:`train_landcover`, but that the configuration's ``network`` is ``anything``, and kinds of pairs those
        of :mod:`changen2.training.anything_pairs`.
    """
    return _train_classes(_read(config, ANYTHING), Naming(name, overwrite), resume, Reporter(on_progress, is_cancelled))


def _train_classes(settings: TrainingConfig, given: Naming, resume: bool, reporter: Reporter) -> dict[str, Any]:
    """Train a detector that tells land cover."""
    losses: dict[str, float] = {}
    tell = teller(reporter, losses)
    imagery = landcover_train.read_imagery(settings, reporter.check)
    pairs = landcover_train.held_out_pairs(imagery, settings, reporter.check)
    watch = Watch(lambda model: Score(score(model, pairs)), settings.look_every, settings.patience)
    known = _hold_change(pairs)
    model = landcover_train.train(settings, imagery, resume, tell, watch if settings.look_every and known else None)
    calibrated = landcover_train.calibrate(model, pairs) if known else NOT_CALIBRATED
    weights = settings.out / "weights.safetensors"
    landcover_train.export(model, weights)
    return _end(settings, given, model, pairs, {**outcome(settings.out, weights, settings.steps, losses), **calibrated})


def _read(path: str | Path, network: str) -> TrainingConfig:
    config = load_config(Path(path))
    if config.network != network:
        raise InputError(
            f"{path} is the configuration of a {config.network} network, not of a {network} network.",
            hint=f"Write `network: {network}` in it, or run changen2 train {COMMANDS[config.network]}.",
            code="bad_value",
        )
    return config


def _end(
    config: TrainingConfig, given: Naming, model: nn.Module, pairs: Sequence[Pair], result: dict[str, Any]
) -> dict[str, Any]:
    """Add to a result how good the detector is and, where it was given a name, add it to the installed models."""
    known = result["calibration"] is not None
    measured: dict[str, Any] = {
        "held_out_f1": round(score(model, pairs), 3) if known else None,
        "held_out_pairs": len(pairs) if known else None,
        "held_out_note": held_out_note(config) if known else None,
    }
    result = {**result, **measured, "model": None, "model_weights": None}
    if given.name is None:
        return result
    card = register(given.name, model, config, result, given.overwrite)
    return {**result, "model": card.name, "model_weights": str(store.weights_file(card.name))}


def _train_changestar(
    config: TrainingConfig, given: Naming, here: Team, resume: bool, reporter: Reporter
) -> dict[str, Any]:
    losses: dict[str, float] = {}
    tell = teller(reporter, losses, here.rank == 0)
    imagery = read_imagery(config, reporter.check)
    pairs = held_out_pairs(imagery, config, check=reporter.check)
    watch = Watch(lambda model: Score(score(model, pairs)), config.look_every, config.patience)
    known = _hold_change(pairs)
    watched = watch if config.look_every and known else None
    model = train(config, imagery, resume, tell, watched, here.device).eval()
    if here.rank > 0:
        return {"steps": config.steps}
    weights = config.out / "weights.safetensors"
    calibrated = _calibrate(model, pairs, reporter) if known else NOT_CALIBRATED
    export_weights(model, weights)
    return _end(config, given, model, pairs, {**outcome(config.out, weights, config.steps, losses), **calibrated})


def _hold_change(pairs: Sequence[Pair]) -> bool:
    """Whether a detector can be judged by pairs; says so where not."""
    if any((pair.change == BUILDING).any() for pair in pairs):
        return True
    logger.warning("Nothing with change is held out: the detector is not calibrated, and trains to its last step.")
    return False


def _calibrate(model: ChangeStarTiny, pairs: Sequence[Pair], reporter: Reporter) -> dict[str, Any]:
    """Make 0.5 mean one half on held-out pairs, and tell how reliable the probabilities then are."""
    reporter.step("calibrate", 0, 1)
    bias = honest_bias(model, pairs)
    shift_bias(model, bias)
    measured = measure_calibration(model, pairs)
    reporter.step("calibrate", 1, 1)
    # The bias has just made 0.5 the right threshold: the scaling leaves it there.
    return {"bias_from_calibration": bias, "calibration": measured}
