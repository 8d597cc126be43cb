"""How a training run of the generator's networks starts, and their weights."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from changen2.errors import InputError
from changen2.training.generator.config import RunConfig
from changen2.training.generator.optimizers import make_optimizer
from changen2.training.run import Run


def start(model: nn.Module, config: RunConfig) -> Run:
    """A new run of a model."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(model, config)
    return Run(model, copy.deepcopy(model).eval().requires_grad_(False), optimizer)


def load_weights(model: nn.Module, path: Path, prefix: str = "") -> None:
    """Load what ``export_weights`` wrote; of a larger model the part whose names begin with ``prefix``.

    Raises:
        InputError: there is no such file.
    """
    if not path.exists():
        raise InputError(
            f"There are no weights {path}.",
            hint="Train them first: `changen2 train`.",
            code="missing_file",
        )
    weights = load_file(path)
    model.load_state_dict({name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)})
