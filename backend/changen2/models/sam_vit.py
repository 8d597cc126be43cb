"""SAM's image encoder (Kirillov et al. 2023): a plain ViT with windowed attention and relative positions.

It is the encoder of the published ChangeStar 1×256. Parameter names are the published ones. Any height and width
that are multiples of 16 work: the position tables are resampled to the grid of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changen2.models.windows import window_merge, window_partition

PATCH = 16  # pixels along a token's side
WINDOW = 14  # tokens along a window's side
TABLE = 64  # tokens along a side of the image that SAM was trained on
NECK = 256  # channels of the output
# How much of the attention bias exists at one time. A slice of 4 MB stays in a processor's cache (a quarter faster than
# the whole at 1024²); a GPU wants few, large kernels.
BIAS_ELEMENTS = {"cpu": 1 << 20, "other": 64 << 20}


@dataclass(frozen=True)
class ViTConfig:
    """Size of an encoder: blocks, channels, attention heads, and the blocks that attend to the whole image."""

    depth: int
    hidden: int
    heads: int
    global_blocks: tuple[int, ...]


VIT_SIZES = {
    "vitb": ViTConfig(12, 768, 12, (2, 5, 8, 11)),
    "vitl": ViTConfig(24, 1024, 16, (5, 11, 17, 23)),
}


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of ``[b, c, h, w]``; free of copies where memory is channels-last."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]``, in and out."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PerSize:
    """Keeps what was resampled from a parameter for the sizes in use, until the parameter changes."""

    def __init__(self, make: Callable[..., Tensor]) -> None:
        self.make = make
        self.kept: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, table: Tensor, *size: int) -> Tensor:
        """What `make` makes of `table` for `size`, kept unless gradients are wanted."""
        if torch.is_grad_enabled() or table.is_inference():  # the latter do not count their changes
            return self.make(table, *size)
        key = (size, table.dtype, table.device, table.data_ptr(), table._version)
        if key not in self.kept:
            if len(self.kept) > 3:
                self.kept.clear()
            self.kept[key] = self.make(table, *size)
        return self.kept[key]


def relative_positions(table: Tensor, n: int) -> Tensor:
    """Vectors of all (query, key) pairs along one axis.

    Args:
        table: ``[2m − 1, d]``, by query − key + m − 1; resampled linearly where m ≠ n.
        n: tokens along the axis.

    Returns:
        ``[n, n, d]``.
    """
    if len(table) != 2 * n - 1:
        table = F.interpolate(table.T[None], size=2 * n - 1, mode="linear")[0].T
    places = torch.arange(n, device=table.device)
    return table[places[:, None] - places[None, :] + n - 1]


def absolute_positions(table: Tensor, h: int, w: int) -> Tensor:
    """Resample the position table ``[1, 64, 64, c]`` to a grid, ``[1, h, w, c]``."""
    if table.shape[1:3] == (h, w):
        return table
    channels_first = table.permute(0, 3, 1, 2)
    resized = F.interpolate(channels_first, size=(h, w), mode="bicubic", antialias=True, align_corners=False)
    return resized.permute(0, 2, 3, 1).contiguous()


class Attention(nn.Module):
    """Multi-head self-attention with decomposed relative positions (Li et al. 2022, section 4.2).

    Args:
        hidden: channels.
        heads: attention heads.
        window: tokens along a window's side; None attends to the whole grid.
    """

    def __init__(self, hidden: int, heads: int, window: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.proj = nn.Linear(hidden, hidden)
        table = (2 * (window or TABLE) - 1, hidden // heads)
        self.rel_pos_h = nn.Parameter(torch.zeros(table))
        self.rel_pos_w = nn.Parameter(torch.zeros(table))
        self.relative_h = PerSize(relative_positions)
        self.relative_w = PerSize(relative_positions)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, h, w, c]``, in and out."""
        b, h, w, _ = x.shape
        qkv = self.qkv(x)
        if self.window is None:
            out = self.attend(qkv.view(b, h * w, -1), h, w).view(b, h, w, -1)
        else:
            # A padded token is zero and is not masked, so what stands in its place is the layer's bias.
            windows = window_partition(qkv, self.window, fill=self.qkv.bias)
            out = window_merge(self.attend(windows, self.window, self.window), self.window, h, w)
        return self.proj(out)

    def attend(self, qkv: Tensor, h: int, w: int) -> Tensor:
        """Attention within each of `n` grids of h×w tokens: ``[n, h * w, 3c]`` → ``[n, h * w, c]``.

        The bias depends on the query, so it cannot be a table; it is made slice by slice and handed to the fused
        kernel.
        """
        n = len(qkv)
        heads = qkv.view(n, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = (x.flatten(0, 1) for x in heads)  # [n * heads, h * w, d]
        rows = q.unflatten(1, (h, w))
        bias_h = torch.einsum("nhwd,hkd->nhwk", rows, self.relative_h(self.rel_pos_h, h).to(q.dtype))
        bias_w = torch.einsum("nhwd,wkd->nhwk", rows, self.relative_w(self.rel_pos_w, w).to(q.dtype))
        out = torch.empty_like(rows)
        for part, top in bias_slices(len(q), h, w, q.device.type):
            bias = bias_h[part, top, :, :, None] + bias_w[part, top, :, None, :]  # [sets, rows, w, h, w]
            query, bias = rows[part, top].flatten(1, 2), bias.flatten(3).flatten(1, 2)
            attended = F.scaled_dot_product_attention(query[None], k[None, part], v[None, part], attn_mask=bias[None])
            out[part, top] = attended[0].unflatten(1, (-1, w))
        return out.view(n, self.heads, h * w, -1).transpose(1, 2).flatten(2)


def bias_slices(sets: int, h: int, w: int, device: str) -> Iterator[tuple[slice, slice]]:
    """Cut the attention bias ``[sets, h * w, h * w]`` into slices of sets and of rows that fit the memory for it."""
    elements = BIAS_ELEMENTS["cpu" if device == "cpu" else "other"]
    step = max(1, elements // (h * w) ** 2)
    rows = max(1, min(h, elements // (w * h * w)))
    for first in range(0, sets, step):
        for top in range(0, h, rows):
            yield slice(first, first + step), slice(top, top + rows)


class MLP(nn.Module):
    """Linear ×4, exact GELU, linear back."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(hidden, 4 * hidden)
        self.lin2 = nn.Linear(4 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., c]``, in and out."""
        return self.lin2(F.gelu(self.lin1(x)))


class Block(nn.Module):
    """A pre-norm transformer block over ``[b, h, w, c]``."""

    def __init__(self, hidden: int, heads: int, window: int | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden, eps=1e-6)
        self.attn = Attention(hidden, heads, window)
        self.norm2 = nn.LayerNorm(hidden, eps=1e-6)
        self.mlp = MLP(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, h, w, c]``, in and out."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Pixels ``[b, 3, h, w]`` to tokens ``[b, h/16, w/16, c]``."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, hidden, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, 3, h, w]`` to ``[b, h/16, w/16, c]``."""
        return self.proj(x).permute(0, 2, 3, 1)


class SamViT(nn.Module):
    """SAM's encoder: ``[b, 3, h, w]`` normalized → ``[b, 256, h/16, w/16]``; h and w multiples of 16.

    Args:
        config: the size.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, TABLE, TABLE, config.hidden))
        self.positions = PerSize(absolute_positions)
        self.patch_embed = PatchEmbed(config.hidden)
        self.blocks = nn.ModuleList(
            Block(config.hidden, config.heads, None if i in config.global_blocks else WINDOW)
            for i in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.hidden, NECK, 1, bias=False),
            LayerNorm2d(NECK),
            nn.Conv2d(NECK, NECK, 3, padding=1, bias=False),
            LayerNorm2d(NECK),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[b, 3, h, w]`` to ``[b, 256, h/16, w/16]``."""
        x = self.patch_embed(x)
        x = x + self.positions(self.pos_embed, *x.shape[1:3])
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))
