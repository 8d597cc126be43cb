"""From the two runs to the weights that ship: one file and the card beside it."""

from __future__ import annotations

from pathlib import Path

import torch

from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.models.generator_tiny import TinyGenerator
from changen2.models.rsdit_tiny import RSDiTTiny
from changen2.training.generator.run import load_weights, save_weights


def assemble(autoencoder: Path, checkpoint: Path) -> TinyGenerator:
    """The generator of an autoencoder's weights and a denoiser's checkpoint, with averaged weights, ready to use.

    Raises:
        InputError: the autoencoder's weights are missing.
    """
    first, second = AutoencoderTiny(), RSDiTTiny()
    load_weights(first, autoencoder)
    second.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return TinyGenerator(first, second).eval().requires_grad_(False)


def export_generator(autoencoder: Path, checkpoint: Path, path: Path) -> None:
    """Write both models' weights into one file."""
    save_weights(assemble(autoencoder, checkpoint), path)
