"""Train a model from one configuration file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from changen2.jobs.progress import IsCancelled, OnProgress, Reporter
from changen2.training.config import load_config
from changen2.training.export import averaged_model, digest, export_weights
from changen2.training.loop import read_imagery, train
from changen2.training.run import CHECKPOINT

logger = logging.getLogger(__name__)


def train_changestar(
    config_path: str | Path,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
) -> dict[str, Any]:
    """Train the small detector and export its averaged weights.

    Args:
        config_path: a YAML file, see :class:`changen2.training.config.TrainingConfig`.
        resume: go on from the checkpoint in the configured folder.
        on_progress: told of every step, stage ``train``.
        is_cancelled: asked there too; a cancelled run leaves a checkpoint to resume from.

    Returns:
        ``weights``, ``log`` and ``checkpoint`` (paths), ``sha256``, ``steps`` and ``losses`` (the last logged).

    Raises:
        InputError: the configuration, its data or the encoder's weights do not serve.
        Cancelled: where the caller asked for it.
    """
    config = load_config(Path(config_path))
    reporter = Reporter(on_progress, is_cancelled)
    losses: dict[str, float] = {}

    def tell(step: int, steps: int, means: dict[str, float]) -> None:
        if means:
            losses.update(means)
            logger.info("step %d of %d: %s", step, steps, " ".join(f"{k} {v:.4f}" for k, v in means.items()))
        reporter.step("train", step, steps)

    train(config, read_imagery(config), resume, tell)
    checkpoint, weights = config.out / CHECKPOINT, config.out / "weights.safetensors"
    export_weights(averaged_model(checkpoint, config), weights)
    return {
        "weights": str(weights),
        "sha256": digest(weights),
        "checkpoint": str(checkpoint),
        "log": str(config.out / "log.jsonl"),
        "steps": config.steps,
        "losses": losses,
    }
