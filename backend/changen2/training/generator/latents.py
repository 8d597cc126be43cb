"""Latents of the crops, computed once: the denoiser's run spends no time on the encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.models.devices import channels_last
from changen2.training.export import digest
from changen2.training.generator.crops import OnCrops, save_array, shard_paths
from changen2.training.generator.run import load_weights

BATCH = 8

AUTOENCODER = "latents.json"
"""In a folder of crops: the digest of the autoencoder that their latents belong to."""


@torch.inference_mode()
def encode_crops(folder: Path, weights: Path, on_crops: OnCrops) -> None:
    """Encode the shards of a folder that have no latents of this autoencoder yet, as fp16 ``[n, 4, size/4, size/4]``.

    Args:
        folder: of the crops.
        weights: the autoencoder's.
        on_crops: told of the shards encoded.

    Raises:
        InputError: the autoencoder's weights are missing.
    """
    model = AutoencoderTiny()
    load_weights(model, weights)
    _keep_autoencoder(folder, digest(weights))
    shards = shard_paths(folder, "images")
    missing = [path for path in shards if not _latents_of(path).exists()]
    if not missing:
        return
    channels_last(model.eval())
    for number, path in enumerate(missing):
        images = np.load(path, mmap_mode="r")
        parts = []
        for start in range(0, len(images), BATCH):
            pixels = torch.from_numpy(np.array(images[start : start + BATCH])).float() / 127.5 - 1
            latents = model.encode(pixels.contiguous(memory_format=torch.channels_last))
            parts.append(latents.numpy().astype(np.float16))
        save_array(_latents_of(path), np.concatenate(parts))
        on_crops("latents", number + 1, len(missing))


def _keep_autoencoder(folder: Path, sha256: str) -> None:
    """Note which autoencoder latents belong to, and remove those of another."""
    path = folder / AUTOENCODER
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["sha256"] == sha256:
        return
    for latents in shard_paths(folder, "latents"):
        latents.unlink()
    path.write_text(json.dumps({"sha256": sha256}) + "\n", encoding="utf-8")


def _latents_of(images: Path) -> Path:
    return images.with_name(images.name.replace("images", "latents"))
