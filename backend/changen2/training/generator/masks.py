"""What a training sample calls the change: footprints, blobs or the whole tile, on the latent grid.

Footprints of the image's own buildings teach creation, those of another image teach what to put where nothing was
built or where something was taken away, blobs teach everything else, and whole tiles teach drawing from labels alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from changen2.models.autoencoder_tiny import STRIDE
from changen2.models.rsdit_tiny import BACKGROUND, BUILDING
from changen2.training.places import Bytes

Mask = NDArray[np.bool_]

WHOLE, OWN, BORROWED, BLOB = "whole", "own footprints", "borrowed footprints", "blob"
KINDS = {WHOLE: 0.2, OWN: 0.35, BORROWED: 0.2, BLOB: 0.25}
MOST_FOOTPRINTS = 4
MARGINS = (0, 5)  # latent places around a footprint; the surroundings of a new house change with it, or do not
UNTOLD_SHARE = 0.5  # of the samples know labels only inside the change, as with events drawn on an unlabelled image


def draw_mask(label: Bytes, other: Bytes, rng: np.random.Generator) -> Mask:
    """A change mask on the latent grid.

    Args:
        label: class indices of the sample [4h, 4w].
        other: those of another sample of the same size, for its footprints.
        rng: source of randomness.

    Returns:
        [h, w], never empty.
    """
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    shape = (label.shape[0] // STRIDE, label.shape[1] // STRIDE)
    if kind == WHOLE:
        return np.ones(shape, bool)
    footprints = None
    if kind == OWN:
        footprints = some_footprints(label, rng)
    elif kind == BORROWED:
        footprints = some_footprints(other, rng)
    if footprints is None:
        return blob(shape, rng)
    margin = int(rng.integers(*MARGINS))
    inside = on_latents(footprints)
    return ndimage.binary_dilation(inside, iterations=margin) if margin else inside


def some_footprints(label: Bytes, rng: np.random.Generator) -> Mask | None:
    """A few of a label map's buildings [4h, 4w], or None where it has none."""
    objects, count = ndimage.label(label == BUILDING, np.ones((3, 3), int))
    if not count:
        return None
    chosen = rng.choice(count, min(count, int(rng.integers(1, MOST_FOOTPRINTS + 1))), replace=False) + 1
    return np.isin(objects, chosen)


def blob(shape: tuple[int, int], rng: np.random.Generator) -> Mask:
    """A random region of smooth outline, some 5 to 50 % of the grid."""
    rough: NDArray[np.float64] = ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(2, 6), mode="wrap")
    return rough >= float(np.quantile(rough, rng.uniform(0.5, 0.95)))


def on_latents(mask: Mask) -> Mask:
    """A pixel mask [4h, 4w] on the latent grid [h, w]: a place counts that any of its pixels is in."""
    height, width = mask.shape[0] // STRIDE, mask.shape[1] // STRIDE
    return mask.reshape(height, STRIDE, width, STRIDE).max((1, 3))


def untell(label: Bytes, mask: Mask, rng: np.random.Generator) -> Bytes:
    """The labels as the denoiser gets them: all of them, or at times none outside the change."""
    if rng.random() >= UNTOLD_SHARE:
        return label
    inside = np.kron(mask, np.ones((STRIDE, STRIDE), bool))
    return np.where(inside, label, BACKGROUND).astype(np.uint8)
