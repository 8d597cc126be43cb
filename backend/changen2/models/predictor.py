"""A detector as the raster engine sees it: uint8 tiles in, whole-numbered probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from changen2.models.detection import Detection, normalize
from changen2.models.devices import channels_last, memory_free, require_numbers
from changen2.models.memory import Batch, enough_memory

QUANTUM = 65535
"""Probabilities leave as round(p · 65535)."""

SMALL = 64
"""Side of a tile that any detector takes."""

BYTES_A_PIXEL = 900
"""Of a tile, roughly: what a detector holds at once for one pair."""

MOST_PAIRS = 8
"""At once, where nobody says how many: more are hardly faster."""

Tiles = NDArray[np.uint8]


def pair_bytes(tile: tuple[int, int]) -> int:
    """Memory that one pair takes, roughly.

    Args:
        tile: height and width.
    """
    return tile[0] * tile[1] * BYTES_A_PIXEL


def batch_that_fits(device: torch.device, tile: tuple[int, int]) -> int:
    """Pairs to compute at once: on a GPU as many as its free memory holds, from 1 to 8; on a CPU one.

    Args:
        device: that computes.
        tile: height and width.
    """
    if device.type == "cpu":
        return 1
    return max(1, min(MOST_PAIRS, memory_free(device) // pair_bytes(tile)))


class Predictor:
    """Runs a detector on batches of one fixed size, which is halved where the device's memory does not suffice.

    Args:
        model: returns a ``Detection`` for normalised pairs.
        device: where it runs.
        precision: float32, bfloat16 or float16 (autocast).
        batch_size: pairs at once; fewer are padded, since a batch's size can change the last bits.

    Raises:
        JobError: ``out_of_memory`` where the model does not fit.
    """

    def __init__(self, model: nn.Module, device: torch.device, precision: torch.dtype, batch_size: int) -> None:
        with enough_memory(device, "The model"):
            self._model = channels_last(model.eval().to(device))
        self.device = device
        self.precision = precision
        self._batch = Batch(batch_size, device)

    @property
    def batch_size(self) -> int:
        """Pairs at once now."""
        return self._batch.size

    def probe(self, tile: tuple[int, int]) -> int:
        """Run one batch of empty tiles, so that a GPU whose memory does not suffice halves it before the work begins.

        A CPU's memory is not probed: there a small tile tells the planes, and costs nothing.

        Args:
            tile: height and width.

        Returns:
            The number of planes that ``predict`` returns.

        Raises:
            JobError: ``out_of_memory`` where not even one pair fits; ``not_a_number``.
        """
        if self.device.type == "cpu":
            tile = min(tile[0], SMALL), min(tile[1], SMALL)
        empty = np.zeros((self.batch_size, 3, *tile), np.uint8)
        return int(self.predict(empty, empty).shape[1])

    def predict(self, before: Tiles, after: Tiles) -> NDArray[np.uint16]:
        """Detect change in pairs, ``batch_size`` at a time.

        Args:
            before, after: ``[n, 3, h, w]`` uint8 RGB.

        Returns:
            ``[n, planes, h, w]``: the change head's channels, then the semantic head's for each date.

        Raises:
            JobError: ``out_of_memory`` where not even one pair fits; ``not_a_number``.
        """
        item = f"One pair of {before.shape[2]} × {before.shape[3]} tiles"
        hint = "Use a smaller tile size (--tile-size 256) or another device."
        found = self._batch.run(lambda part: self._look(before[part], after[part]), len(before), item, hint)
        return np.concatenate(list(found))

    @torch.inference_mode()
    def _look(self, before: Tiles, after: Tiles) -> NDArray[np.uint16]:
        """Detect change in up to ``batch_size`` pairs."""
        count = len(before)
        pair = [self._to_device(tiles) for tiles in (before, after)]
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            detection: Detection = self._model(*pair)
        planes = [detection["change"], detection["semantic_before"], detection["semantic_after"]]
        stacked = torch.cat([plane[:count].float() for plane in planes], dim=1)
        require_numbers(stacked, self.precision)
        return (stacked * QUANTUM).round_().to(torch.int32).cpu().numpy().astype(np.uint16)

    @contextmanager
    def watched(self, check: Callable[[], None]) -> Iterator[None]:
        """Call ``check`` before each part of the network, so that it may stop ``predict`` midway by raising.

        A large tile takes seconds, and a large network a minute: too long to wait for after a click on Cancel.
        """
        hooks = [part.register_forward_pre_hook(lambda *_: check()) for part in self._model.modules()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _to_device(self, tiles: Tiles) -> Tensor:
        if len(tiles) < self.batch_size:
            tiles = np.concatenate([tiles, np.zeros((self.batch_size - len(tiles), *tiles.shape[1:]), np.uint8)])
        moved = torch.from_numpy(tiles).to(self.device, non_blocking=True)
        return normalize(moved).contiguous(memory_format=torch.channels_last)
