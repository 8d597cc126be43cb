"""Windowed attention's bookkeeping: cut a token grid into square windows and put it back."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend an image at its right and bottom edges, mirrored, to a size the model can take.

    Args:
        x: ``[b, c, h, w]``.
        multiple: the height and width become multiples of this.

    Returns:
        ``[b, c, h', w']``; `x` itself where nothing is missing.
    """
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return x
    # A mirror cannot show more than there is in front of it.
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode)


def window_partition(x: Tensor, size: int, fill: Tensor) -> Tensor:
    """Cut a token grid into windows, row by row.

    Args:
        x: ``[b, h, w, c]``.
        size: side of a window in tokens.
        fill: ``[c]``, what the places beyond the grid's right and bottom edges hold.

    Returns:
        ``[b * windows, size * size, c]``.
    """
    b, h, w, c = x.shape
    rows, columns = -(-h // size), -(-w // size)
    if h % size or w % size:
        padded = fill.to(x.dtype).expand(b, rows * size, columns * size, c).clone()
        padded[:, :h, :w] = x
        x = padded
    x = x.view(b, rows, size, columns, size, c).transpose(2, 3)
    return x.reshape(b * rows * columns, size * size, c)


def window_merge(windows: Tensor, size: int, height: int, width: int) -> Tensor:
    """Undo `window_partition` and crop what it padded.

    Args:
        windows: ``[b * windows, size * size, c]``.
        size: side of a window in tokens.
        height: rows of the token grid.
        width: columns of the token grid.

    Returns:
        ``[b, height, width, c]``.
    """
    rows, columns = -(-height // size), -(-width // size)
    c = windows.shape[-1]
    x = windows.view(-1, rows, columns, size, size, c).transpose(2, 3)
    # A linear layer on a cropped view would repeat its weights for every row of it.
    return x.reshape(-1, rows * size, columns * size, c)[:, :height, :width].contiguous()
