"""Latents belong to the autoencoder that is given, whichever encoded the crops before."""

from pathlib import Path

import numpy as np
import pytest
import torch

from changen2.errors import InputError
from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.training.export import export_weights
from changen2.training.generator.crops import CropStore, save_array
from changen2.training.generator.latents import encode_crops
from changen2.training.generator.run import keep_autoencoder
from changen2.training.run import CHECKPOINT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards of crops."""
    rng = np.random.default_rng(0)
    for shard, count in enumerate((2, 1)):
        save_array(tmp_path / f"images-{shard:07d}.npy", rng.integers(0, 256, (count, 3, 64, 64), np.uint8))
        save_array(tmp_path / f"labels-{shard:07d}.npy", np.zeros((count, 64, 64), np.uint8))
        save_array(tmp_path / f"gsd-{shard:07d}.npy", np.full(count, 0.3, np.float32))
    return tmp_path


def weights(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    path = folder / "weights.safetensors"
    export_weights(AutoencoderTiny(), path)
    return path


def encoded(folder: Path, path: Path) -> tuple[list[np.ndarray], int]:
    """The latents in a folder afterwards, and how many shards were encoded."""
    done: list[int] = []
    encode_crops(folder, path, lambda stage, number, total: done.append(number))
    return [np.array(shard) for shard in CropStore(folder, latents=True).latents], len(done)


def test_a_retrained_autoencoder_encodes_anew(folder: Path) -> None:
    first, count = encoded(folder, weights(folder, 0))
    assert count == 2 and [len(shard) for shard in first] == [2, 1]
    assert encoded(folder, weights(folder, 0))[1] == 0
    second, count = encoded(folder, weights(folder, 1))
    assert count == 2 and not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    again, count = encoded(folder, weights(folder, 0))
    assert count == 2 and all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_broken_run_encodes_the_rest(folder: Path) -> None:
    def stop(stage: str, number: int, total: int) -> None:
        raise KeyboardInterrupt

    encoded(folder, weights(folder, 0))
    with pytest.raises(KeyboardInterrupt):
        encode_crops(folder, weights(folder, 1), stop)
    latents, count = encoded(folder, weights(folder, 1))
    assert count == 1
    (folder / "latents.json").unlink()
    anew, count = encoded(folder, weights(folder, 1))
    assert count == 2 and all(np.array_equal(a, b) for a, b in zip(latents, anew, strict=True))


def test_missing_weights_are_said(folder: Path) -> None:
    with pytest.raises(InputError, match="no weights") as caught:
        encoded(folder, folder / "none.safetensors")
    assert caught.value.code == "missing_file"


def test_a_run_does_not_go_on_with_another_autoencoder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    keep_autoencoder(out, weights(tmp_path, 0))
    keep_autoencoder(out, weights(tmp_path, 1))  # nothing has begun yet
    (out / CHECKPOINT).touch()
    keep_autoencoder(out, weights(tmp_path, 1))
    with pytest.raises(InputError, match="began with another autoencoder") as caught:
        keep_autoencoder(out, weights(tmp_path, 0))
    assert caught.value.code == "other_autoencoder"
    keep_autoencoder(out, weights(tmp_path, 1))
