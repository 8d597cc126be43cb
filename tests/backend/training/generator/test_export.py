"""What ships of the generator: weights that load again, and a card that says where they are from."""

from pathlib import Path

import torch

from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.models.card import ModelCard
from changen2.models.generator_tiny import TinyGenerator
from changen2.models.rsdit_tiny import RSDiTTiny
from changen2.training.export import digest, export_weights
from changen2.training.generator.export import export_generator
from changen2.training.generator.run import load_weights


def test_weights_and_card_belong_together(tmp_path: Path) -> None:
    torch.manual_seed(0)
    export_weights(AutoencoderTiny(), tmp_path / "autoencoder.safetensors")
    state = {"average": RSDiTTiny().state_dict(), "step": 30, "samples": 960, "seconds": 7200.0}
    torch.save(state, tmp_path / "checkpoint.pt")
    weights = tmp_path / "generator-tiny.safetensors"
    export_generator(tmp_path / "autoencoder.safetensors", tmp_path / "checkpoint.pt", weights)

    card = ModelCard.model_validate_json((tmp_path / "generator-tiny.json").read_text(encoding="utf-8"))
    assert (card.task, card.weights, card.sha256) == ("synthesize", weights.name, digest(weights))
    assert card.model_extra is not None
    assert card.model_extra["training"]["last_round"]["samples"] == 960
    assert [known.index for known in card.classes] == list(range(TinyGenerator().num_classes))
    loaded = TinyGenerator()
    load_weights(loaded, weights)
    for key, value in state["average"].items():
        torch.testing.assert_close(loaded.state_dict()[f"rsdit.{key}"], value, rtol=1e-3, atol=1e-4)
