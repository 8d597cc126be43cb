"""Noise as a function of where and when, not of the order in which work is done.

Each block of the raster's latent grid has a random stream of its own, keyed by (seed, series step, sampler step,
block). So any window of the grid gets the same noise, however the raster was cut, batched or resumed. Values are those
of NumPy's Philox generator (Salmon et al. 2011), drawn by its normal distribution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError

BLOCK = 32
"""Side of a block in latent pixels; part of the definition of the noise, so never change it."""

START = 0
CLAMP = 1
FIRST_STEP = 2
"""Sampler steps of the first sample, of the clamp's fixed field, and of the first reverse step."""

_COLUMN_BITS = 32
_SIGN = 1 << 31  # blocks left of and above the origin are numbered too


def latent_noise(
    seed: int, series_step: int, sampler_step: int, top: int, left: int, height: int, width: int, channels: int
) -> NDArray[np.float32]:
    """Standard normal noise of a window of the raster's latent grid.

    Args:
        seed: of the run, 0 … 2⁶⁴ − 1.
        series_step: step of the time series, 0 … 2³² − 1.
        sampler_step: ``START``, ``CLAMP`` or ``FIRST_STEP`` + n, below 2³².
        top: first row on the latent grid, may be negative.
        left: first column.
        height: rows.
        width: columns.
        channels: of the latent.

    Returns:
        float32 [channels, height, width].

    Raises:
        InputError: a number out of its range.
    """
    for name, value, bits in (("seed", seed, 64), ("series step", series_step, 32), ("sampler step", sampler_step, 32)):
        if not 0 <= value < 2**bits:
            raise InputError(f"A {name} of {value}.", hint=f"It lies between 0 and 2^{bits} − 1.", code="bad_seed")
    result = np.empty((channels, height, width), np.float32)
    for row in range(top // BLOCK, -(-(top + height) // BLOCK)):
        for column in range(left // BLOCK, -(-(left + width) // BLOCK)):
            block = _block(seed, series_step, sampler_step, row, column, channels)
            y, x = row * BLOCK - top, column * BLOCK - left
            rows = slice(max(y, 0), min(y + BLOCK, height))
            columns = slice(max(x, 0), min(x + BLOCK, width))
            result[:, rows, columns] = block[:, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    return result


def _block(seed: int, series_step: int, sampler_step: int, row: int, column: int, channels: int) -> NDArray[np.float32]:
    # Channels come first in the stream, so that more channels do not change the first ones.
    place = (row + _SIGN) << _COLUMN_BITS | (column + _SIGN)
    # As uint64 at once: a list with integers above 2⁶³ would pass through float64 and lose its last digits.
    key = np.array([seed, series_step << 32 | sampler_step], np.uint64)
    bits = np.random.Philox(key=key, counter=np.array([0, 0, place, 0], np.uint64))
    return np.random.Generator(bits).standard_normal((channels, BLOCK, BLOCK), dtype=np.float32)
