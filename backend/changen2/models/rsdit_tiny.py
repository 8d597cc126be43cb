"""The embedded generator's denoiser: an RS-DiT small enough to train and to run on two processor cores.

It keeps what makes RS-DiT resolution-scalable (Changen2, TPAMI 2024, section 3.3): no absolute positions, a depthwise
convolution inside each MLP, windowed attention in three blocks of four. To be small it shares one adaptive norm over
all blocks, each adding an offset of its own (Chen et al., PixArt-α, 2023), and pools labels to the shares of the
classes instead of convolving them at full resolution. Beside the labels it sees the image around the change: the
pre-event latent with the change cut out, and the mask.

One token covers 2×2 latent places of stride 4, that is 8×8 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.models.autoencoder_tiny import CHANNELS, STRIDE
from changen2.models.rsdit import GLOBAL_EVERY, PATCH, WINDOW, Attention, TimestepEmbedder, modulate, unpatchify
from changen2.models.windows import pad_to_multiple

TOKEN = PATCH * STRIDE  # pixels along a token's side
CELL = 2  # pixels along the side of the cells in which class shares are counted: a token knows a footprint's edge

BACKGROUND, WATER, LAND, ROAD, BUILDING, VEGETATION, CONTOUR = range(7)
"""Classes of the condition. Background is what is none of the others or not known, but no building; contours are
boundaries of instances in images without labels."""
NUM_CLASSES = 7


@dataclass(frozen=True)
class RSDiTTinyConfig:
    """Size of the denoiser.

    Attributes:
        depth: number of blocks.
        hidden: channels of a token, a multiple of `heads`.
        heads: attention heads.
        mlp_width: channels inside an MLP.
        num_classes: of the semantic condition.
    """

    depth: int = 12
    hidden: int = 192
    heads: int = 6
    mlp_width: int = 448
    num_classes: int = NUM_CLASSES


class ConvMLP(nn.Module):
    """Linear, a depthwise 3×3 convolution that tells tokens their neighbours, GELU, linear back."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden, width)
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.fc2 = nn.Linear(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, h, w, hidden]``, in and out."""
        x = self.dwconv(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(F.gelu(x, approximate="tanh"))


class PlainAttention(Attention):
    """Attention by plain products where that is faster than the fused kernel.

    On a processor the fused kernel's backward pass takes 4 to 7 times as long, and its bfloat16 forward pass nearly
    twice as long as plain products of as many queries at a time as the cache holds the weights of.
    """

    most_tokens = 4096  # those of 512² pixels; beyond, keys and values leave the cache and the fused kernel wins
    pairs_at_once = 256 * 1024

    def attend(self, qkv: Tensor) -> Tensor:
        """Attention within each of `n` sets of tokens: ``[n, tokens, 3 * hidden]`` → ``[n, tokens, hidden]``."""
        tokens = qkv.shape[1]
        if self.training:
            return self._products(qkv, tokens)
        if qkv.device.type != "cpu" or qkv.dtype != torch.bfloat16 or tokens > self.most_tokens:
            return super().attend(qkv)
        sets, queries = (max(1, self.pairs_at_once // pairs) for pairs in (tokens * tokens, tokens))
        return torch.cat([self._products(some, queries) for some in qkv.split(sets)])

    def _products(self, qkv: Tensor, queries: int) -> Tensor:
        """The same, of some queries at a time."""
        n, tokens, _ = qkv.shape
        q, k, v = qkv.view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = q * q.shape[-1] ** -0.5, k.transpose(-1, -2)
        out = torch.cat([(some @ k).softmax(-1) @ v for some in q.split(queries, dim=2)], dim=2)
        return out.transpose(1, 2).reshape(n, tokens, -1)


class Block(nn.Module):
    """One transformer block; its modulation is the shared one plus an offset of its own."""

    def __init__(self, config: RSDiTTinyConfig, window: int | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden, eps=1e-6, elementwise_affine=False)
        self.attn = PlainAttention(config.hidden, config.heads, window)
        self.mlp = ConvMLP(config.hidden, config.mlp_width)
        self.offset = nn.Parameter(torch.zeros(6, config.hidden))

    def forward(self, x: Tensor, modulation: Sequence[Tensor]) -> Tensor:
        """Tokens ``[b, h, w, hidden]`` and the shared modulation, six times as much, to tokens."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = map(torch.add, modulation, self.offset)
        x = torch.addcmul(x, gate_a, self.attn(modulate(self.norm(x), shift_a, scale_a)))
        return torch.addcmul(x, gate_m, self.mlp(modulate(self.norm(x), shift_m, scale_m)))


class LabelEmbedder(nn.Module):
    """Class shares in cells of 2×2 pixels, and the ground sampling distance, to one vector per token."""

    def __init__(self, num_classes: int, hidden: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        cells = (TOKEN // CELL) ** 2
        self.shares = nn.Sequential(nn.Linear(num_classes * cells, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.gsd = nn.Sequential(nn.Linear(1, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, labels: Tensor, gsd: Tensor, told: Tensor | None = None) -> Tensor:
        """Embed label maps.

        Args:
            labels: ``[b, 8 rows, 8 columns]`` class indices.
            gsd: ``[b]``, metres per pixel.
            told: ``[b]``, whether the labels are told at all; they are where None.

        Returns:
            ``[b, rows, columns, hidden]``.
        """
        dtype = next(self.parameters()).dtype
        one_hot = F.one_hot(labels.long(), self.num_classes).permute(0, 3, 1, 2).to(dtype)
        if told is not None:
            one_hot = one_hot * told.to(dtype)[:, None, None, None]
        cells = F.pixel_unshuffle(F.avg_pool2d(one_hot, CELL), TOKEN // CELL)  # [b, classes * cells, rows, columns]
        # Octaves from 0.3 m, the middle of what it is trained at.
        octaves = torch.log2(gsd.to(dtype) / 0.3)[:, None]
        return self.shares(cells.permute(0, 2, 3, 1)) + self.gsd(octaves)[:, None, None]


class FinalLayer(nn.Module):
    """Modulated layer norm, then a linear layer to the prediction in each of a token's places."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(hidden, 2 * hidden)
        self.linear = nn.Linear(hidden, PATCH * PATCH * CHANNELS)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens and their condition ``[b, h, w, hidden]`` to ``[b, h, w, patch² * 4]``."""
        shift, scale = self.modulation(condition).chunk(2, dim=-1)
        return self.linear(modulate(self.norm(x), shift, scale))


class RSDiTTiny(nn.Module):
    """The denoiser: predicts the velocity in a latent from labels and from the image around the change.

    Args:
        config: the size.
    """

    def __init__(self, config: RSDiTTinyConfig | None = None) -> None:
        super().__init__()
        self.config = config or RSDiTTinyConfig()
        hidden = self.config.hidden
        self.x_embedder = nn.Conv2d(2 * CHANNELS + 1, hidden, PATCH, PATCH)  # x_t, surroundings, mask
        self.t_embedder = TimestepEmbedder(hidden)
        self.y_embedder = LabelEmbedder(self.config.num_classes, hidden)
        self.modulation = nn.Linear(hidden, 6 * hidden)
        self.blocks = nn.ModuleList(
            Block(self.config, None if (i + 1) % GLOBAL_EVERY == 0 else WINDOW) for i in range(self.config.depth)
        )
        self.final_layer = FinalLayer(hidden)
        self._initialize()

    def _initialize(self) -> None:
        """Residual branches start closed, their gates, and the prediction, at zero (adaLN-Zero, DiT)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for linear in (self.modulation, self.final_layer.modulation, self.final_layer.linear):
            nn.init.zeros_(linear.weight)

    def embed_labels(self, labels: Tensor, gsd: Tensor, told: Tensor | None = None) -> Tensor:
        """Embed label maps. It does not depend on the timestep: do it once per sample.

        Args:
            labels: ``[b, 4h, 4w]`` class indices, int64, 0..num_classes − 1, for latents of h×w.
            gsd: ``[b]``, metres per pixel.
            told: ``[b]``, 0 for samples whose labels are kept from the model: what it draws then is what guidance leads
                away from. All are told where None.

        Returns:
            ``[b, h/2, w/2, hidden]`` (rounded up).

        Raises:
            InputError: a class that the model does not know.
        """
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.config.num_classes:
            raise InputError(
                f"The label map holds class {low if low < 0 else high}; this model knows 0 to "
                f"{self.config.num_classes - 1}.",
                hint="Map the labels to the model's classes first.",
                code="bad_class",
            )
        padded = pad_to_multiple(labels[:, None].float(), TOKEN)[:, 0].long()
        return self.y_embedder(padded, gsd, told)

    def forward(self, x: Tensor, t: Tensor, label_embedding: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Predict the velocity.

        Args:
            x: noisy latents ``[b, 4, h, w]``; odd h and w are padded and cropped.
            t: timesteps ``[b]``, 0..999.
            label_embedding: from `embed_labels`; a batch of 1 serves all samples.
            context: pre-event latents ``[b, 4, h, w]``; what lies under the mask is cut out here.
            mask: ``[b, 1, h, w]``, 1 where the image changes, else 0.

        Returns:
            ``[b, 4, h, w]``.

        Raises:
            InputError: where the label embedding does not fit `x`.
        """
        h, w = x.shape[-2:]
        seen = torch.cat([x, context * (1 - mask), mask], dim=1)
        tokens = self.x_embedder(pad_to_multiple(seen, PATCH)).permute(0, 2, 3, 1)  # [b, h/2, w/2, hidden]
        if label_embedding.shape[1:3] != tokens.shape[1:3]:
            raise InputError(
                f"The label embedding covers {tuple(label_embedding.shape[1:3])} tokens, the latent "
                f"{tuple(tokens.shape[1:3])}.",
                hint=f"Labels have {STRIDE} times the latent's rows and columns: {STRIDE * h} by {STRIDE * w}.",
            )
        tokens = tokens + label_embedding
        condition = F.silu(self.t_embedder(t)[:, None, None] + label_embedding)
        modulation = self.modulation(condition).chunk(6, dim=-1)
        for block in self.blocks:
            tokens = block(tokens, modulation)
        return unpatchify(self.final_layer(tokens, condition))[..., :h, :w]
