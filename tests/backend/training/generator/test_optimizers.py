"""Both optimizers learn, and go on from their state as if never stopped."""

from pathlib import Path

import pytest
import torch
from torch import nn

from changen2.errors import InputError
from changen2.training.generator.config import CropsConfig, RunConfig
from changen2.training.generator.optimizers import make_optimizer


def _config(optimizer: str) -> RunConfig:
    crops = CropsConfig(data=Path(), out=Path(), sources={})
    return RunConfig(crops=crops, out=Path(), optimizer=optimizer, learning_rate=0.02)  # type: ignore[arg-type]


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 1))


def _learn(model: nn.Module, optimizer: object, steps: range) -> list[float]:
    losses = []
    for step in steps:
        x = torch.randn(32, 3, 1, 1, generator=torch.Generator().manual_seed(step))
        loss = (model(x)[:, 0] - x.sum((1, 2, 3))).square().mean()
        optimizer.zero_grad(set_to_none=True)  # type: ignore[attr-defined]
        loss.backward()
        optimizer.step()  # type: ignore[attr-defined]
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_learns_and_goes_on_from_its_state(name: str, tmp_path: Path) -> None:
    model = _model()
    optimizer = make_optimizer(model, _config(name))
    losses = _learn(model, optimizer, range(40))
    assert losses[-1] < losses[0] / 4
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    expected = _learn(model, optimizer, range(40, 44))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    other = _model()
    resumed = make_optimizer(other, _config(name))
    other.load_state_dict(state["model"])
    resumed.load_state_dict(state["optimizer"])
    assert _learn(other, resumed, range(40, 44)) == expected


def test_every_weight_is_moved_once() -> None:
    model = _model()
    optimizer = make_optimizer(model, _config("muon"))
    moved = [id(value) for group in optimizer.param_groups for value in group["params"]]
    assert sorted(moved) == sorted(id(value) for value in model.parameters())


def test_an_older_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(InputError, match="no Muon"):
        make_optimizer(_model(), _config("muon"))
