"""What a change map says and what is true there, window by window on the map's grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from changen2.jobs.change_map import lowest_change_value
from changen2.raster.area import Area
from changen2.raster.grid import Grid
from changen2.raster.reading import check_overlap, mask_outside, open_raster, warp

VECTORS = {".gpkg", ".shp", ".geojson", ".json", ".fgb", ".kml"}

Mask = NDArray[np.bool_]

Truth = Callable[[Window], tuple[Mask, Mask]]
"""Window of the map → where there is change, and where that is known, each ``[h, w]``."""


def open_truth(reference: str | Path, grid: Grid) -> Truth:
    """Open a reference on a change map's grid.

    Args:
        reference: a raster whose non-zero valid pixels are change (on any grid or CRS, warped by nearest
            neighbour), or a polygon layer of changes, outside which nothing changed. A nodata value of 0, as rasters
            of drawn polygons often have it, says that nothing changed, not that it is unknown.
        grid: of the change map.

    Raises:
        InputError: it cannot be read, or lies elsewhere.
    """
    path = Path(reference)
    return _polygon_truth(path, grid) if path.suffix.lower() in VECTORS else _RasterTruth(path, grid)


class _RasterTruth:
    def __init__(self, path: Path, grid: Grid) -> None:
        self._dataset = open_raster(path)
        own = Grid.of(self._dataset)
        check_overlap(own, grid, path, "the change map")
        self._reader = self._dataset
        self._knows_all = own == grid and self._dataset.nodata == 0
        if own != grid:
            self._reader = warp(self._dataset, grid, Resampling.nearest, **mask_outside(self._dataset))

    def __call__(self, window: Window) -> tuple[Mask, Mask]:
        changed = self._reader.read(1, window=window) != 0
        if self._knows_all:
            return changed, np.ones(changed.shape, bool)
        return changed, self._reader.dataset_mask(window=window) > 0


def _polygon_truth(path: Path, grid: Grid) -> Truth:
    grid.require_north_up("The change map")
    area = Area.choose(grid, aoi=path)

    def truth(window: Window) -> tuple[Mask, Mask]:
        burnt = area.mask(window)
        everywhere = np.ones((window.height, window.width), bool)
        return (burnt if burnt is not None else everywhere), everywhere

    return truth


def read_change(dataset: DatasetReader, window: Window, threshold: float) -> tuple[Mask, Mask]:
    """Return change and the valid mask ``[h, w]`` of a 0/1 map, or of a change probability at a threshold 0..1.

    As in a reference, a nodata value of 0 in a 0/1 map says that nothing changed.
    """
    values = dataset.read(1, window=window)
    if (dataset.descriptions[0] or "").startswith("Change probability"):
        return values >= lowest_change_value(threshold), dataset.dataset_mask(window=window) > 0
    changed = values != 0
    if dataset.nodata == 0:
        return changed, np.ones(changed.shape, bool)
    return changed, dataset.dataset_mask(window=window) > 0
