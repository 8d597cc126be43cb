"""The published generator, RS-DiT in Stable Diffusion's latents, as the synthesis job sees generators."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.models.autoencoder_kl import LATENT_CHANNELS, AutoencoderKL
from changen2.models.rsdit import LATENT_STRIDE, RSDiT

OUTLINED: dict[int, tuple[int, ...]] = {2: (1,), 9: (4, 8)}
"""Classes with an outline, by the number of classes: buildings (xView2); roads and buildings (OpenEarthMap)."""


class PublishedGenerator(nn.Module):
    """Encodes, denoises and decodes.

    Unlike the embedded generator's, its denoiser sees nothing of the surroundings: these come in by the clamp.

    Args:
        autoencoder: with its published weights.
        rsdit: with its published weights.

    Attributes:
        latent_stride: pixels along a latent place's side.
        latent_channels: channels of a latent.
        prediction: what the denoiser returns.
        schedule: the noise schedule it was trained with.
        is_local: the autoencoder's group norms and its attention see all that is decoded at once.
        num_classes: classes of the label maps; with one label channel the class's number itself is the condition.
        outlined_classes: those whose objects have an outline of their own, which a feather would blur.
    """

    latent_stride = LATENT_STRIDE
    latent_channels = LATENT_CHANNELS
    prediction = "noise"
    schedule = "linear"
    is_local = False

    def __init__(self, autoencoder: AutoencoderKL, rsdit: RSDiT) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.rsdit = rsdit
        self.num_classes = max(2, rsdit.config.label_channels)
        self.outlined_classes = OUTLINED.get(self.num_classes, ())

    def encode(self, rgb: Tensor) -> Tensor:
        """RGB ``[b, 3, 8h, 8w]``, 0..255, to latents ``[b, 4, h, w]``."""
        return self.autoencoder.encode(rgb / 127.5 - 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``[b, 4, h, w]`` to RGB ``[b, 3, 8h, 8w]``, 0..255."""
        return ((self.autoencoder.decode(latents) + 1) * 127.5).clamp(0, 255)

    def embed_labels(self, labels: Tensor, gsd: Tensor, told: Tensor | None = None) -> Tensor:
        """Class maps ``[b, 8h, 8w]`` to an embedding, once a sample; the metres per pixel are not part of it.

        Raises:
            InputError: a class that the model does not know, or labels to be kept back: it always had them in training.
        """
        if told is not None:
            raise InputError("This generator was not trained for label guidance.", hint="Leave it at 1.")
        channels = self.rsdit.config.label_channels
        if channels == 1:
            return self.rsdit.embed_labels(labels[:, None].float())
        if labels.numel() and int(labels.max()) >= channels:
            raise InputError(f"Class {int(labels.max())}; this generator knows 0 to {channels - 1}.", code="bad_class")
        return self.rsdit.embed_labels(F.one_hot(labels.long(), channels).permute(0, 3, 1, 2).float())

    def denoise(self, x_t: Tensor, t: Tensor, label_embedding: Tensor, context_latent: Tensor, mask: Tensor) -> Tensor:
        """Predict the noise in `x_t` ``[b, 4, h, w]`` at `t` ``[b]``, and its variance's share: ``[b, 8, h, w]``."""
        return self.rsdit(x_t, t, label_embedding=label_embedding)
