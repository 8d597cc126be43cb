"""From a training checkpoint to the weights that ship: half precision, one file, a card beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.training.config import TrainingConfig


def compact(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights, convolutions and matrices as fp16 and everything of one dimension as fp32.

    Norms and biases are few, and a variance in half precision can overflow; loading copies all into fp32.
    """
    return {key: (value.half() if value.dim() > 1 else value).contiguous() for key, value in model.state_dict().items()}


def export_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights, made compact."""
    save_file(compact(model), path)


def load_exported(path: Path, config: TrainingConfig) -> ChangeStarTiny:
    """The detector with exported weights."""
    model = ChangeStarTiny(config.encoder)
    model.load_state_dict(load_file(path))
    return model.eval().requires_grad_(False)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(path: Path, weights: Path, card: dict[str, Any]) -> None:
    """Write a model card with the size and digest of its weights."""
    content = {**card, "size_bytes": weights.stat().st_size, "sha256": digest(weights)}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
