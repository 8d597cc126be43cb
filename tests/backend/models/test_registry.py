"""The registry: one name may stand for a detector and for a generator."""

import json
from pathlib import Path

import pytest

from changen2.errors import InputError
from changen2.models import registry

CARD = {
    "name": "small",
    "architecture": "none",
    "title": "Small",
    "gsd_min": 0.2,
    "gsd_max": 0.6,
    "gsd_native": 0.3,
    "licence": "CC0-1.0",
    "sha256": "0" * 64,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cards = {"small": CARD, "generator-small": {**CARD, "task": "synthesize", "weights": "generator-small.safetensors"}}
    for stem, card in cards.items():
        (tmp_path / f"{stem}.json").write_text(json.dumps(card))
    monkeypatch.setattr(registry, "EMBEDDED", tmp_path)
    return tmp_path


def test_a_name_is_resolved_for_its_task(folder: Path) -> None:
    assert set(registry.cards()) == {("detect", "small"), ("synthesize", "small")}
    assert registry.card_of("small").task == "detect"
    assert registry.card_of("small", "synthesize").task == "synthesize"


def test_weights_lie_beside_their_card(folder: Path) -> None:
    assert registry.weights_path(registry.card_of("small")) == folder / "small.safetensors"
    assert registry.weights_path(registry.card_of("small", "synthesize")) == folder / "generator-small.safetensors"


def test_a_model_of_another_task_is_unknown(folder: Path) -> None:
    (folder / "generator-small.json").unlink()
    with pytest.raises(InputError, match="no model 'small' to synthesize with; known: none"):
        registry.card_of("small", "synthesize")
