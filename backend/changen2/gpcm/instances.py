"""Class-agnostic removal: change without labels, conditioned on the contours of instances.

Any instance map serves (0 = no instance); ``segment`` makes one from the image alone. After Changen2 (Zheng et
al. 2024), where the instances are Segment Anything's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, generate_binary_structure
from skimage.segmentation import felzenszwalb, find_boundaries

Instances = NDArray[np.integer]
Mask = NDArray[np.bool_]

HALO = 3
"""Pixels around a window that its contours depend on: 2 by the opening, 1 by the dilation."""

SMALLEST, SCALE = 64, 120.0
"""Of the regions that stand for instances: the smallest in pixels, and how coarse they are (more gives larger ones)."""

CROSS = generate_binary_structure(2, 1)
SQUARE = generate_binary_structure(2, 2)


@dataclass(frozen=True)
class Removal:
    """One class-agnostic step, all [h, w].

    Attributes:
        instances: what is left; 0 where an instance was removed.
        change: the pixels of removed instances.
        removed: ids of the removed instances, in ascending order.
    """

    instances: Instances
    change: Mask
    removed: NDArray[np.integer]


def contours(instances: Instances) -> Mask:
    """Boundaries between instances, on both sides of each ("thick") [h, w]."""
    return find_boundaries(instances, connectivity=1, mode="thick")


def contours_after(instances: Instances, change: Mask) -> Mask:
    """The contours that are left when ``change`` has gone [h, w].

    Those of the first date, less the 3 × 3 dilation of the change opened with a 3 × 3 cross. What lies beyond the edge
    has no say, as published.
    """
    opened = binary_dilation(binary_erosion(change, CROSS, border_value=1), CROSS)
    return contours(instances) & ~binary_dilation(opened, SQUARE)


def choose_instances(ids: NDArray[np.integer], seed: int, step: int, probability: float) -> NDArray[np.integer]:
    """The instances to remove, each with the given probability.

    An instance's draw depends on its own id, the seed and the step only, so windows of a raster that share an
    instance agree about it.

    Args:
        ids: instance ids; 0 is never chosen.
        seed: of the series.
        step: number of the step.
        probability: 0..1.
    """
    unique = np.unique(ids)
    unique = unique[unique != 0]
    chance = np.array([np.random.default_rng([seed, step, int(i)]).random() for i in unique])
    return unique[chance < probability] if len(unique) else unique


def remove_instances(instances: Instances, seed: int, step: int, probability: float) -> Removal:
    """Remove instances at random.

    Args:
        instances: non-negative ids [h, w]; 0 = none.
        seed: of the series.
        step: number of the step.
        probability: of each instance to go.
    """
    removed = choose_instances(instances, seed, step, probability)
    change = np.isin(instances, removed)
    return Removal(np.where(change, 0, instances), change, removed)


def segment(image: NDArray[np.generic]) -> NDArray[np.int32]:
    """Instances of an image that has no labels: regions of even colour (Felzenszwalb and Huttenlocher 2004).

    The largest region is taken for the surroundings and gets 0.

    Args:
        image: [h, w, bands], any type; stretched to its own range.

    Returns:
        Ids from 1 [h, w], 0 for the surroundings.
    """
    values = np.asarray(image, np.float64)
    low, high = np.nanpercentile(values, (1, 99))
    stretched = np.nan_to_num(np.clip((values - low) / max(high - low, 1e-9), 0, 1))
    # The method's scale is made for colours of 0..1 at its own default of sigma.
    regions = felzenszwalb(stretched, scale=SCALE, sigma=0.8, min_size=SMALLEST, channel_axis=-1)
    ids = regions.astype(np.int32) + 1
    ids[regions == np.bincount(regions.ravel()).argmax()] = 0
    return ids
