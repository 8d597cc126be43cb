"""Rasters written window by window and finished as cloud-optimized GeoTIFF, and what goes wrong on a disk."""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.shutil import copy as gdal_copy
from rasterio.windows import Window

from changen2.errors import JobError
from changen2.raster.grid import Grid

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where there is no room: on the disk, for the user, for so large a file."""

CHUNK = 1 << 20
"""Bytes of a file that are written over at once."""

Colors = dict[int, tuple[int, int, int, int]]


class WindowedRaster:
    """A single-band uint8 raster written window by window, then finished as COG.

    What is written is read back before anybody relies on it: GDAL keeps pixels in its cache until the file is closed,
    and nothing is raised there when they do not get to the disk.

    Args:
        path: a name in a work folder; the raw raster lies beside it until ``finish``.
        grid: grid of the output.
        nodata: value of pixels never written or masked.
        colors: colour table, value → (red, green, blue, alpha).
        description: the band's name.
        tags: metadata items.
        resume: go on with the raw raster that is there.
        rewritten: windows are written again in part, so that none can be told by what was first written into it; they
            are not read back.

    Raises:
        JobError: ``disk``: there is no room for it, or the raw raster to go on with is gone.
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        nodata: int,
        *,
        colors: Colors | None = None,
        description: str = "",
        tags: dict[str, str] | None = None,
        resume: bool = False,
        rewritten: bool = False,
    ) -> None:
        self.path = path
        self._raw = path.with_suffix(".raw.tif")
        self._categorical = nodata == 255
        self._unproven: list[tuple[Window, int]] | None = None if rewritten else []
        if resume:
            with disk_errors(self._raw):
                self._dataset = rasterio.open(self._raw, "r+")
            return
        tiled = grid.width >= 256 and grid.height >= 256
        layout = {"tiled": True, "blockxsize": 256, "blockysize": 256} if tiled else {"tiled": False}
        require_space(self._raw, grid.width * grid.height)
        with disk_errors(self._raw):
            self._dataset = rasterio.open(
                self._raw,
                "w+",
                driver="GTiff",
                dtype="uint8",
                count=1,
                width=grid.width,
                height=grid.height,
                crs=grid.crs,
                # Pixel space is what "no georeference" means; writing it would claim a CRS's units.
                transform=grid.geotransform,
                nodata=nodata,
                # Every block has its place at once, so that later writes change pixels only, never the file's
                # structure: a run killed at any moment, even by a loss of power, leaves a raster that opens.
                sparse_ok=False,
                bigtiff="IF_SAFER",
                **layout,
            )
        self._dataset.set_band_description(1, description)
        self._dataset.update_tags(**(tags or {}))
        if colors:
            self._dataset.write_colormap(1, colors)
        with disk_errors(self._raw):
            self._dataset.close()
            # Of zeros GDAL only says that they are there; the disk would be found full while pixels are written.
            lay_down(self._raw, grid.width * grid.height)
            to_disk(self._raw)
            self._dataset = rasterio.open(self._raw, "r+")

    def write(self, window: Window, values: NDArray[np.uint8]) -> None:
        """Write one window ``[h, w]``."""
        with disk_errors(self.path):
            self._dataset.write(values, 1, window=window)
        if self._unproven is not None:
            self._unproven.append((window, _fingerprint(values)))

    def flush(self) -> None:
        """Bring everything written so far to disk, where a loss of power leaves it.

        Raises:
            JobError: ``disk``, also where what was written is not what the file holds.
        """
        self._hand_over()
        with disk_errors(self.path):
            to_disk(self._raw)

    def _hand_over(self) -> None:
        """Give what GDAL keeps to the system, and see that it is there."""
        with disk_errors(self.path):
            self._dataset.close()
            self._dataset = rasterio.open(self._raw, "r+")
            for window, fingerprint in self._unproven or ():
                self._prove(window, fingerprint)
        if self._unproven:
            self._unproven.clear()

    def _prove(self, window: Window, fingerprint: int) -> None:
        if _fingerprint(self.read(window)) != fingerprint:
            raise OSError("what was written is not there when it is read back")

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read back one window ``[h, w]``."""
        return self._dataset.read(1, window=window)

    def finish(self, keep_raw: bool = False) -> None:
        """Make the COG (lossless, with overviews) under the final name.

        Args:
            keep_raw: leave the raw raster where it is, for a run that may yet have to go on from it.

        Raises:
            JobError: ``disk``, as of ``flush``.
        """
        self._hand_over()
        with disk_errors(self.path):
            gdal_copy(
                self._raw,
                self.path,
                driver="COG",
                compress="DEFLATE",
                level=6,
                predictor="NO",
                bigtiff="IF_SAFER",
                num_threads=2,
                overview_resampling=(Resampling.nearest if self._categorical else Resampling.average).name,
            )
            with rasterio.open(self.path) as made:
                for _, window in made.block_windows(1):
                    self._prove(window, _fingerprint(made.read(1, window=window)))
            self._dataset.close()
            if not keep_raw:
                self._raw.unlink()

    def close(self) -> None:
        """Let go of the file without finishing it."""
        self._dataset.close()


def require_space(path: Path, size: int) -> None:
    """Refuse to begin a file that the disk has no room for.

    Args:
        path: of the file, in a folder that is there.
        size: bytes.

    Raises:
        JobError: ``disk``.
    """
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise JobError(
            f"{path.name} needs {size / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free in {path.parent}.",
            hint="Free some disk space or choose another output folder.",
            code="disk",
        )


def lay_down(path: Path, size: int) -> None:
    """Give a file its place on the disk, so that writing into it later needs no more room; what it holds stays.

    Args:
        path: of the file.
        size: bytes that it has at least.

    Raises:
        OSError: there is no room for it.
    """
    with path.open("r+b") as file:
        size = max(size, file.seek(0, os.SEEK_END))
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            _write_again(file, size)  # the system, or the file system, has no call for it


def to_disk(path: Path) -> None:
    """Wait until the disk holds a file, or a folder's names: what is written from now on gets there after them.

    Raises:
        OSError: the disk does not take the file.
    """
    if path.is_dir():
        with suppress(OSError):  # Windows opens no folder, and some file systems synchronize none
            _synchronize(path, os.O_RDONLY)
    else:
        _synchronize(path, os.O_RDWR)  # Windows synchronizes only what may be written


def _synchronize(path: Path, mode: int) -> None:
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_again(file: BinaryIO, size: int) -> None:
    """Write a file's bytes over themselves: what was a hole is on the disk then."""
    for start in range(0, size, CHUNK):
        file.seek(start)
        held = file.read(min(CHUNK, size - start))
        file.seek(start)
        file.write(held.ljust(min(CHUNK, size - start), b"\0"))


def _fingerprint(values: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).data)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is written into a message that a person can act on.

    Raises:
        JobError: ``disk``.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and not is_disk_error(error):
            raise
        raise disk_error(path, error) from error


def is_disk_error(error: BaseException | None) -> bool:
    """Tell whether an error that nobody has explained is one of a file that could not be written.

    Readers explain what is wrong with an input, so that what else GDAL says is of one of the run's own files.
    """
    # A copy raises GDAL's own errors, which rasterio does not wrap.
    if isinstance(error, (RasterioError, CPLE_BaseError, DataSourceError, DataLayerError)):
        return True
    if isinstance(error, OSError):
        return error.errno in FULL
    if isinstance(error, TypeError):  # so says rasterio of a new file that stayed empty
        return "not recognized as being in a supported file format" in str(error)
    # Torch has no error of its own for a checkpoint that does not fit.
    return isinstance(error, RuntimeError) and "inline_container" in str(error)


def disk_error(path: Path, error: BaseException) -> JobError:
    """Say of a file, or of a run's folder, that it cannot be written.

    Args:
        path: of the file or folder.
        error: what went wrong; where rasterio names the one before it only, that one is said.
    """
    folder = path if path.is_dir() else path.parent
    free = shutil.disk_usage(folder).free / 1e9 if folder.exists() else 0.0
    why = error.__cause__ if isinstance(error, RasterioError) and error.__cause__ else error
    return JobError(
        f"{path.name} cannot be written: {why} ({free:.1f} GB are free there).",
        hint="Free some disk space or choose another output folder.",
        code="disk",
    )
