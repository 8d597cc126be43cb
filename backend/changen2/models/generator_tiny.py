"""The embedded generator: autoencoder and denoiser in one module, as the synthesis job sees them."""

from __future__ import annotations

from torch import Tensor, nn

from changen2.models.autoencoder_tiny import CHANNELS, STRIDE, AutoencoderTiny
from changen2.models.rsdit_tiny import BUILDING, ROAD, RSDiTTiny


class TinyGenerator(nn.Module):
    """Encodes, denoises and decodes. Sizes are free: any latent of at least 2×2 places.

    Attributes:
        latent_stride: pixels along a latent place's side.
        latent_channels: channels of a latent.
        prediction: what the denoiser returns.
        schedule: the noise schedule it was trained with.
        is_local: a place's picture hangs on the latents near it alone: all layers are convolutions.
        num_classes: classes of the label maps.
        outlined_classes: those whose objects have an outline of their own, which a feather would blur.
    """

    latent_stride = STRIDE
    latent_channels = CHANNELS
    prediction = "velocity"
    schedule = "cosine"
    is_local = True
    outlined_classes = (ROAD, BUILDING)

    def __init__(self, autoencoder: AutoencoderTiny | None = None, rsdit: RSDiTTiny | None = None) -> None:
        super().__init__()
        self.autoencoder = autoencoder or AutoencoderTiny()
        self.rsdit = rsdit or RSDiTTiny()
        self.num_classes = self.rsdit.config.num_classes

    def encode(self, rgb: Tensor) -> Tensor:
        """RGB ``[b, 3, 4h, 4w]``, 0..255, to standardised latents ``[b, 4, h, w]``."""
        return self.autoencoder.encode(rgb / 127.5 - 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``[b, 4, h, w]`` to RGB ``[b, 3, 4h, 4w]``, 0..255."""
        return ((self.autoencoder.decode(latents) + 1) * 127.5).clamp(0, 255)

    def embed_labels(self, labels: Tensor, gsd: Tensor, told: Tensor | None = None) -> Tensor:
        """Label maps ``[b, 4h, 4w]`` of class indices, and metres per pixel ``[b]``, to an embedding; once a sample.

        ``told`` ``[b]`` is 0 for samples whose labels are kept from the model, which classifier-free guidance asks for.

        Raises:
            InputError: a class that the model does not know.
        """
        return self.rsdit.embed_labels(labels, gsd, told)

    def denoise(self, x_t: Tensor, t: Tensor, label_embedding: Tensor, context_latent: Tensor, mask: Tensor) -> Tensor:
        """Predict the velocity in noisy latents.

        Args:
            x_t: ``[b, 4, h, w]``.
            t: ``[b]``, 0..999.
            label_embedding: from `embed_labels`.
            context_latent: the pre-event latents ``[b, 4, h, w]`` with the change cut out (zero).
            mask: ``[b, 1, h, w]``, 1 where the image changes.
        """
        return self.rsdit(x_t, t, label_embedding, context_latent, mask)
