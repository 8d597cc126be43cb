"""Training of the autoencoder: pixels, their differences, and the features of a network that knows images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.models.devices import channels_last
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.training import run as runs
from changen2.training.generator.config import AutoencoderConfig
from changen2.training.generator.crops import CropStore
from changen2.training.generator.run import start
from changen2.training.loop import encoder_checkpoint

FEATURE_LEVELS = 3  # strides 4, 8 and 16; what lies coarser survives any compression


def train_autoencoder(
    config: AutoencoderConfig, resumed: bool = False, on_step: runs.OnStep | None = None
) -> AutoencoderTiny:
    """Train the autoencoder on the crops in ``config.crops.out``.

    Returns:
        The averaged model.

    Raises:
        InputError: no crops, no encoder weights, or the folder holds a run and ``resumed`` is not set.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    store = CropStore(config.crops.out)
    features = feature_network(config.encoder_weights)
    run = start(AutoencoderTiny(), config)

    def losses(run: runs.Run) -> tuple[dict[str, Tensor], int]:
        images = batch(store, config, run.step)
        # The latent noise is part of the step.
        torch.manual_seed(config.seed + run.step)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            return reconstruction_losses(run.model, features, images, config), len(images)

    trained = runs.train(run, config, losses, runs.warm_cosine(config), resumed, on_step)
    return trained  # type: ignore[return-value]


def feature_network(place: str) -> EfficientNetLite:
    """EfficientNet-Lite0 with ImageNet weights, frozen."""
    network = EfficientNetLite("lite0")
    state = torch.load(encoder_checkpoint(place), weights_only=True)
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    return channels_last(network.eval().requires_grad_(False))


def batch(store: CropStore, config: AutoencoderConfig, step: int) -> Tensor:
    """The images of a step ``[b, 3, size, size]``, −1..1; decided by the step's number alone."""
    rng = np.random.default_rng((config.seed, step))
    size, side = config.crop_size, config.crops.size
    images = np.empty((config.batch_size, 3, size, size), np.uint8)
    for image in images:
        shard, index = store.place(int(rng.integers(len(store))))
        top, left = rng.integers(side - size + 1, size=2)
        image[:] = store.images[shard][index, :, top : top + size, left : left + size]
    tensor = torch.from_numpy(images).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)


def reconstruction_losses(
    model: nn.Module, features: EfficientNetLite, images: Tensor, config: AutoencoderConfig
) -> dict[str, Tensor]:
    """Mean absolute errors of pixels, of their differences and of features, and their weighted ``total``."""
    rebuilt = model(images)
    parts = {
        "pixel": (rebuilt.float() - images).abs().mean(),
        "gradient": gradient_loss(rebuilt.float(), images),
        "feature": feature_loss(features, rebuilt, images),
    }
    weights = {"pixel": 1.0, "gradient": config.gradient_weight, "feature": config.feature_weight}
    total = torch.stack([weights[key] * value for key, value in parts.items()]).sum()
    return {**parts, "total": total}


def gradient_loss(rebuilt: Tensor, images: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbouring pixels."""
    error = rebuilt - images
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def feature_loss(features: EfficientNetLite, rebuilt: Tensor, images: Tensor) -> Tensor:
    """Mean absolute error of features, relative to how large they are."""
    with torch.no_grad():
        wanted = features(images)
    parts = [
        F.l1_loss(found.float(), target.float()) / target.float().abs().mean().clamp(min=1e-3)
        for found, target in zip(features(rebuilt)[:FEATURE_LEVELS], wanted, strict=False)
    ]
    return torch.stack(parts).mean()
