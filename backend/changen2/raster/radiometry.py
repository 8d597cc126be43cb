"""From any data type to the 0..255 that models see: decided once per raster, never per tile or extent."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from changen2.errors import InputError

OVERVIEW_SIDE = 1024
"""Pixels along the longer side of the decimated reading that percentiles are taken from."""

PERCENTILES = (2.0, 98.0)

ValidOf = Callable[[NDArray[np.generic], tuple[int, int], Window], NDArray[np.bool_]]


class Stretch(BaseModel):
    """A linear stretch per band; the identity for 8-bit imagery.

    Attributes:
        low: value that becomes 0, one a band.
        high: value that becomes 255, one a band.
    """

    model_config = ConfigDict(frozen=True)

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Stretch ``[bands, h, w]`` of any real dtype to uint8; NaN becomes 0."""
        if values.dtype == np.uint8:
            return values.view(np.uint8)
        low = np.array(self.low, np.float32)[:, None, None]
        span = np.array(self.high, np.float32)[:, None, None] - low
        scaled = (values.astype(np.float32) - low) * (255 / span)
        return np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0) + 0.5, 0, 255).astype(np.uint8)


def stretch_of(dataset: DatasetReader, bands: tuple[int, ...], valid_of: ValidOf) -> Stretch:
    """Measure a raster's stretch: 2nd to 98th percentile of each band over the whole raster.

    Args:
        dataset: the raster in its own grid.
        bands: bands to use, counted from 1.
        valid_of: gives the valid mask ``[h, w]`` for decimated values, their output shape and the window they are of.

    Raises:
        InputError: ``no_valid_pixels`` where nothing finite is left.
    """
    if all(dataset.dtypes[band - 1] == "uint8" for band in bands):
        return Stretch(low=(0.0,) * len(bands), high=(255.0,) * len(bands))
    scale = min(1.0, OVERVIEW_SIDE / max(dataset.height, dataset.width))
    rows, columns = (max(1, math.ceil(length * scale)) for length in (dataset.height, dataset.width))
    # By rows of blocks, all bands of each: GDAL would look through the raster for one band after the other.
    step = dataset.height / rows
    tops = np.arange(0, dataset.height, dataset.block_shapes[0][0])
    edges = np.unique([*np.ceil(tops / step - 0.5), rows]).astype(int).tolist()
    found = []
    for first, end in pairwise(edges):
        shape = end - first, columns
        window = Window(0, first * step, dataset.width, shape[0] * step)
        part = dataset.read(bands, window=window, out_shape=(len(bands), *shape), resampling=Resampling.nearest)
        found.append(part[:, valid_of(part, shape, window)])
    values = np.concatenate(found, axis=1)
    if not values.size:
        raise InputError(
            f"{dataset.name} has no valid pixel: every value is nodata or NaN.",
            hint="Check the file and its nodata value.",
            code="no_valid_pixels",
        )
    low, high = np.percentile(values.astype(np.float64), PERCENTILES, axis=1)
    # A constant band has no contrast to stretch; it becomes 0 everywhere instead of a division by zero.
    high = np.where(high > low, high, low + 1.0)
    return Stretch(low=tuple(low.tolist()), high=tuple(high.tolist()))
