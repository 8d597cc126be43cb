"""Instances that somebody brings along: a raster of their numbers, or a layer of polygons."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.transform import Affine

from changen2.errors import InputError
from changen2.gpcm.labels import Box
from changen2.jobs.runs.manifest import describe_input, describe_layer
from changen2.jobs.synthesis.polygon_layer import in_pixels
from changen2.raster.area import read_near
from changen2.raster.grid import Grid
from changen2.raster.layers import has_layers
from changen2.raster.reading import broken_pixels, check_overlap, open_raster, warp


def open_instances(path: str, grid: Grid) -> NumberedRaster | NumberedPolygons:
    """The instances of a file, on a grid.

    Raises:
        InputError: missing, unreadable, several bands, polygons that enclose nothing, no overlap with the grid.
    """
    if has_layers(path):
        return NumberedPolygons(path, grid)
    return NumberedRaster(path, grid)


def describe_instances(path: str) -> dict[str, Any]:
    """What identifies the instances of a file, for a manifest."""
    return describe_layer(path) if has_layers(path) else describe_input(path)


class NumberedRaster:
    """A raster of instance numbers; 0 and its nodata value are no instance. On another grid it is warped by nearest.

    Args:
        path: one band of whole numbers.
        grid: to read on.
    """

    block = None

    def __init__(self, path: str, grid: Grid) -> None:
        self._dataset = open_raster(path)
        own = Grid.of(self._dataset).beside(grid)
        if self._dataset.count != 1:
            raise InputError(
                f"{path} has {self._dataset.count} bands; instances are one band of their numbers.",
                hint="Export the band with the numbers, or give the instances as polygons.",
                code="bad_instances",
            )
        check_overlap(own, grid, path, "the image")
        self.notes: list[str] = []
        self._reader = self._dataset
        if own != grid:
            self.notes.append(
                "The instances lie on another grid; they were warped to the image's by nearest neighbour."
            )
            nodata = self._dataset.nodata
            self._reader = warp(
                self._dataset,
                grid,
                Resampling.nearest,
                **({"add_alpha": True} if nodata is None else {"nodata": nodata}),
            )

    def read(self, box: Box) -> NDArray[np.int64]:
        """Numbers [h, w] of a box inside the grid.

        Raises:
            InputError: ``unreadable``, or ``bad_instances`` for a value that is no whole number from 0.
        """
        window = box.window
        with broken_pixels(self._dataset.name):
            values = self._reader.read(1, window=window)
            valid = (self._reader.dataset_mask(window=window) > 0) & np.isfinite(values)
        kept = np.where(valid, values, 0)
        strange = kept[(kept < 0) | (kept != np.floor(kept))]
        if strange.size:
            raise InputError(
                f"{self._dataset.name} holds {strange[0]:g}, which is no number of an instance.",
                hint="Instances are whole numbers from 1; 0 is none.",
                code="bad_instances",
            )
        return kept.astype(np.int64)

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not self._dataset:
            self._reader.close()
        self._dataset.close()


class NumberedPolygons:
    """Polygons as instances, numbered as they lie in the file; where they overlap the later one counts.

    Args:
        path: of one layer of any vector file, see :func:`changen2.raster.area.read_near`.
        grid: to read on; a pixel belongs to the polygon that holds its centre.
    """

    block = None

    def __init__(self, path: str, grid: Grid) -> None:
        layer = read_near(path, grid)
        self._geometries, self.notes = in_pixels(layer, path, grid)
        self._numbers = layer.numbers
        self._tree = shapely.STRtree(self._geometries)
        if not len(self._tree.query(shapely.box(0, 0, grid.width, grid.height))):
            raise InputError(
                f"None of the {layer.count} polygons in {path} lies on the raster.",
                hint="Check the layer's coordinate reference system.",
                code="no_overlap",
            )

    def read(self, box: Box) -> NDArray[np.int64]:
        """Numbers [h, w] of a box inside the grid."""
        near = np.sort(self._tree.query(shapely.box(box.left, box.top, box.right, box.bottom)))
        numbered = [(self._geometries[index], int(self._numbers[index])) for index in near]
        if not numbered:
            return np.zeros(box.shape, np.int64)
        moved = Affine.translation(box.left, box.top)
        return rasterize(numbered, box.shape, transform=moved, dtype="int32").astype(np.int64)

    def close(self) -> None:
        """Nothing is held open."""
