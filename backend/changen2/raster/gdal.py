"""GDAL as every job needs it, and how much of a raster it keeps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import rasterio
from rasterio.env import getenv, hasenv, setenv
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from changen2.raster.tiles import BLOCK_PIXELS

GDAL_CACHE_MB = 64
"""Small where it can be: blocks are read once, so a larger cache would only grow with the raster. See `cache_for`."""

GDAL_CACHE_MOST_MB = 1024
"""However wide a raster is; beyond it blocks are read again and again."""


@contextmanager
def gdal_environment() -> Iterator[None]:
    """GDAL as every job needs it: a cache as small as its rasters allow, and no broken PNG taken for whole.

    Side files (``.aux.xml``) count: they may hold a CRS or a nodata value. GDAL writes one only for what is set on a
    dataset or measured, such as statistics, and no job does that to an input.
    """
    # rasterio takes this in bytes, whatever its size, where GDAL's own would take small numbers for megabytes.
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_MB * 2**20), gdal_thread():
        yield


@contextmanager
def gdal_thread() -> Iterator[None]:
    """GDAL as every thread of a job needs it, beside the job's own ``gdal_environment``: all share its cache."""
    # The short way to read a whole PNG fills what was cut off with zeros and says nothing.
    with rasterio.Env(GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def cache_for(dataset: DatasetReader) -> int:
    """Return how large GDAL's cache has to be, in bytes, so that blocks are read once, and not for each row again.

    Rows of pixels come one by one where the whole raster is looked at, so that a row of blocks has to stay; blocks that
    are wider than the windows of a job, such as strips, have to stay for all windows side by side. And as much again,
    since another raster is read beside it. At least ``GDAL_CACHE_MB``, at most ``GDAL_CACHE_MOST_MB``.
    """
    rows, columns = dataset.block_shapes[0]
    # A virtual mosaic does not tell what its parts are made of.
    if columns > BLOCK_PIXELS or dataset.driver == "VRT":
        rows += BLOCK_PIXELS
    # Of all bands: where they are stored together, GDAL keeps also those that nobody asks for.
    pixel = sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    needed = 2 * rows * dataset.width * pixel
    return min(max(GDAL_CACHE_MB * 2**20, needed), GDAL_CACHE_MOST_MB * 2**20)


def keep_blocks(dataset: DatasetReader) -> None:
    """Let the cache of the ``gdal_environment`` that is open here, if any, grow to what a raster needs."""
    size = getenv().get("GDAL_CACHEMAX") if hasenv() else None
    if size is not None:
        setenv(GDAL_CACHEMAX=max(size, cache_for(dataset)))
