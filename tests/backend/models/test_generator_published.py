"""The published generator, as the synthesis job uses it."""

import pytest
import torch

from changen2.errors import InputError
from changen2.models import registry, store
from changen2.models.autoencoder_kl import AutoencoderKL
from changen2.models.generator_published import PublishedGenerator
from changen2.models.rsdit import RSDIT_SIZES, RSDiT, RSDiTConfig


class Halves(torch.nn.Module):
    """Stands for the autoencoder: latents are colours at an eighth of the size."""

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (0, 0, 0, 0, 0, 1)), 8)

    def decode(self, z):
        return torch.nn.functional.interpolate(z[:, :3], scale_factor=8)


def generator(labels):
    torch.manual_seed(0)
    return PublishedGenerator(Halves(), RSDiT(RSDiTConfig(1, 16, 2, labels)).eval())


@torch.inference_mode()
def test_colours_go_in_and_out():
    model = generator(1)
    rgb = torch.full((1, 3, 16, 24), 200.0)
    latents = model.encode(rgb)
    assert latents.shape == (1, 4, 2, 3) and torch.allclose(model.decode(latents), rgb, atol=1e-3)


@torch.inference_mode()
def test_denoising_equals_the_network_on_one_hot_labels():
    model = generator(3)
    labels = torch.randint(0, 3, (1, 32, 48))
    x, t = torch.randn(1, 4, 4, 6), torch.tensor([17])
    embedding = model.embed_labels(labels, torch.tensor([0.5]))
    y = torch.stack([labels == index for index in range(3)], dim=1).float()
    out = model.denoise(x, t, embedding, torch.zeros_like(x), torch.ones(1, 1, 4, 6))
    assert torch.allclose(out, model.rsdit(x, t, y), atol=1e-6)


def test_one_label_channel_takes_the_number_and_more_refuse_what_they_do_not_know():
    assert generator(1).num_classes == 2
    with torch.inference_mode():
        assert generator(1).embed_labels(torch.ones(1, 16, 16), torch.tensor([0.5])).shape == (1, 1, 1, 16)
    with pytest.raises(InputError, match="Class 3; this generator knows 0 to 2"):
        generator(3).embed_labels(torch.full((1, 16, 16), 3), torch.tensor([0.5]))


def test_it_knows_no_guidance_by_labels():
    with pytest.raises(InputError, match="not trained for label guidance"):
        generator(3).embed_labels(torch.zeros(1, 16, 16), torch.tensor([0.5]), torch.zeros(1))


def test_it_is_put_together_from_what_is_installed(tmp_path, models_folder, monkeypatch):
    monkeypatch.setitem(RSDIT_SIZES, "b2", RSDiTConfig(depth=1, hidden=16, heads=2))
    with pytest.raises(InputError) as caught:
        registry.card_of("rsdit-b2-oem", "synthesize")
    assert caught.value.code == "not_installed"
    store.give_consent(store.published("rsdit-b2-oem").card)
    torch.save(RSDiT(RSDIT_SIZES["b2"]).state_dict(), tmp_path / "published.pth")
    store.install("rsdit-b2-oem", tmp_path / "published.pth", "test")
    card = registry.card_of("rsdit-b2-oem", "synthesize")
    with pytest.raises(InputError, match="autoencoder-kl is not installed"):
        registry.load_model(card)
    torch.save(AutoencoderKL().state_dict(), tmp_path / "autoencoder.pth")
    store.install("autoencoder-kl", tmp_path / "autoencoder.pth", "test")
    assert isinstance(registry.load_model(card), PublishedGenerator)
    assert ("synthesize", "autoencoder-kl") not in registry.cards()  # a part of others, nothing to choose by itself
