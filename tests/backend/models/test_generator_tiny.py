"""The embedded generator's networks: local latents, any size, nothing seen of what is cut out."""

from pathlib import Path

import pytest
import torch

from changen2.errors import InputError
from changen2.models.autoencoder_tiny import REACH, STRIDE, AutoencoderTiny
from changen2.models.generator_tiny import TinyGenerator
from changen2.models.rsdit_tiny import NUM_CLASSES, PlainAttention, RSDiTTiny, RSDiTTinyConfig
from changen2.training.export import export_weights

BYTES_LIMIT = 10.5e6


def _awake(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The model with no parameter at zero, so that every path carries something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def autoencoder() -> AutoencoderTiny:
    return _awake(AutoencoderTiny())


@pytest.fixture(scope="module")
def rsdit() -> RSDiTTiny:
    return _awake(RSDiTTiny(RSDiTTinyConfig(depth=4, hidden=48, heads=3, mlp_width=64)))


def _inputs(h: int, w: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(h * w)
    mask = torch.zeros(1, 1, h, w)
    mask[..., h // 4 : h // 2, w // 4 : w // 2] = 1
    return {
        "x": torch.randn(1, 4, h, w, generator=generator),
        "t": torch.tensor([500]),
        "context": torch.randn(1, 4, h, w, generator=generator),
        "mask": mask,
        "labels": torch.randint(0, NUM_CLASSES, (1, 4 * h, 4 * w), generator=generator),
    }


def _predict(rsdit: RSDiTTiny, given: dict[str, torch.Tensor]) -> torch.Tensor:
    embedding = rsdit.embed_labels(given["labels"], torch.tensor([0.3]))
    return rsdit(given["x"], given["t"], embedding, given["context"], given["mask"])


@torch.inference_mode()
def test_a_latent_depends_on_nothing_beyond_its_reach(autoencoder: AutoencoderTiny) -> None:
    image = torch.rand(1, 3, 96, 96) * 2 - 1
    other = image.clone()
    other[..., :, :40] = 0
    first_untouched = (40 + REACH) // STRIDE
    a, b = autoencoder.encode(image), autoencoder.encode(other)
    assert torch.equal(a[..., first_untouched:], b[..., first_untouched:])
    assert not torch.equal(a[..., : first_untouched - 3], b[..., : first_untouched - 3])


def test_latents_are_standardised_in_training() -> None:
    torch.manual_seed(0)
    autoencoder = AutoencoderTiny().train()
    images = torch.rand(4, 3, 64, 64) * 0.3
    latents = autoencoder.encode(images)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-4
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.02
    assert not torch.equal(autoencoder(images), autoencoder(images)), "training adds latent noise"


@pytest.mark.parametrize(("h", "w"), [(16, 16), (32, 24), (17, 21)])
@torch.inference_mode()
def test_any_size(rsdit: RSDiTTiny, h: int, w: int) -> None:
    assert _predict(rsdit, _inputs(h, w)).shape == (1, 4, h, w)


@torch.inference_mode()
def test_what_is_cut_out_is_not_seen(rsdit: RSDiTTiny) -> None:
    given = _inputs(16, 16)
    hidden = {**given, "context": torch.where(given["mask"] == 1, 7.0, given["context"])}
    shown = {**given, "context": torch.where(given["mask"] == 0, 7.0, given["context"])}
    expected = _predict(rsdit, given)
    assert torch.equal(_predict(rsdit, hidden), expected)
    assert not torch.allclose(_predict(rsdit, shown), expected)


@torch.inference_mode()
def test_labels_scale_and_mask_matter(rsdit: RSDiTTiny) -> None:
    given = _inputs(16, 16)
    expected = _predict(rsdit, given)
    relabelled = given["labels"].clone()
    relabelled[0, 0, 0] = (relabelled[0, 0, 0] + 1) % NUM_CLASSES
    assert not torch.allclose(_predict(rsdit, {**given, "labels": relabelled}), expected)
    assert not torch.allclose(_predict(rsdit, {**given, "mask": 1 - given["mask"]}), expected)
    coarser = rsdit.embed_labels(given["labels"], torch.tensor([0.6]))
    assert not torch.allclose(rsdit(given["x"], given["t"], coarser, given["context"], given["mask"]), expected)


def test_attention_is_the_same_in_training(rsdit: RSDiTTiny) -> None:
    given = _inputs(32, 32)
    expected = _predict(rsdit, given)
    try:
        torch.testing.assert_close(_predict(rsdit.train(), given), expected, rtol=1e-3, atol=1e-4)
    finally:
        rsdit.eval()


@pytest.mark.parametrize("sets", [1, 70])
@pytest.mark.parametrize("tokens", [64, 1000])
def test_attention_by_plain_products_is_the_fused_one(sets: int, tokens: int) -> None:
    attention = PlainAttention(48, 3, None).eval()
    qkv = torch.randn(sets, tokens, 3 * 48, generator=torch.Generator().manual_seed(sets + tokens)).bfloat16()
    expected = attention.attend(qkv.float())  # single precision goes the fused way
    found = attention.attend(qkv)
    torch.testing.assert_close(found.float(), expected, rtol=2**-6, atol=2**-6)
    assert torch.equal(found[-1:], attention.attend(qkv[-1:]))  # whatever is in the batch


def test_a_fresh_denoiser_predicts_nothing() -> None:
    assert not _predict(RSDiTTiny(RSDiTTinyConfig(depth=2, hidden=48, heads=3)), _inputs(16, 16)).any()


def test_bad_labels_are_refused(rsdit: RSDiTTiny) -> None:
    with pytest.raises(InputError, match=f"class {NUM_CLASSES}"):
        rsdit.embed_labels(torch.full((1, 64, 64), NUM_CLASSES), torch.tensor([0.3]))
    given = _inputs(16, 16)
    with pytest.raises(InputError, match="tokens") as refused:
        _predict(rsdit, {**given, "labels": given["labels"][:, :32]})
    assert "64 by 64" in refused.value.hint


@torch.inference_mode()
def test_the_generator_as_the_job_sees_it(tmp_path: Path) -> None:
    generator = TinyGenerator().eval()
    rgb = torch.rand(2, 3, 64, 96) * 255
    latents = generator.encode(rgb)
    assert latents.shape == (2, generator.latent_channels, 64 // generator.latent_stride, 96 // generator.latent_stride)
    decoded = generator.decode(latents)
    assert decoded.shape == rgb.shape
    assert decoded.min() >= 0 and decoded.max() <= 255
    embedding = generator.embed_labels(torch.zeros(2, 64, 96, dtype=torch.int64), torch.tensor([0.3, 0.5]))
    mask = torch.ones(2, 1, 16, 24)
    assert generator.denoise(latents, torch.tensor([3, 999]), embedding, latents, mask).shape == latents.shape
    export_weights(generator, tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size <= BYTES_LIMIT
