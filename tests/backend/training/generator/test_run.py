"""What the generator's runs weigh and how, and the weights that they leave."""

from pathlib import Path

import pytest
import torch

from changen2.diffusion.schedules import cosine_schedule
from changen2.errors import InputError
from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.training.config import read_config
from changen2.training.export import export_weights
from changen2.training.generator import autoencoder, rsdit, run
from changen2.training.generator.config import CropsConfig, RSDiTConfig, RunConfig


def test_timestep_weights() -> None:
    schedule = cosine_schedule()
    weights = rsdit.timestep_weights(schedule, torch.arange(1000), least_snr=0.0, min_snr=5.0)
    assert weights.mean() == pytest.approx(1, abs=1e-3)
    assert weights[0] < weights[300] and weights[999] < weights[300], "neither end is worth much"
    lifted = rsdit.timestep_weights(schedule, torch.arange(1000), least_snr=0.25, min_snr=5.0)
    assert lifted[999] > 100 * weights[999], "but the noisy end is where large forms are decided"


def test_large_crops_come_at_the_end(tmp_path: Path) -> None:
    crops = CropsConfig(data=tmp_path, out=tmp_path, sources={})
    config = RSDiTConfig(crops=crops, out=tmp_path, autoencoder=tmp_path, steps=100)
    assert rsdit.crop_size_at(config, 79) == (128, 32)
    assert rsdit.crop_size_at(config, 80) == (256, 8)


def test_gradient_loss_sees_edges_and_no_offsets() -> None:
    image = torch.rand(1, 3, 16, 16)
    assert autoencoder.gradient_loss(image + 0.3, image) < 1e-6
    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    assert autoencoder.gradient_loss(blurred, image) > 0.1


def test_weights_are_kept_in_half_precision(tmp_path: Path) -> None:
    model = AutoencoderTiny()
    export_weights(model, tmp_path / "weights.safetensors")
    loaded = AutoencoderTiny()
    run.load_weights(loaded, tmp_path / "weights.safetensors")
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    with pytest.raises(InputError, match="no weights"):
        run.load_weights(loaded, tmp_path / "absent.safetensors")


def test_bad_configurations_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    with pytest.raises(InputError, match="cannot be read"):
        read_config(path, RunConfig)
    path.write_text("steps: none\n")
    with pytest.raises(InputError, match="not valid"):
        read_config(path, RunConfig)
