"""The registry: one name may stand for a detector and for a generator."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from changen2.errors import InputError
from changen2.models import registry, store
from changen2.models.changestar_landcover import changestar_landcover, without_encoder

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


@pytest.fixture
def sharing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A detector whose encoder lies in another detector's file."""
    torch.manual_seed(0)
    model = changestar_landcover()
    whole = {name: value.contiguous() for name, value in model.state_dict().items()}
    encoder = {name: value for name, value in whole.items() if name.startswith("encoder.")}
    for name, state, more in (("small", encoder, {}), ("cover", without_encoder(whole), {"encoder_of": "small"})):
        save_file(state, tmp_path / f"{name}.safetensors")
        card = {**CARD, "name": name, "architecture": "changestar-tiny-landcover", **more}
        card["sha256"] = store.sha256(tmp_path / f"{name}.safetensors")
        (tmp_path / f"{name}.json").write_text(json.dumps(card))
    monkeypatch.setattr(registry, "EMBEDDED", tmp_path)
    return tmp_path


def test_a_shared_encoder_is_loaded_with_the_rest(sharing: Path) -> None:
    loaded = registry.load_model(registry.card_of("cover")).state_dict()
    torch.manual_seed(0)
    wanted = changestar_landcover().state_dict()
    assert loaded.keys() == wanted.keys()
    assert all(torch.equal(loaded[name], value) for name, value in wanted.items())


def test_weights_that_are_exchanged_after_they_were_loaded_are_refused(sharing: Path) -> None:
    """As while the worker runs: a digest is kept only as long as the file is the same."""
    registry.load_model(registry.card_of("cover"))
    path = sharing / "cover.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, (1, 1))
    with pytest.raises(InputError) as caught:
        registry.load_model(registry.card_of("cover"))
    assert caught.value.code == "tampered"


@pytest.mark.parametrize("name", ["small", "cover"])
def test_both_files_are_checked(sharing: Path, name: str) -> None:
    path = sharing / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=f"{name}.safetensors are not the ones the card names"):
        registry.load_model(registry.card_of("cover"))
