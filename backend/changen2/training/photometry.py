"""What light, season, sensor and processing do to an image between two dates."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Floats = NDArray[np.float32]


def relight(image: Floats, rng: np.random.Generator, strength: float = 1.0) -> Floats:
    """Another day's look of the same ground.

    Args:
        image: ``[h, w, 3]``, 0..255.
        rng: source of randomness.
        strength: 0 leaves colours alone, 1 is the full range.

    Returns:
        ``[h, w, 3]``, 0..255.
    """
    x = image / 255
    gamma = np.exp(rng.normal(0, 0.25 * strength))
    x = np.power(np.clip(x, 1e-4, 1), gamma)
    mixing = np.eye(3) + rng.normal(0, 0.07 * strength, (3, 3))
    x = x @ (mixing / mixing.sum(axis=1, keepdims=True)).T.astype(np.float32)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * np.exp(rng.normal(0, 0.3 * strength))
    centre = x.mean()
    x = centre + (x - centre) * np.exp(rng.normal(0, 0.22 * strength))
    x = x * np.exp(rng.normal(0, 0.08 * strength, 3)) + rng.normal(0, 0.05 * strength)
    x = x + rng.normal(0, 0.025 * strength, 3)
    # Analysts look at stretched imagery: exposures differ, but hardly any is nearly black or white.
    exposure = np.clip(x, 0, 1).mean()
    wanted = np.clip(exposure, 0.2, 0.72) if strength < 0.5 else np.clip(rng.normal(0.42, 0.12), 0.18, 0.75)
    x = x * (wanted / max(exposure, 0.02)) ** rng.uniform(0.5, 1)
    return np.clip(x * 255, 0, 255).astype(np.float32)


def another_season(image: Floats, rng: np.random.Generator, strength: float = 1.0) -> Floats:
    """Green that withers or grows, and light that is not even; same shapes and range as :func:`relight`."""
    red, green, blue = np.moveaxis(image / 255, 2, 0)
    plants = 1 / (1 + np.exp(-(2 * green - red - blue - 0.06) / 0.03))
    grey = image.mean(axis=2, keepdims=True)
    wanted = grey * np.exp(rng.normal(0, 0.15)) * rng.uniform((0.75, 0.9, 0.5), (1.25, 1.15, 0.9))
    share = rng.uniform(0, 0.9) * strength * plants * _field(plants.shape, rng, 0.3, 1.0)
    image = image + share[..., None] * (wanted - image)
    light = np.exp(rng.normal(0, 0.1) * strength * _field(plants.shape, rng, -1.0, 1.0))
    return np.clip(image * light[..., None], 0, 255).astype(np.float32)


def _field(shape: tuple[int, ...], rng: np.random.Generator, low: float, high: float) -> Floats:
    """A smooth random field ``[h, w]`` between two values."""
    coarse = int(rng.integers(2, 6))
    noise = rng.uniform(low, high, (coarse, coarse)).astype(np.float32)
    factors = (shape[0] / coarse, shape[1] / coarse)
    return np.clip(ndimage.zoom(noise, factors, order=1, mode="nearest", grid_mode=True), low, high)


def resense(image: Floats, rng: np.random.Generator) -> Floats:
    """Another sensor's sharpness, noise and compression; same shapes and range as :func:`relight`."""
    if rng.random() < 0.4:
        sigma = rng.uniform(0.3, 1.1)
        image = ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=2.5)
    elif rng.random() < 0.25:
        soft = ndimage.gaussian_filter(image, (1, 1, 0), truncate=2.5)
        image = image + rng.uniform(0.2, 0.8) * (image - soft)
    if rng.random() < 0.4:
        image = image + rng.normal(0, rng.uniform(1, 7), image.shape).astype(np.float32)
    image = np.clip(image, 0, 255)
    if rng.random() < 0.2:
        image = _compressed(image, int(rng.integers(40, 90)))
    return image.astype(np.float32, copy=False)


def archived(before: Floats, after: Floats, rng: np.random.Generator, share: float) -> tuple[Floats, Floats]:
    """Two dates as archives have them: some without colour, some coarser than their pixels, some compressed hard.

    Args:
        before, after: ``[h, w, 3]``, 0..255.
        rng: source of randomness.
        share: of pairs that each of the three befalls; more often both dates than one.

    Returns:
        Both dates; same shapes and range.
    """
    dates = [before, after]
    for spoil in (_grey, _coarse, _compressed_hard):
        if rng.random() < share:
            for index in ((0,), (1,), (0, 1), (0, 1))[int(rng.integers(4))]:
                dates[index] = spoil(dates[index], rng)
    return dates[0], dates[1]


def _grey(image: Floats, rng: np.random.Generator) -> Floats:
    """As a panchromatic film sees it: the bands in some mix, the same in all three."""
    mix = rng.dirichlet((4, 4, 4)).astype(np.float32)
    return np.repeat((image @ mix)[..., None], 3, axis=2)


def _coarse(image: Floats, rng: np.random.Generator) -> Floats:
    """As a sensor with larger pixels sees it, resampled."""
    height, width = image.shape[:2]
    factor = rng.uniform(1.2, 3)
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    picture = picture.resize((round(width / factor), round(height / factor)), Image.Resampling.BOX)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def _compressed_hard(image: Floats, rng: np.random.Generator) -> Floats:
    return _compressed(image, int(rng.integers(15, 45)))


def _compressed(image: Floats, quality: int) -> Floats:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), dtype=np.float32)
