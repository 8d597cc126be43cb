"""Exported weights: half the size, the same detector."""

import json
from pathlib import Path

import torch

from changen2.models.changestar_tiny import changestar_tiny
from changen2.training.config import TrainingConfig
from changen2.training.export import digest, export_weights, load_exported, write_card


def test_half_precision_detects_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = changestar_tiny().eval()
    path = tmp_path / "weights.safetensors"
    export_weights(model, path)
    config = TrainingConfig.model_validate(
        {"data": "d", "out": "o", "encoder_weights": "w", "sources": {"a": 1}, "kinds": {"none": 1}}
    )
    loaded = load_exported(path, config)
    before, after = torch.randn(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(loaded(before, after).change, model(before, after).change, rtol=0, atol=2e-3)
    assert path.stat().st_size < 0.6 * sum(4 * value.numel() for value in model.state_dict().values())


def test_card_carries_the_digest_of_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    write_card(tmp_path / "card.json", weights, {"name": "x"})
    card = json.loads((tmp_path / "card.json").read_text())
    assert card == {"name": "x", "size_bytes": 7, "sha256": digest(weights)}
