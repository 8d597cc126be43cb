"""What another hour and another orbit do to buildings of known outline: shaded roofs, shadows, leaning.

Two real dates of an unchanged building differ more than any change of colours shows: the other half of the roof is
lit, the shadow falls elsewhere, and the roof stands some pixels beside its footprint. A pair made of one image has
none of this unless it is put in.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from changen2.training.crops import Crop
from changen2.training.places import BUILDING

Floats = NDArray[np.float32]

MIN_ROOF_PIXELS = 24


def another_sun(crop: Crop, rng: np.random.Generator, strength: float = 1.0) -> Crop:
    """The same ground at another hour, from another orbit: each roof's sides relit, a shadow cast, roofs leaning.

    Args:
        crop: buildings as its label knows them; what it does not know keeps its look.
        rng: source of randomness.
        strength: 0 changes nothing, 1 is the full range.

    Returns:
        A crop on the same grid; roof and label lean together.
    """
    roofs, count = ndimage.label(crop.label == BUILDING)
    if not count or strength <= 0:
        return crop
    light = roof_light(roofs, rng, strength)
    if rng.random() < 0.7:
        light *= shadow(crop.label == BUILDING, rng, strength)
    crop = replace(crop, image=np.clip(crop.image * light[..., None], 0, 255).astype(np.float32))
    return lean(crop, rng, 2.5 * strength) if rng.random() < 0.5 else crop


def roof_light(roofs: NDArray[np.integer], rng: np.random.Generator, strength: float) -> Floats:
    """Brightness factor ``[h, w]``: two or four sides of each roof, about its longer axis, lit alike by one sun.

    Args:
        roofs: ``[h, w]``, 0 ground, else the number of a roof.
        rng: source of randomness.
        strength: of the contrast between sides.
    """
    light = np.ones(roofs.shape, np.float32)
    sun = rng.uniform(0, 2 * np.pi)
    contrast = rng.uniform(0, 0.3) * strength
    for number, window in enumerate(ndimage.find_objects(roofs), start=1):
        rows, columns = np.nonzero(roofs[window] == number)
        if len(rows) < MIN_ROOF_PIXELS or rng.random() < 0.3:  # some roofs are flat
            continue
        points = np.stack([columns - columns.mean(), rows - rows.mean()])
        spread, axes = np.linalg.eigh(points @ points.T)
        across, along = axes.T @ points
        reach = np.sqrt(12 * spread / len(rows)) / 2  # half the sides of a rectangle with that spread
        hipped = (np.abs(along) - (reach[1] - reach[0]) > np.abs(across)) & (rng.random() < 0.5)
        facing = np.where(
            hipped,
            np.sign(along) * np.cos(sun - np.arctan2(axes[1, 1], axes[0, 1])),
            np.sign(across) * np.cos(sun - np.arctan2(axes[1, 0], axes[0, 0])),
        )
        light[window][rows, columns] = np.exp(contrast * facing + rng.normal(0, 0.06 * strength))
    return ndimage.gaussian_filter(light, 0.6)


def shadow(buildings: NDArray[np.bool_], rng: np.random.Generator, strength: float) -> Floats:
    """Brightness factor ``[h, w]`` of the ground beside buildings, in one direction for all."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 9)
    reached = np.zeros_like(buildings)
    for step in np.arange(1, length + 1):
        rows, columns = round(step * np.sin(angle)), round(step * np.cos(angle))
        reached |= _moved(buildings, rows, columns)
    dark = ndimage.gaussian_filter((reached & ~buildings).astype(np.float32), 0.7)
    return 1 - rng.uniform(0.2, 0.65) * strength * dark


def lean(crop: Crop, rng: np.random.Generator, reach: float) -> Crop:
    """Roofs, and their label with them, up to ``reach`` pixels from where they stood; the ground stays."""
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, reach)
    pull = ndimage.gaussian_filter(ndimage.grey_dilation(crop.label == BUILDING, 7).astype(np.float32), 1.5)
    rows, columns = np.mgrid[: pull.shape[0], : pull.shape[1]].astype(np.float32)
    where = np.stack([rows + far * np.sin(angle) * pull, columns + far * np.cos(angle) * pull])
    bands = [ndimage.map_coordinates(band, where, order=1, mode="nearest") for band in np.moveaxis(crop.image, 2, 0)]
    return Crop(np.stack(bands, 2), ndimage.map_coordinates(crop.label, where, order=0, mode="nearest"))


def _moved(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.bool_]:
    """Moved by whole pixels; nothing comes in at the edges."""
    moved = np.zeros_like(mask)
    height, width = mask.shape
    moved[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = mask[
        max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
    ]
    return moved
