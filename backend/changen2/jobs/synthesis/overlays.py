"""Label maps of a series that cost what their change costs: the first map, and what later ones have over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from changen2.gpcm.labels import NODATA, Box, LabelMap, Labels, Readable
from changen2.raster.area import Area
from changen2.raster.grid import Grid

BLOCK = 256


class SparseRaster:
    """One uint8 band on disk that takes room only where it was written.

    Args:
        path: in a work folder; gone on with where it exists.
        grid: its size.
        fill: value elsewhere.
    """

    def __init__(self, path: Path, grid: Grid, fill: int) -> None:
        self.path = path
        self.shape = grid.height, grid.width
        if path.exists():
            self._dataset = rasterio.open(path, "r+")
            return
        self._dataset = rasterio.open(
            path, "w+", driver="GTiff", dtype="uint8", count=1, width=grid.width, height=grid.height, tiled=True,
            blockxsize=BLOCK, blockysize=BLOCK, sparse_ok=True, bigtiff="IF_SAFER", nodata=fill,
            crs=grid.crs, transform=grid.geotransform,
        )  # fmt: skip

    def read(self, box: Box) -> Labels:
        """A window [h, w]."""
        return self._dataset.read(1, window=box.window)

    def write(self, box: Box, values: Labels) -> None:
        """Replace a window."""
        self._dataset.write(values, 1, window=box.window)

    def close(self) -> None:
        """Finish writing."""
        self._dataset.close()


class FirstLabels:
    """S_0: the given labels, or 0 everywhere; without label where the image is invalid or nothing is asked for.

    Args:
        grid: the image's.
        source: the labels on that grid; None: 0 everywhere.
        valid: tells where the image is valid; None where it is everywhere.
        area: what is asked for; only its polygons count here, not its window. None: all.
    """

    def __init__(
        self,
        grid: Grid,
        source: Readable | None,
        valid: Callable[[Window], NDArray[np.bool_]] | None,
        area: Area | None,
    ) -> None:
        self._grid = grid
        self.shape = grid.height, grid.width
        self._source, self._valid, self._area = source, valid, area

    def read(self, box: Box) -> Labels:
        """The classes of a window [h, w]."""
        values = self._source.read(box) if self._source else np.zeros(box.shape, np.uint8)
        window = box.window
        if self._area is not None and (inside := self._area.mask(window)) is not None:
            values[~inside] = NODATA
        if self._valid is not None:
            values[~self._valid(window)] = NODATA
        return values

    def everywhere(self) -> FirstLabels:
        """The same whatever is asked for: an area of interest decides what may change, not what stands around it."""
        return FirstLabels(self._grid, self._source, self._valid, None)


class LabelOverlay:
    """S_t as S_0 and what differs from it; a ``LabelMap``.

    Args:
        first: S_0.
        path: of what differs, in a work folder; gone on with where it exists.
        grid: of both.
    """

    def __init__(self, first: FirstLabels, path: Path, grid: Grid) -> None:
        self._first = first
        self._over = SparseRaster(path, grid, NODATA)
        self.shape = self._over.shape

    def read(self, box: Box) -> Labels:
        """The classes of a window [h, w]."""
        values = self._over.read(box)
        same = values == NODATA
        if same.any():
            values[same] = self._first.read(box)[same]
        return values

    def write(self, box: Box, values: Labels) -> None:
        """Replace a window; where there is no label, none comes."""
        self._over.write(box, np.where(values == self._first.read(box), NODATA, values).astype(np.uint8))

    def close(self) -> None:
        """Finish writing."""
        self._over.close()


class Cropped:
    """A window of a map, to read only.

    Args:
        labels: the map.
        window: which part of it.
    """

    def __init__(self, labels: LabelMap, window: Window) -> None:
        self._labels, self._window = labels, window
        self.shape = int(window.height), int(window.width)

    def read(self, box: Box) -> Labels:
        """The classes of a window [h, w], counted from the crop's corner."""
        top, left = int(self._window.row_off), int(self._window.col_off)
        return self._labels.read(Box(box.top + top, box.left + left, box.bottom + top, box.right + left))
