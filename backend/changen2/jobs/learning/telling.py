"""What a training run tells: its steps, and what has come of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from changen2.jobs.runs.progress import Reporter
from changen2.training.export import digest
from changen2.training.run import CHECKPOINT, OnStep

logger = logging.getLogger(__name__)


def teller(reporter: Reporter, losses: dict[str, float], leads: bool = True) -> OnStep:
    """Report steps and keep the losses; of several processes the one that leads logs them."""

    def tell(step: int, steps: int, means: dict[str, float]) -> None:
        losses.update(means)
        if means and leads:
            logger.info("step %d of %d: %s", step, steps, " ".join(f"{k} {v:.4f}" for k, v in means.items()))
        reporter.step("train", step, steps)

    return tell


def outcome(out: Path, weights: Path, steps: int, losses: dict[str, float]) -> dict[str, Any]:
    """The files of a run in the folder ``out``, how long it was and its last losses."""
    return {
        "weights": str(weights),
        "sha256": digest(weights),
        "checkpoint": str(out / CHECKPOINT),
        "log": str(out / "log.jsonl"),
        "steps": steps,
        "losses": losses,
    }
