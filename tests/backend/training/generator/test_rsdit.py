"""What the denoiser's run is told, where it starts and how it ends."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from changen2.diffusion.schedules import cosine_schedule
from changen2.models.generator_tiny import TinyGenerator
from changen2.training.generator.config import CropsConfig, RSDiTConfig
from changen2.training.generator.crops import CropStore, save_array
from changen2.training.generator.rsdit import draw_batch, train_rsdit
from changen2.training.run import warm_constant


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    crops = tmp_path / "crops"
    crops.mkdir()
    save_array(crops / "images-0000000.npy", rng.integers(0, 255, (2, 3, 64, 64), dtype=np.uint8))
    save_array(crops / "labels-0000000.npy", rng.integers(0, 6, (2, 64, 64), dtype=np.uint8))
    save_array(crops / "gsd-0000000.npy", np.full(2, 0.3, np.float32))
    save_array(crops / "latents-0000000.npy", rng.standard_normal((2, 4, 16, 16)).astype(np.float16))

    def make(**options):
        return RSDiTConfig(
            crops=CropsConfig(data=tmp_path, out=crops, sources={}, size=64),
            out=tmp_path / "run",
            autoencoder=tmp_path / "autoencoder.safetensors",
            crop_size=32,
            large_crop_size=64,
            **options,
        )

    return make


def test_labels_are_kept_from_some_samples(config):
    settings = config(batch_size=32, untold_share=0.25)
    store = CropStore(settings.crops.out, latents=True)
    told = torch.cat([draw_batch(store, settings, cosine_schedule(), step).told for step in range(20)])
    assert told.float().mean().item() == pytest.approx(0.75, abs=0.06)
    assert draw_batch(store, config(untold_share=0), cosine_schedule(), 0).told.all()


def test_a_run_goes_on_from_an_earlier_generator(config, tmp_path):
    earlier = TinyGenerator()
    torch.nn.init.normal_(earlier.rsdit.final_layer.linear.weight)
    save_file(earlier.state_dict(), tmp_path / "earlier.safetensors")
    settings = config(steps=1, batch_size=2, learning_rate=1e-9, threads=1, start_from=tmp_path / "earlier.safetensors")
    trained = train_rsdit(settings)
    assert torch.allclose(trained.final_layer.linear.weight, earlier.rsdit.final_layer.linear.weight, atol=1e-6)


def test_the_rate_falls_to_nothing_at_the_end(config):
    settings = config(steps=100, warmup=10, learning_rate=1.0)
    rate, level = warm_constant(settings, 0.2), warm_constant(settings)
    assert rate(0) == pytest.approx(0.1) and rate(9) == rate(50) == rate(80) == 1
    assert rate(90) == pytest.approx(0.5) and rate(99) == pytest.approx(0.05)
    assert level(99) == 1
