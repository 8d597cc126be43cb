"""Stable Diffusion's KL autoencoder (Rombach et al. 2022), in which the published RS-DiT works: stride 8, 4 channels.

Its own, short implementation, so that using the published weights needs no package beside torch. Parameter names are
those of the published safetensors (the layout of the `diffusers` package).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT_CHANNELS = 4
SCALE = 0.18215  # brings latents to unit variance, as the diffusion model expects them
WIDTHS = (128, 256, 512, 512)  # channels at strides 1, 2, 4, 8
# Older files call the parts of the one attention layer so.
FORMER_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def norm(channels: int) -> nn.GroupNorm:
    """The group norm used throughout."""
    return nn.GroupNorm(32, channels, eps=1e-6)


class Resnet(nn.Module):
    """Two normalized 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.conv_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, inputs, h, w]`` to ``[b, outputs, h, w]``."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return hidden + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Attention(nn.Module):
    """Self-attention over all places, one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = norm(channels)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]``, in and out."""
        places = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]  # [b, 1, h * w, c]
        attended = F.scaled_dot_product_attention(self.to_q(places), self.to_k(places), self.to_v(places))
        return x + self.to_out(attended)[:, 0].transpose(1, 2).reshape(x.shape)


class Middle(nn.Module):
    """Resnet, attention, resnet, at stride 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(channels, channels), Resnet(channels, channels)])
        self.attentions = nn.ModuleList([Attention(channels)])

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]``, in and out."""
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Downsample(nn.Module):
    """A 3×3 convolution at stride 2 that is padded at the right and bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]`` to ``[b, c, h/2, w/2]``."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbour ×2, then a 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]`` to ``[b, c, 2h, 2w]``."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Level(nn.Module):
    """Resnets at one stride, then perhaps a step to the next stride."""

    def __init__(self, inputs: int, outputs: int, resnets: int, **step: nn.Module) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(outputs if i else inputs, outputs) for i in range(resnets))
        for name, module in step.items():
            self.add_module(name, nn.ModuleList([module]))

    def forward(self, x: Tensor) -> Tensor:
        """``[b, inputs, h, w]`` to ``[b, outputs, …]`` at this stride or the next."""
        for layers in self.children():  # resnets, then the step
            for layer in layers.children():
                x = layer(x)
        return x


class Encoder(nn.Module):
    """Images to the mean and log variance of their latents."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, WIDTHS[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(WIDTHS):
            step = {"downsamplers": Downsample(width)} if i < len(WIDTHS) - 1 else {}
            self.down_blocks.append(Level(WIDTHS[max(0, i - 1)], width, 2, **step))
        self.mid_block = Middle(WIDTHS[-1])
        self.conv_norm_out = norm(WIDTHS[-1])
        self.conv_out = nn.Conv2d(WIDTHS[-1], 2 * LATENT_CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, 3, 8h, 8w]`` to ``[b, 8, h, w]``."""
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """Latents to images."""

    def __init__(self) -> None:
        super().__init__()
        widths = WIDTHS[::-1]
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0])
        self.up_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            step = {"upsamplers": Upsample(width)} if i < len(widths) - 1 else {}
            self.up_blocks.append(Level(widths[max(0, i - 1)], width, 3, **step))
        self.conv_norm_out = norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """``[b, 4, h, w]`` to ``[b, 3, 8h, 8w]``."""
        x = self.mid_block(self.conv_in(z))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class AutoencoderKL(nn.Module):
    """Images to latents of an eighth of their size, and back.

    Latents are scaled to about unit variance (× 0.18215) and are the mean of what the encoder yields: an edited image
    should not gain noise where nothing was edited.
    """

    stride = 8
    latent_channels = LATENT_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.quant_conv = nn.Conv2d(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)
        self.post_quant_conv = nn.Conv2d(LATENT_CHANNELS, LATENT_CHANNELS, 1)

    def encode(self, x: Tensor) -> Tensor:
        """Images in −1..1, ``[b, 3, 8h, 8w]`` → latents ``[b, 4, h, w]``."""
        return self.quant_conv(self.encoder(x))[:, :LATENT_CHANNELS] * SCALE

    def decode(self, z: Tensor) -> Tensor:
        """Latents ``[b, 4, h, w]`` → images in about −1..1, ``[b, 3, 8h, 8w]``."""
        return self.decoder(self.post_quant_conv(z / SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """``[b, 3, 8h, 8w]``, encoded and decoded again."""
        return self.decode(self.encode(x))


def current_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the parameters of an older file the names that they have today (1×1 convolutions become linear)."""
    renamed = {}
    for name, value in state_dict.items():
        for former, current in FORMER_NAMES.items():
            if ".attentions." in name:
                name = name.replace(former, current)
        if ".attentions." in name and isinstance(value, torch.Tensor) and value.ndim == 4:
            value = value[:, :, 0, 0]
        renamed[name] = value
    return renamed
