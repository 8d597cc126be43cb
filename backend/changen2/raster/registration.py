"""Global sub-pixel shift between two dates, by phase correlation of their outlines (Kuglin and Hines 1975)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.windows import Window
from scipy import fft, ndimage

from changen2.raster.grid import Grid
from changen2.raster.ground import pixel_size_m
from changen2.raster.reading import AlignedRaster

SAMPLE = 512
"""Side of a sample window in pixels."""

PLACES_PER_SIDE = (3, 5)
"""Of the windows that are looked at, edge to edge, and of those among which the missing are replaced."""

LEAST_VALID = 0.9
"""Share of a window that either date must show."""

SMALLEST = 192
"""Side of a sample window below which chance is too hard to tell from a shift, in pixels."""

LARGEST_SHIFT = 20
"""Pixels; none beyond it is looked for."""

BLUR = 1.0
"""Pixels; what a correlation is smoothed by, for outlines of two dates are never quite the same."""

DISTINCT = 6.0
"""How far a peak must rise above all other shifts, in their standard deviations.

Of 210 pairs of unlike places (the dates before of LEVIR-CD's and DSIFN-CD's crops) the most is 4.9 at 256 pixels a
side, 5.2 at 192, 7.0 at 128 and 8.8 at 32."""

AROUND = 4
"""Pixels around a peak that belong to it."""

Grey = NDArray[np.float32]
"""Brightness of one date, rows by columns."""

Surface = NDArray[np.float64]
"""How well the outlines of two dates agree at each shift, rows by columns, no shift in the middle."""


class Shift(BaseModel):
    """How far ``after`` lies from ``before``.

    Attributes:
        columns, rows: in pixels of the working grid; positive where the content of ``after`` lies too
            far right, too far down.
        metres: length on the ground; None without CRS.
        samples: windows that it was measured on; 0 means that none could be told from chance, and nothing is shifted.
        looked_at: windows that both dates show enough of; 0 means that there was nothing to measure it on.
    """

    model_config = ConfigDict(frozen=True)

    columns: float
    rows: float
    metres: float | None
    samples: int
    looked_at: int


def estimate_shift(before: AlignedRaster, after: AlignedRaster, grid: Grid) -> Shift:
    """Measure one shift on up to nine windows together.

    What has changed correlates nowhere, so each window may say little; their correlations are added up, and only where
    one shift stands out of all others is it taken: up to 20 pixels, on common ground of at least 192 × 192 pixels.

    Args:
        before: the reference date.
        after: the other date, on the same grid.
        grid: that grid, wholly covered by the reference date.
    """
    correlations = [_correlation(*pair) for pair in _pairs(before, after)]
    surfaces = [surface for surface in correlations if surface is not None]
    found = _distinct_peak(np.sum(surfaces, axis=0)) if surfaces else None
    if found is None:
        return Shift(columns=0.0, rows=0.0, metres=None, samples=0, looked_at=len(correlations))
    rows, columns = found
    size = pixel_size_m(grid)
    metres = float(np.hypot(columns * size[0], rows * size[1])) if size else None
    return Shift(columns=columns, rows=rows, metres=metres, samples=len(surfaces), looked_at=len(correlations))


def _pairs(before: AlignedRaster, after: AlignedRaster) -> Iterator[tuple[Grey, Grey]]:
    """Both dates at up to nine places of the ground that they share, whatever part of it is asked for.

    Where one of the nine shows too little, another place among them stands in for it.
    """
    common = after.footprint()
    if common is None or min(common.height, common.width) < SMALLEST:
        return
    usual, finer = (_sample_windows(common, places) for places in PLACES_PER_SIDE)
    missing = len(usual)
    for window in [*usual, *(window for window in finer if window not in usual)]:
        first = _grey(before, window)
        second = None if first is None else _grey(after, window)
        if first is not None and second is not None:
            yield first, second
            missing -= 1
        if missing == 0:
            return


def _grey(raster: AlignedRaster, window: Window) -> Grey | None:
    """The brightness of a window; None where too little of it is valid."""
    values, valid = raster.read(window)
    if valid.mean() < LEAST_VALID:
        return None
    grey = values.astype(np.float32).mean(axis=0)
    grey[~valid] = grey[valid].mean()
    return grey


def _correlation(before: Grey, after: Grey) -> Surface | None:
    """The phase correlation of both dates at a place; None where either has no outlines."""
    spectra = []
    for grey in (before, after):
        edges = _edges(grey)
        if edges.std() < 1e-3:
            return None
        spectra.append(fft.fft2(edges))
    product = spectra[1] * spectra[0].conj()
    everywhere = fft.fftshift(fft.ifft2(product / np.maximum(np.abs(product), 1e-12)).real)
    smooth = ndimage.gaussian_filter(everywhere, BLUR, mode="wrap")
    reach = LARGEST_SHIFT + 1  # a peak is seen for one where its neighbours are
    surface = smooth[tuple(slice(side // 2 - reach, side // 2 + reach + 1) for side in smooth.shape)]
    return surface / surface.std()


def _distinct_peak(surface: Surface) -> tuple[float, float] | None:
    """The shift that agrees best, rows and columns; None where chance may have made it, or it lies at the rim."""
    row, column = np.unravel_index(surface.argmax(), surface.shape)
    others = np.ones(surface.shape, bool)
    others[max(0, row - AROUND) : row + AROUND + 1, max(0, column - AROUND) : column + AROUND + 1] = False
    height, width = surface.shape
    if not (0 < row < height - 1 and 0 < column < width - 1):
        return None
    if surface[row, column] < surface[others].mean() + DISTINCT * surface[others].std():
        return None
    down, across = surface[row - 1 : row + 2, column], surface[row, column - 1 : column + 2]
    return row - height // 2 + _top(down), column - width // 2 + _top(across)


def _top(three: NDArray[np.float64]) -> float:
    """Where the parabola through three values, the largest in the middle, has its top: −0.5 to 0.5."""
    before, middle, after = map(float, three)
    return (before - after) / (2 * (before - 2 * middle + after) or 1.0)


def _edges(grey: Grey) -> NDArray[np.float32]:
    """Gradient magnitude under a Hann window: light differs between dates, outlines stay."""
    down, across = np.gradient(grey)
    magnitude = np.hypot(down, across)
    magnitude = np.minimum(magnitude, np.percentile(magnitude, 99))
    taper = np.hanning(grey.shape[0])[:, None] * np.hanning(grey.shape[1])[None, :]
    return ((magnitude - magnitude.mean()) * taper).astype(np.float32)


def _sample_windows(common: Window, places: int) -> list[Window]:
    """Windows of one size at so many places a side, from edge to edge, row by row; fewer where these coincide."""
    height, width = min(SAMPLE, common.height), min(SAMPLE, common.width)
    rows = np.unique(np.linspace(0, common.height - height, places).astype(int)) + common.row_off
    columns = np.unique(np.linspace(0, common.width - width, places).astype(int)) + common.col_off
    return [Window(int(column), int(row), width, height) for row in rows for column in columns]
