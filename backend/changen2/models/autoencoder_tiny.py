"""The embedded generator's autoencoder: RGB images to latents of stride 4 and 4 channels, and back.

Convolutions only, without any norm over space: a latent depends on the pixels within `REACH` of it and on nothing
else, so an image may be encoded and decoded in pieces of any size. The encoder is kept local on purpose. What a
latent knows of its neighbourhood leaks across the edge of a change that is cut out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 4  # pixels along a latent place's side
CHANNELS = 4
REACH = 12
"""Pixels beyond its own 4×4 that a latent depends on, at most."""


class Residual(nn.Module):
    """Two convolutions beside a shortcut; the second begins at zero, so that depth costs nothing at first."""

    def __init__(self, width: int, second_kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, second_kernel, padding=second_kernel // 2)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """``[b, width, h, w]``, in and out."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Encoder(nn.Module):
    """Pixels to latents that are not yet standardised."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, fine, 3, padding=1),
            Residual(fine, 1),
            nn.Conv2d(fine, coarse, 2, stride=2),
            Residual(coarse, 1),
            Residual(coarse, 1),
            nn.Conv2d(coarse, CHANNELS, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[b, 3, 4h, 4w]`` in −1..1 to ``[b, 4, h, w]``."""
        return self.layers(x)


class Decoder(nn.Module):
    """Standardised latents to pixels."""

    def __init__(self, fine: int, coarse: int, coarse_blocks: int, fine_blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(CHANNELS, coarse, 3, padding=1),
            *(Residual(coarse, 3) for _ in range(coarse_blocks)),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            *(Residual(fine, 3) for _ in range(fine_blocks)),
            nn.ReLU(),
            nn.Conv2d(fine, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, z: Tensor) -> Tensor:
        """``[b, 4, h, w]`` to ``[b, 3, 4h, 4w]``, about −1..1."""
        return self.layers(z)


class AutoencoderTiny(nn.Module):
    """Encoder and decoder around latents of zero mean and unit variance.

    In training the latents are standardised by the batch and a little noise is added, so that the decoder forgives
    what the denoiser gets slightly wrong; afterwards by the running statistics, without noise.

    Args:
        fine: channels at stride 2.
        coarse: channels at stride 4.
        coarse_blocks: residual blocks of the decoder at stride 4.
        fine_blocks: residual blocks of the decoder at stride 2.
        latent_noise: standard deviation of the noise in training.
    """

    def __init__(
        self, fine: int = 48, coarse: int = 80, coarse_blocks: int = 4, fine_blocks: int = 2, latent_noise: float = 0.08
    ) -> None:
        super().__init__()
        self.latent_noise = latent_noise
        self.encoder = Encoder(fine, coarse)
        self.standardize = nn.BatchNorm2d(CHANNELS, affine=False, momentum=0.02)
        self.decoder = Decoder(fine, coarse, coarse_blocks, fine_blocks)

    def encode(self, x: Tensor) -> Tensor:
        """Images ``[b, 3, 4h, 4w]`` in −1..1 to standardised latents ``[b, 4, h, w]``."""
        return self.standardize(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Latents ``[b, 4, h, w]`` to images ``[b, 3, 4h, 4w]``, about −1..1."""
        return self.decoder(z)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[b, 3, 4h, 4w]`` in −1..1 as the latents remember them."""
        z = self.encode(x)
        if self.training:
            z = z + self.latent_noise * torch.randn_like(z)
        return self.decode(z)
