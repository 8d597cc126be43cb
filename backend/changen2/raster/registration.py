"""Global sub-pixel shift between two dates, by phase correlation (Guizar-Sicairos et al. 2008)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.windows import Window
from skimage.registration import phase_cross_correlation

from changen2.raster.grid import Grid
from changen2.raster.ground import pixel_size_m
from changen2.raster.reading import AlignedRaster

SAMPLE = 512
"""Side of a sample window in pixels."""

SAMPLES_PER_SIDE = 3

UPSAMPLE = 50
"""The shift is found to 1/50 of a pixel."""

LARGEST_SHIFT = 20.0
"""Pixels; beyond it a correlation peak is taken for chance."""


class Shift(BaseModel):
    """How far ``after`` lies from ``before``.

    Attributes:
        columns, rows: in pixels of the working grid; positive where the content of ``after`` lies too
            far right, too far down.
        metres: length on the ground; None without CRS.
        samples: windows that agreed on it; 0 means that none could be trusted and nothing is shifted.
    """

    model_config = ConfigDict(frozen=True)

    columns: float
    rows: float
    metres: float | None
    samples: int


def estimate_shift(before: AlignedRaster, after: AlignedRaster, grid: Grid) -> Shift:
    """Measure the shift on up to nine windows and take the median of those that agree.

    Args:
        before: the reference date.
        after: the other date, on the same grid.
        grid: that grid.
    """
    shifts = []
    for window in _sample_windows(grid):
        found = _shift_of(before, after, window)
        if found is not None:
            shifts.append(found)
    if not shifts:
        return Shift(columns=0.0, rows=0.0, metres=None, samples=0)
    every = np.array(shifts)
    middle = np.median(every, axis=0)
    agreeing = every[np.abs(every - middle).max(axis=1) <= 1.0]
    if len(agreeing) < max(1, (len(shifts) + 1) // 2):
        return Shift(columns=0.0, rows=0.0, metres=None, samples=0)
    rows, columns = np.median(agreeing, axis=0)
    size = pixel_size_m(grid)
    metres = float(np.hypot(columns * size[0], rows * size[1])) if size else None
    return Shift(columns=float(columns), rows=float(rows), metres=metres, samples=len(agreeing))


def _shift_of(before: AlignedRaster, after: AlignedRaster, window: Window) -> tuple[float, float] | None:
    pictures = []
    for raster in (before, after):
        values, valid = raster.read(window)
        if valid.mean() < 0.9:
            return None
        pictures.append(_edges(values.astype(np.float32).mean(axis=0)))
    if min(picture.std() for picture in pictures) < 1e-3:
        return None
    moved, _, _ = phase_cross_correlation(pictures[0], pictures[1], upsample_factor=UPSAMPLE)
    rows, columns = -float(moved[0]), -float(moved[1])
    return (rows, columns) if max(abs(rows), abs(columns)) <= LARGEST_SHIFT else None


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gradient magnitude under a Hann window: light differs between dates, outlines stay."""
    down, across = np.gradient(grey)
    magnitude = np.hypot(down, across)
    magnitude = np.minimum(magnitude, np.percentile(magnitude, 99))
    taper = np.hanning(grey.shape[0])[:, None] * np.hanning(grey.shape[1])[None, :]
    return ((magnitude - magnitude.mean()) * taper).astype(np.float32)


def _sample_windows(grid: Grid) -> list[Window]:
    height, width = min(SAMPLE, grid.height), min(SAMPLE, grid.width)
    rows = np.unique(np.linspace(0, grid.height - height, SAMPLES_PER_SIDE).astype(int))
    columns = np.unique(np.linspace(0, grid.width - width, SAMPLES_PER_SIDE).astype(int))
    return [Window(int(column), int(row), width, height) for row in rows for column in columns]
