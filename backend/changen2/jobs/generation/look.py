"""How the same ground looks on another day: season, viewing angle, misregistration, light and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from changen2.training.photometry import relight, resense

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SEASON_TINT = np.array([0.7, -0.1, -0.2], np.float32)
"""By what share red, green and blue of full-grown vegetation change when it dries."""

GREENEST = 0.2
"""Excess green (2g − r − b, of 0..1) from which a pixel counts as nothing but vegetation."""

LEAN_SIGMA = 1.5
"""Pixels over which a roof's displacement passes into the ground's: walls are not drawn, only stretched."""


@dataclass(frozen=True)
class Look:
    """How much two dates differ though nothing changed.

    Attributes:
        photometry: 0..1, see ``changen2.training.photometry``.
        season: 0..1.
        misregistration: largest shift in pixels.
        view_shift: pixels that the highest objects are displaced by at most.
    """

    photometry: float
    season: float
    misregistration: float
    view_shift: float

    def seen(self, picture: Floats, rng: np.random.Generator) -> Floats:
        """A date [h, w, 3] of 0..255 in its own season and light, by its own sensor."""
        if self.season > 0:
            picture = other_season(picture, self.season, rng)
        if self.photometry > 0:
            picture = resense(relight(picture, rng, self.photometry), rng)
        return picture

    def moved(self, picture: Floats, objects: Mask, rng: np.random.Generator) -> Floats:
        """A date as it lies on the other date's grid: shifted as a whole, its objects leaning.

        Args:
            picture: [h, w, 3], 0..255.
            objects: what stands above the ground [h, w].
            rng: source of randomness.
        """
        shift, lean = _within(self.misregistration, rng), _within(self.view_shift, rng)
        if not (shift.any() or lean.any()):
            return picture
        height = relative_heights(objects, rng)
        rows, columns = np.indices(height.shape, np.float32)
        places = np.stack([rows, columns]) - shift[:, None, None] - lean[:, None, None] * height
        moved = [
            scipy.ndimage.map_coordinates(band, places, order=3, mode="mirror") for band in picture.T.swapaxes(1, 2)
        ]
        return np.clip(np.stack(moved, axis=-1), 0, 255).astype(np.float32)


def other_season(picture: Floats, strength: float, rng: np.random.Generator) -> Floats:
    """Vegetation drier or greener, darker or brighter; what is not green stays as it is.

    Args:
        picture: [h, w, 3], 0..255.
        strength: 0..1.
        rng: source of randomness.
    """
    dryness, brightness = rng.normal(0, 0.6 * strength), rng.normal(0, 0.25 * strength)
    excess = (2 * picture[..., 1] - picture[..., 0] - picture[..., 2]) / 255
    share = np.clip(excess / GREENEST, 0, 1)[..., None]
    changed = picture * (1 + dryness * SEASON_TINT * share) * np.exp(brightness * share)
    return np.clip(changed, 0, 255).astype(np.float32)


def relative_heights(objects: Mask, rng: np.random.Generator) -> Floats:
    """A height of 0..1 for each object, falling to 0 over its edge [h, w]."""
    numbers, count = scipy.ndimage.label(objects)
    heights = np.concatenate([[0.0], rng.uniform(0.2, 1.0, count)])[numbers]
    return scipy.ndimage.gaussian_filter(heights, LEAN_SIGMA).astype(np.float32)


def _within(radius: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A displacement (rows, columns), evenly spread over a disc."""
    angle, distance = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform())
    return np.array([np.sin(angle), np.cos(angle)], np.float32) * np.float32(distance)
