"""What moves the weights: AdamW, or Muon where a weight is a matrix that maps tokens to tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from changen2.errors import InputError
from changen2.training.generator.config import RunConfig

BETAS = (0.9, 0.99)

ParamGroups = list[dict[str, Any]]


class MuonAndAdamW:
    """Muon (Jordan et al. 2024) for matrices, AdamW for kernels, vectors and the rest, as one optimizer.

    Muon's steps are scaled to the size of AdamW's (Liu et al. 2025), so that one learning rate serves both.
    """

    def __init__(self, matrices: list[nn.Parameter], others: ParamGroups, config: RunConfig) -> None:
        rate, decay = config.learning_rate, config.weight_decay
        self._parts: dict[str, torch.optim.Optimizer] = {
            "muon": torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
            "adamw": torch.optim.AdamW(others, lr=rate, betas=BETAS),
        }

    @property
    def param_groups(self) -> ParamGroups:
        """Those of both, to set their learning rate."""
        return [group for part in self._parts.values() for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self._parts.values():
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """Move the weights."""
        for part in self._parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of both by name."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


Optimizer = torch.optim.Optimizer | MuonAndAdamW


def make_optimizer(model: nn.Module, config: RunConfig) -> Optimizer:
    """The configured optimizer of a model's weights; those of one dimension are not decayed.

    Raises:
        InputError: Muon is wanted and this torch has none.
    """
    weights = list(model.parameters())
    plain = {"params": [value for value in weights if value.dim() <= 1], "weight_decay": 0.0}
    if config.optimizer == "adamw":
        decayed = {"params": [value for value in weights if value.dim() > 1], "weight_decay": config.weight_decay}
        return torch.optim.AdamW([decayed, plain], lr=config.learning_rate, betas=BETAS)
    if not hasattr(torch.optim, "Muon"):
        raise InputError(
            f"Torch {torch.__version__} has no Muon optimizer.",
            hint="Install torch 2.9 or newer, or set `optimizer: adamw`.",
            code="bad_value",
        )
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    matrices = [value for value in weights if id(value) in linear]
    kernels = [value for value in weights if value.dim() > 1 and id(value) not in linear]
    return MuonAndAdamW(matrices, [{"params": kernels, "weight_decay": config.weight_decay}, plain], config)
