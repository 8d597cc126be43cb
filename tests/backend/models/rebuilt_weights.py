"""Weights and inputs that anyone can rebuild from a parameter's name and shape: the reference outputs use them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def rebuilt(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Draw all parameters; numpy draws outside the interpreter's lock, so two threads halve the time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(shapes, pool.map(drawn, shapes, shapes.values()), strict=True))


def drawn(name: str, shape: tuple[int, ...]) -> Array:
    """Draw a parameter from a seed made of its name, scaled so that activations keep their size."""
    x = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) >= 2:
        x /= np.sqrt(np.prod(shape[1:]))
    else:
        x *= 0.1
        x += 1.0 if name.endswith("weight") else 0.0
    return x.astype(np.float32)


def read_shapes(text: str) -> dict[str, tuple[int, ...]]:
    """Parse lines of ``name 3x4x5``."""
    rows = (line.split() for line in text.splitlines())
    return {name: tuple(int(n) for n in shape.split("x")) for name, shape in rows}


def pair(height: int, width: int) -> Array:
    """Return a normalised pair, both dates stacked: ``[1, 6, height, width]``."""
    return np.random.RandomState(7919 * height + width).standard_normal((1, 6, height, width)).astype(np.float32)


def latents(height: int, width: int, labels: int) -> tuple[Array, NDArray[np.int64], Array]:
    """Return latents ``[2, 4, h, w]``, timesteps ``[2]`` and labels ``[2, labels, 8h, 8w]``."""
    rng = np.random.RandomState(7919 * height + width)
    x = rng.standard_normal((2, 4, height, width)).astype(np.float32)
    y = rng.uniform(0, 1, (2, labels, 8 * height, 8 * width)).astype(np.float32).round()
    return x, np.array([17, 803]), y
