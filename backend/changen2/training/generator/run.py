"""How a training run of the generator's networks starts, and their weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from changen2.errors import InputError
from changen2.models.devices import channels_last
from changen2.training.export import digest
from changen2.training.generator.config import RunConfig
from changen2.training.generator.optimizers import make_optimizer
from changen2.training.run import CHECKPOINT, Run

AUTOENCODER = "autoencoder.json"
"""In the folder of a denoiser's run: the digest of the autoencoder that it began with."""


def start(model: nn.Module, config: RunConfig) -> Run:
    """A new run of a model."""
    channels_last(model)
    optimizer = make_optimizer(model, config)
    return Run(model, copy.deepcopy(model).eval().requires_grad_(False), optimizer)


def keep_autoencoder(out: Path, weights: Path) -> None:
    """Note which autoencoder a denoiser's run is for, and refuse to go on with another.

    Args:
        out: folder of the run.
        weights: the autoencoder's.

    Raises:
        InputError: there are no such weights; ``other_autoencoder``: the run began with others.
    """
    path, mine = out / AUTOENCODER, digest(_there(weights))
    if path.exists() and (out / CHECKPOINT).exists():
        known = json.loads(path.read_text(encoding="utf-8"))["sha256"]
        if known != mine:
            raise InputError(
                f"The run in {out} began with another autoencoder, {known[:12]}…; {weights} is {mine[:12]}….",
                hint="Go on with that one, or start anew in another folder (out).",
                code="other_autoencoder",
            )
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"sha256": mine}) + "\n", encoding="utf-8")


def load_weights(model: nn.Module, path: Path, prefix: str = "") -> None:
    """Load what ``export_weights`` wrote; of a larger model the part whose names begin with ``prefix``.

    Raises:
        InputError: there is no such file.
    """
    weights = load_file(_there(path))
    model.load_state_dict({name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)})


def _there(path: Path) -> Path:
    if not path.exists():
        raise InputError(
            f"There are no weights {path}.",
            hint="Train them first: `changen2 train`.",
            code="missing_file",
        )
    return path
