"""Outputs appear whole or not at all: written aside, finished as cloud-optimized GeoTIFF, renamed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.shutil import copy as gdal_copy
from rasterio.windows import Window

from changen2.errors import InputError, JobError
from changen2.raster.grid import Grid

WORK_FOLDER = ".changen2-work"
"""Where a run keeps what is not finished, inside its output folder (the same file system, so a rename is atomic)."""

INPUTS_FOLDER = "inputs"
"""Where a caller may keep inputs that it wrote for the run; they are no results that need protection."""

Colors = dict[int, tuple[int, int, int, int]]


class OutputFolder:
    """A run's output folder as one transaction.

    Files are made in ``work`` and moved into place by ``publish``. Leaving the ``with`` block by an
    error removes the work folder, and the output folder too if this run made it, unless there is work to go on from
    and the error is not the input's or this run was going on itself.

    Args:
        path: the folder.
        overwrite: whether results, or an unfinished run, that are there may be replaced.
        resume: go on with the unfinished run that is there, if any.
        resumable: tells whether a work folder holds something to go on from.
        replaces: names of the outputs where other files may stay beside them; None: the folder must be empty.

    Raises:
        InputError: ``not_empty`` where it holds anything and ``overwrite`` is false; ``bad_out_dir``
            where it cannot be made.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        replaces: Iterable[str] | None = None,
        resume: bool = False,
        resumable: Callable[[Path], bool] = lambda work: False,
    ) -> None:
        self.path = Path(path)
        self.work = self.path / WORK_FOLDER
        self._made: Path | None = None
        self._resumable = resumable
        self._goes_on = resume and resumable(self.work)
        self._check(overwrite, resume, None if replaces is None else set(replaces))

    def _check(self, overwrite: bool, resume: bool, replaces: set[str] | None) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file, not a folder.", hint="Name a new folder.", code="bad_out_dir")
        if self.path.is_dir() and not overwrite:
            names = {entry.name for entry in self.path.iterdir()} - {WORK_FOLDER, INPUTS_FOLDER}
            there = sorted(names if replaces is None else names & replaces)
            if there:
                raise InputError(
                    f"{self.path} already holds {', '.join(there[:3])}{' …' if len(there) > 3 else ''}.",
                    hint="Choose a new folder, or allow overwriting (--overwrite).",
                    code="not_empty",
                )
            if not resume and self._resumable(self.work):
                raise InputError(
                    f"{self.path} holds an unfinished run.",
                    hint="Go on with it (--resume), start anew (--overwrite), or choose a new folder.",
                    code="not_empty",
                )

    def __enter__(self) -> OutputFolder:
        self._made = next((parent for parent in reversed((self.path, *self.path.parents)) if not parent.exists()), None)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self._goes_on:
                shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"The output folder {self.path} cannot be made: {error.strerror or error}.",
                hint="Choose a folder that you may write to.",
                code="bad_out_dir",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spoilt = isinstance(error, InputError) and not self._goes_on
        if error is not None and not spoilt and self._resumable(self.work):
            return
        shutil.rmtree(self.work, ignore_errors=True)
        if error is not None and self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    def publish(self, names: list[str]) -> dict[str, Path]:
        """Move finished files from ``work`` into place, and return where they are now."""
        for name in names:
            (self.work / name).replace(self.path / name)
        return {name: self.path / name for name in names}


class WindowedRaster:
    """A single-band uint8 raster written window by window, then finished as COG.

    Args:
        path: a name in a work folder; the raw raster lies beside it until ``finish``.
        grid: grid of the output.
        nodata: value of pixels never written or masked.
        colors: colour table, value → (red, green, blue, alpha).
        description: the band's name.
        tags: metadata items.
        resume: go on with the raw raster that is there.
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
    ) -> None:
        self.path = path
        self._raw = path.with_suffix(".raw.tif")
        self._categorical = nodata == 255
        if resume and self._raw.exists():
            self._dataset = rasterio.open(self._raw, "r+")
            return
        tiled = grid.width >= 256 and grid.height >= 256
        layout = {"tiled": True, "blockxsize": 256, "blockysize": 256} if tiled else {"tiled": False}
        self._dataset = rasterio.open(
            self._raw,
            "w+",
            driver="GTiff",
            dtype="uint8",
            count=1,
            width=grid.width,
            height=grid.height,
            crs=grid.crs,
            # An identity transform is what "no georeference" means; writing one would claim a CRS's units.
            transform=grid.transform if grid.crs else None,
            nodata=nodata,
            # Every block is laid down at once, so that later writes change pixels only, never the file's
            # structure: a run killed at any moment leaves a raster that opens.
            sparse_ok=False,
            bigtiff="IF_SAFER",
            **layout,
        )
        self._dataset.set_band_description(1, description)
        self._dataset.update_tags(**(tags or {}))
        if colors:
            self._dataset.write_colormap(1, colors)
        self.flush()

    def write(self, window: Window, values: NDArray[np.uint8]) -> None:
        """Write one window ``[h, w]``."""
        with disk_errors(self.path):
            self._dataset.write(values, 1, window=window)

    def flush(self) -> None:
        """Bring everything written so far to disk."""
        with disk_errors(self.path):
            self._dataset.close()
            self._dataset = rasterio.open(self._raw, "r+")

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read back one window ``[h, w]``."""
        return self._dataset.read(1, window=window)

    def finish(self) -> None:
        """Make the COG (lossless, with overviews) under the final name and drop the raw raster."""
        with disk_errors(self.path):
            self._dataset.close()
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
            self._raw.unlink()

    def close(self) -> None:
        """Let go of the file without finishing it."""
        self._dataset.close()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is written into a message that a person can act on."""
    try:
        yield
    except (rasterio.errors.RasterioError, OSError) as error:
        free = shutil.disk_usage(path.parent).free / 1e9 if path.parent.exists() else 0.0
        raise JobError(
            f"{path.name} cannot be written: {error} ({free:.1f} GB are free there).",
            hint="Free some disk space or choose another output folder.",
            code="disk",
        ) from error
