"""RS-DiT, the resolution-scalable diffusion transformer (Changen2, TPAMI 2024, section 3.3).

Trained at 256², it denoises at any size: no absolute position embedding, a depthwise convolution inside each
MLP to tell tokens where they are, and windowed attention in three blocks of four. The semantic condition is
dense, one vector per token, and modulates every layer. Parameter names are the published ones.

One token covers 2×2 latent places, that is 16×16 pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.models.windows import pad_to_multiple, window_merge, window_partition

PATCH = 2  # latent places along a token's side
LATENT_STRIDE = 8  # pixels along a latent place's side
LATENT_CHANNELS = 4
WINDOW = 8  # tokens along a window's side
GLOBAL_EVERY = 4  # each fourth block attends to the whole image


@dataclass(frozen=True)
class RSDiTConfig:
    """Size of an RS-DiT.

    Attributes:
        depth: number of blocks.
        hidden: channels of a token; a multiple of 8 and of `heads`.
        heads: attention heads.
        label_channels: channels of the semantic condition (1 = contours or one class).
    """

    depth: int
    hidden: int
    heads: int
    label_channels: int = 1


RSDIT_SIZES = {
    "s2": RSDiTConfig(12, 384, 6),
    "b2": RSDiTConfig(12, 768, 12),
    "l2": RSDiTConfig(24, 1024, 16),
    "xl2": RSDiTConfig(28, 1152, 16),
}


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Shift and scale normalized tokens, ``x * (1 + scale) + shift``; all ``[b, h, w, c]``."""
    return torch.addcmul(x + shift, x, scale)


class TimestepEmbedder(nn.Module):
    """Timesteps ``[b]`` (0..999) become vectors ``[b, hidden]`` by way of 256 sinusoids."""

    frequencies = 256
    max_period = 10_000

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(self.frequencies, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, t: Tensor) -> Tensor:
        """``[b]`` to ``[b, hidden]``."""
        half = self.frequencies // 2
        steps = torch.arange(half, dtype=torch.float32, device=t.device)
        angles = t.float()[:, None] * torch.exp(-math.log(self.max_period) / half * steps)
        sinusoids = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.mlp(sinusoids.to(next(self.parameters()).dtype))


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of ``[b, c, h, w]``; free of copies where memory is channels-last."""

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]``, in and out."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LabelEmbedder(nn.Module):
    """Semantic condition ``[b, labels, 8h, 8w]`` to one vector per token, ``[b, h/2, w/2, hidden]``.

    Eight convolutions, of which the third, fifth and seventh halve the grid. The tokens need every second place
    of what the last one yields (nearest neighbour), so it runs at stride 2: equal, at a quarter of the work.
    """

    def __init__(self, label_channels: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = label_channels
        for i, divisor in enumerate((8, 8, 4, 4, 2, 2, 1, 1)):
            width = hidden // divisor
            stride = 2 if i in (2, 4, 6, 7) else 1
            layers += [nn.Conv2d(channels, width, 3, stride, 1), ChannelLayerNorm(width, eps=1e-6), nn.SiLU()]
            channels = width
        self.convs = nn.Sequential(*layers[:-1])

    def forward(self, y: Tensor) -> Tensor:
        """``[b, labels, 8h, 8w]`` to ``[b, h/2, w/2, hidden]``; h and w even."""
        y = y.to(next(self.parameters()).dtype).contiguous(memory_format=torch.channels_last)
        return self.convs(y).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens, or within windows of `window`² tokens."""

    def __init__(self, hidden: int, heads: int, window: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.proj = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, h, w, hidden]``, in and out."""
        b, h, w, _ = x.shape
        qkv = self.qkv(x)
        if self.window is None:
            out = self.attend(qkv.view(b, h * w, -1)).view(b, h, w, -1)
        else:
            # A padded token is zero and is not masked, so what stands in its place is the layer's bias.
            windows = window_partition(qkv, self.window, fill=self.qkv.bias)
            out = window_merge(self.attend(windows), self.window, h, w)
        return self.proj(out)

    def attend(self, qkv: Tensor) -> Tensor:
        """Attention within each of `n` sets of tokens: ``[n, tokens, 3 * hidden]`` → ``[n, tokens, hidden]``."""
        n, tokens, _ = qkv.shape
        q, k, v = qkv.view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, -1)


class ConvMLP(nn.Module):
    """Linear ×4, a depthwise 3×3 convolution that tells tokens their neighbours, GELU, linear back."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden, 4 * hidden)
        self.dwconv = nn.Conv2d(4 * hidden, 4 * hidden, 3, padding=1, groups=4 * hidden, bias=False)
        self.fc2 = nn.Linear(4 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, h, w, hidden]``, in and out."""
        x = self.fc1(x)
        x = self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(F.gelu(x, approximate="tanh"))


class Block(nn.Module):
    """One transformer block under adaLN-Zero, with a modulation of its own for every token."""

    def __init__(self, hidden: int, heads: int, window: int | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(hidden, heads, window)
        self.norm2 = nn.LayerNorm(hidden, eps=1e-6, elementwise_affine=False)
        self.mlp = ConvMLP(hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 6 * hidden))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens and their condition ``[b, h, w, hidden]`` to tokens."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(condition).chunk(6, dim=-1)
        x = torch.addcmul(x, gate_a, self.attn(modulate(self.norm1(x), shift_a, scale_a)))
        return torch.addcmul(x, gate_m, self.mlp(modulate(self.norm2(x), shift_m, scale_m)))


class FinalLayer(nn.Module):
    """Modulated layer norm, then a linear layer to the noise and its variance in each of a token's places."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(hidden, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(hidden, PATCH * PATCH * 2 * LATENT_CHANNELS)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens and their condition ``[b, h, w, hidden]`` to ``[b, h, w, patch² * 2 * 4]``."""
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=-1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class PatchEmbedder(nn.Module):
    """Latents ``[b, 4, h, w]`` to tokens ``[b, h/2, w/2, hidden]``."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(LATENT_CHANNELS, hidden, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, 4, h, w]`` to ``[b, h/2, w/2, hidden]``."""
        return self.proj(x).permute(0, 2, 3, 1)


class RSDiT(nn.Module):
    """The denoiser: predicts the noise in a latent, and the share of its variance, from a semantic condition.

    Args:
        config: the size.
    """

    def __init__(self, config: RSDiTConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.x_embedder = PatchEmbedder(hidden)
        self.t_embedder = TimestepEmbedder(hidden)
        self.y_embedder = LabelEmbedder(config.label_channels, hidden)
        self.blocks = nn.ModuleList(
            Block(hidden, config.heads, None if (i + 1) % GLOBAL_EVERY == 0 else WINDOW) for i in range(config.depth)
        )
        self.final_layer = FinalLayer(hidden)

    def embed_labels(self, y: Tensor) -> Tensor:
        """Embed the semantic condition. It does not depend on the timestep: do it once per sample.

        Args:
            y: ``[b, label_channels, 8h, 8w]`` for a latent of h×w.

        Returns:
            ``[b, h/2, w/2, hidden]`` (rounded up), for `forward`'s `label_embedding`.

        Raises:
            InputError: if the number of label channels is another one.
        """
        if y.shape[1] != self.config.label_channels:
            raise InputError(
                f"The condition has {y.shape[1]} label channels; this RS-DiT takes {self.config.label_channels}.",
                hint="Use labels of the classes that the model was trained on.",
            )
        return self.y_embedder(pad_to_multiple(y, PATCH * LATENT_STRIDE))

    def forward(
        self, x: Tensor, t: Tensor, y: Tensor | None = None, *, label_embedding: Tensor | None = None
    ) -> Tensor:
        """Predict noise and variance.

        Args:
            x: noisy latents ``[b, 4, h, w]``; any h and w (odd ones are padded and cropped).
            t: timesteps ``[b]``, 0..999.
            y: semantic condition ``[b, label_channels, 8h, 8w]``.
            label_embedding: ``embed_labels(y)``, used in place of `y`; a batch of 1 serves all samples.

        Returns:
            ``[b, 8, h, w]``: the noise, then the variance's share between its bounds (−1..1).

        Raises:
            InputError: with neither `y` nor `label_embedding`, or where its size does not fit `x`.
        """
        h, w = x.shape[-2:]
        if label_embedding is None:
            label_embedding = self.embed_labels(fitting(y, h, w))
        tokens = self.x_embedder(pad_to_multiple(x, PATCH))  # [b, h/2, w/2, hidden]
        if label_embedding.shape[1:3] != tokens.shape[1:3]:
            raise InputError(
                f"The label embedding covers {tuple(label_embedding.shape[1:3])} tokens, the latent "
                f"{tuple(tokens.shape[1:3])}."
            )
        condition = self.t_embedder(t)[:, None, None] + label_embedding
        for block in self.blocks:
            tokens = block(tokens, condition)
        return unpatchify(self.final_layer(tokens, condition))[..., :h, :w]


def fitting(y: Tensor | None, h: int, w: int) -> Tensor:
    """Return the condition of a latent of h×w, or refuse it."""
    wanted = (LATENT_STRIDE * h, LATENT_STRIDE * w)
    if y is None or y.shape[-2:] != wanted:
        given = "none" if y is None else f"{y.shape[-2]}×{y.shape[-1]}"
        raise InputError(f"A latent of {h}×{w} takes a condition of {wanted[0]}×{wanted[1]}; it got {given}.")
    return y


def unpatchify(tokens: Tensor) -> Tensor:
    """Lay tokens ``[b, rows, columns, patch * patch * c]`` out as a map ``[b, c, rows * patch, columns * patch]``."""
    b, rows, columns, _ = tokens.shape
    x = tokens.view(b, rows, columns, PATCH, PATCH, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(b, -1, rows * PATCH, columns * PATCH)
