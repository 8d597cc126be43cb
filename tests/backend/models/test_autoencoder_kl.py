"""The KL autoencoder equals the one in `diffusers`, and reads its files, old and new."""

import pytest
import torch

from changen2.errors import InputError
from changen2.models.autoencoder_kl import FORMER_NAMES, SCALE, AutoencoderKL
from changen2.models.published import load_published


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return AutoencoderKL().eval()


@pytest.fixture
def image():
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


def former_names(state):
    """The state dict as an older file has it: other names, and 1×1 convolutions for linear layers."""
    renamed = {}
    for name, value in state.items():
        if ".attentions." in name:
            for former, current in FORMER_NAMES.items():
                name = name.replace(current, former)
            value = value[:, :, None, None] if value.ndim == 2 else value
        renamed[name] = value
    return renamed


@torch.inference_mode()
def test_equals_diffusers(model, image):
    diffusers = pytest.importorskip("diffusers", reason="the optional package diffusers is not installed")
    theirs = diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=SCALE,
    ).eval()
    theirs.load_state_dict(model.state_dict())
    latents = theirs.encode(image).latent_dist.mean * SCALE
    assert (model.encode(image) - latents).abs().max() < 1e-5
    assert (model.decode(latents) - theirs.decode(latents / SCALE).sample).abs().max() < 1e-4


@torch.inference_mode()
def test_sizes_and_scale(model, image):
    latents = model.encode(image)
    assert latents.shape == (1, 4, 8, 12)
    assert model.decode(latents).shape == image.shape
    mean_and_variance = model.quant_conv(model.encoder(image))
    assert torch.equal(latents, mean_and_variance[:, :4] * SCALE)


@pytest.mark.parametrize("spell", [dict, former_names])
@torch.inference_mode()
def test_loads_files_old_and_new(model, image, spell):
    loaded = load_published("autoencoder-kl", spell(model.state_dict()))
    assert torch.equal(loaded.encode(image), model.encode(image))


def test_refuses_what_is_missing_by_name(model):
    state = dict(model.state_dict())
    del state["quant_conv.bias"]
    with pytest.raises(InputError, match=r"missing: quant_conv.bias"):
        load_published("autoencoder-kl", state)
