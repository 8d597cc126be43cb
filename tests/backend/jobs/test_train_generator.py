"""Training the generator from a configuration to weights, in miniature."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from changen2.errors import Cancelled, InputError
from changen2.jobs.train_generator import train_autoencoder, train_rsdit
from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.models.generator_tiny import TinyGenerator
from changen2.training.config import read_config
from changen2.training.export import export_weights
from changen2.training.generator.config import AutoencoderConfig, RSDiTConfig
from changen2.training.generator.run import load_weights

CONFIGS = Path(__file__).parents[3] / "backend" / "changen2" / "training" / "configs"


def _config(folder: Path, name: str, **settings: object) -> Path:
    crops = {"data": str(folder), "out": str(folder / "crops"), "sources": {"scenes": 1.0}}
    crops |= {"count": 3, "size": 64, "scene_count": 1, "scene_size": 96}
    path = folder / f"{name}.yaml"
    small = {"crops": crops, "out": str(folder / name), "batch_size": 2, "crop_size": 32, "threads": 1, "steps": 2}
    path.write_text(yaml.safe_dump({**small, **settings}))
    return path


def test_from_configuration_to_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(EfficientNetLite("lite0").state_dict(), tmp_path / "lite0.pth")
    stages: list[str] = []
    first = train_autoencoder(
        _config(tmp_path, "autoencoder", encoder_weights=str(tmp_path / "lite0.pth")),
        on_progress=lambda progress: stages.append(progress.stage),
    )
    assert {"scenes", "crops", "train"} <= set(stages)
    assert first["losses"]["total"] > 0
    config = _config(tmp_path, "rsdit", autoencoder=first["weights"], large_crop_size=64, large_share=0.5)
    second = train_rsdit(config)
    latents = np.load(next((tmp_path / "crops").glob("latents-*.npy")))
    assert latents.shape == (3, 4, 16, 16) and latents.dtype == np.float16
    load_weights(TinyGenerator(), Path(second["weights"]))
    with pytest.raises(InputError, match="already holds"):
        train_rsdit(config)
    longer = _config(tmp_path, "rsdit", autoencoder=first["weights"], steps=9)
    with pytest.raises(Cancelled):
        train_rsdit(longer, resume=True, is_cancelled=lambda: True)
    assert torch.load(second["checkpoint"], weights_only=True)["step"] == 3, "stopped after a step, which is kept"
    export_weights(AutoencoderTiny(), Path(first["weights"]))
    with pytest.raises(InputError, match="another autoencoder"):
        train_rsdit(longer, resume=True)
    assert np.array_equal(np.load(next((tmp_path / "crops").glob("latents-*.npy"))), latents)
    anew = _config(tmp_path, "anew", autoencoder=first["weights"], large_crop_size=64, large_share=0.5)
    train_rsdit(anew)
    assert not np.array_equal(np.load(next((tmp_path / "crops").glob("latents-*.npy"))), latents)


def test_the_shipped_configurations_are_valid_and_agree() -> None:
    first = read_config(CONFIGS / "autoencoder_tiny.yaml", AutoencoderConfig)
    second = read_config(CONFIGS / "rsdit_tiny.yaml", RSDiTConfig)
    assert first.crops == second.crops, "both runs share the crops"
    assert second.autoencoder == first.out / "weights.safetensors"
