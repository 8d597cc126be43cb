"""Images and labels out of files: 8-bit pictures as they are, all else as detection reads it, labels as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from changen2.errors import InputError
from changen2.raster.gdal import gdal_environment
from changen2.raster.grid import Grid
from changen2.raster.ground import ground_sampling_distance
from changen2.raster.reading import FILL, UNREADABLE_HINT, AlignedRaster, choose_bands, open_raster
from changen2.raster.validity import Validity

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

RASTERS = (".tif", ".tiff")
IMAGES = (".png", ".jpg", ".jpeg", *RASTERS)


def is_raster(path: Path) -> bool:
    """Whether a file may have bands, a nodata value and a place on the ground."""
    return path.suffix.lower() in RASTERS


def read_rgb(path: Path) -> tuple[Bytes, Mask]:
    """Read an image.

    A GeoTIFF of any data type, or a picture of more than 8 bits, is stretched as a whole as for detection; its red,
    green and blue bands are taken, else the first three, else the first one repeated.

    Args:
        path: the file.

    Returns:
        RGB ``[h, w, 3]`` and where it is known ``[h, w]``; elsewhere it is of one colour.

    Raises:
        InputError: ``missing_file``, ``unreadable`` or ``no_valid_pixels``.
    """
    with gdal_environment():
        with open_raster(path) as dataset:
            # Of more than 8 bits, PIL cuts off the high ones or the low ones, depending on how many bands there are.
            if not is_raster(path) and set(dataset.dtypes) == {"uint8"}:
                image = _picture(path)
                return image, np.ones(image.shape[:2], bool)
            grid = Grid.of(dataset)
        with AlignedRaster(path, grid) as raster:
            bands, known = raster.read(grid.window)
    return np.where(known[..., None], np.moveaxis(bands, 0, -1), FILL), known


def read_values(path: Path) -> tuple[NDArray[Any], Mask]:
    """Read the numbers of a label, the largest of its bands where it has several.

    A picture with a palette holds its indices, one of a single bit 0 and 1; all of it is known. A nodata value of 0 is
    a number like others: rasters of drawn polygons often have it, and it means that there is nothing. What a mask or an
    alpha band of a GeoTIFF hides is not known.

    Args:
        path: the file.

    Returns:
        Numbers and where they are known, each ``[h, w]``.

    Raises:
        InputError: ``missing_file``, ``unreadable`` or ``bad_value``: it is compressed as JPEG.
    """
    with gdal_environment(), open_raster(path) as dataset:
        _check_lossless(dataset, path)
        bands = sorted(set(choose_bands(dataset, None)))
        try:
            stored = dataset.read(bands)
            values = stored.max(axis=0)
            known = np.isfinite(values)
            if is_raster(path):
                # Of each band by itself: any of them may hold the largest number.
                for band, own in zip(bands, stored, strict=True):
                    known &= Validity(dataset, (band,), zero_counts=True).of(own[None], dataset)
        except (RasterioError, OSError) as error:
            raise _unreadable(path, error) from error
    return values, known


def metres_per_pixel(path: Path) -> float | None:
    """The ground sampling distance of a georeferenced GeoTIFF; None of any other image."""
    if not is_raster(path):
        return None
    with gdal_environment(), open_raster(path) as dataset:
        return ground_sampling_distance(Grid.of(dataset))


def _check_lossless(dataset: DatasetReader, path: Path) -> None:
    if "JPEG" in (dataset.driver, *dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "").split()):
        raise InputError(
            f"{path} is compressed as JPEG, which blurs the numbers of a label: labels must be lossless.",
            hint="Give PNG or GeoTIFF. Of a mask that is left as JPEG alone, gdal_calc.py -A mask.jpg "
            '--calc="A>127" --type=Byte --outfile=mask.tif makes one.',
            code="bad_value",
        )


def _picture(path: Path) -> Bytes:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    # PIL has no one type for broken files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read as an image: {error}", hint=UNREADABLE_HINT, code="unreadable")
