"""The Fréchet distance between two sets of pictures, on features of a network that knows images.

After Heusel et al. 2017, fitted to few tiles: EfficientNet-Lite0 features instead of Inception's, 49 cells a tile
instead of their mean, projected to the 64 main axes of the real ones. Figures compare within a report only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from changen2.errors import InputError
from changen2.training.bootstrap import Indices, Score, bootstrap

SIDE = 224
"""Pixels along a side of a tile's middle that is looked at: 7 × 7 cells of the encoder's coarsest stride, 32."""

DIMENSIONS = 64

Floats = NDArray[np.float64]


@torch.inference_mode()
def cell_features(encoder: nn.Module, pictures: NDArray[np.uint8], batch: int = 8) -> Floats:
    """Features of each cell of each picture.

    Args:
        encoder: images in −1..1 to feature maps, the coarsest (stride 32) last.
        pictures: RGB [n, 3, h, w], at least 224 × 224.
        batch: pictures at once.

    Returns:
        [n, 49, channels].

    Raises:
        InputError: smaller pictures.
    """
    height, width = pictures.shape[2:]
    if min(height, width) < SIDE:
        raise InputError(f"Pictures of {height} × {width} pixels.", hint=f"Give at least {SIDE} × {SIDE}.")
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    middle = pictures[:, :, top : top + SIDE, left : left + SIDE]
    found = []
    for start in range(0, len(middle), batch):
        images = torch.from_numpy(np.array(middle[start : start + batch])).float() / 127.5 - 1
        found.append(encoder(images)[-1].flatten(2).transpose(1, 2).double().numpy())
    return np.concatenate(found)


@dataclass(frozen=True)
class Projection:
    """Onto the main axes of some features.

    Attributes:
        mean: [d].
        axes: orthonormal columns [d, k].
    """

    mean: Floats
    axes: Floats

    @classmethod
    def fit(cls, features: Floats, dimensions: int = DIMENSIONS) -> Projection:
        """The axes of largest variance of features [n, cells, d]."""
        rows = features.reshape(-1, features.shape[-1])
        mean = rows.mean(axis=0)
        _, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
        return cls(mean, vectors[:, ::-1][:, :dimensions])

    def __call__(self, features: Floats) -> Floats:
        """Features [n, cells, d] on the axes [n, cells, k]."""
        return (features - self.mean) @ self.axes


@dataclass(frozen=True)
class Moments:
    """Mean and mean outer product of each tile's features, from which those of any set of tiles follow.

    Attributes:
        means: [n, k].
        products: [n, k, k].
    """

    means: Floats
    products: Floats

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Of values [n, cells, k]."""
        return cls(values.mean(axis=1), np.einsum("nci,ncj->nij", values, values) / values.shape[1])

    def __len__(self) -> int:
        return len(self.means)

    def of_tiles(self, chosen: Indices | None = None) -> tuple[Floats, Floats]:
        """Mean [k] and covariance [k, k] over some tiles, all where None."""
        weights = np.bincount(np.arange(len(self)) if chosen is None else chosen, minlength=len(self))
        weights = weights / weights.sum()
        mean = weights @ self.means
        return mean, np.tensordot(weights, self.products, axes=1) - np.outer(mean, mean)


def gaussian_distance(mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    """The squared Fréchet (2-Wasserstein) distance of two Gaussians (Dowson and Landau 1982, equation 4)."""
    root = _square_root(covariance)
    shared = np.linalg.eigvalsh(root @ other_covariance @ root).clip(0)
    difference = mean - other_mean
    spread = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(shared).sum()
    return float(difference @ difference + max(spread, 0.0))


def distance(first: Moments, second: Moments, chosen: Indices | None = None) -> float:
    """Between two sets of tiles; ``chosen`` picks tiles of the same numbers from both."""
    return gaussian_distance(*first.of_tiles(chosen), *second.of_tiles(chosen))


def distance_score(first: Moments, second: Moments, resamples: int = 1000, seed: int = 0) -> Score:
    """The distance with its interval; tile n of both sets is drawn together."""
    _same_length(first, second)
    return bootstrap(lambda chosen: distance(first, second, chosen), len(first), resamples, seed)


def ratio_score(first: Moments, second: Moments, real: Moments, resamples: int = 1000, seed: int = 0) -> Score:
    """How many times as far from the real tiles the first set is as the second.

    Tile n of all three belongs to the same labels, so they are drawn together.

    Raises:
        InputError: sets of different sizes.
    """
    _same_length(first, second, real)

    def ratio(chosen: Indices) -> float:
        return distance(first, real, chosen) / distance(second, real, chosen)

    return bootstrap(ratio, len(real), resamples, seed)


def _square_root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _same_length(*moments: Moments) -> None:
    lengths = [len(each) for each in moments]
    if len(set(lengths)) > 1:
        raise InputError(f"Sets of {lengths} tiles.", hint="Draw one tile for each real one.", code="no_pairs")
