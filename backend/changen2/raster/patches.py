"""An image that differs from another in some blocks: only these are stored, a virtual raster puts both together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.shutil import copy as gdal_copy
from rasterio.windows import Window

from changen2.raster.grid import Grid
from changen2.raster.writing import disk_errors

BLOCK = 256
"""Side of the stored blocks, in pixels of the raster's grid."""

GDAL_NAMES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "uint64": "UInt64", "int64": "Int64", "float32": "Float32", "float64": "Float64",
}  # fmt: skip
"""The data types that an image may have."""


@dataclass(frozen=True)
class Patch:
    """The changed blocks of one step.

    Attributes:
        path: sparse GeoTIFF on the grid of the whole raster.
        blocks: which blocks it holds, as (row, column), in reading order.
    """

    path: Path
    blocks: Sequence[tuple[int, int]]

    def windows(self, height: int, width: int) -> Iterator[Window]:
        """The blocks as windows of a raster; neighbours in a row become one."""
        run: list[int] = []
        for row, column in [*self.blocks, (-1, -1)]:
            if run and (row, column) == (run[0], run[2]):
                run[2] += 1
                continue
            if run:
                top, left = run[0] * BLOCK, run[1] * BLOCK
                yield Window(left, top, min(run[2] * BLOCK, width) - left, min(BLOCK, height - top))
            run = [row, column, column + 1]


class PatchWriter:
    """Paints over an image; blocks are copied from it when they are first touched.

    Args:
        path: the sparse GeoTIFF to make.
        base: the image before, any number of bands.
    """

    def __init__(self, path: Path, base: DatasetReader) -> None:
        self.path = path
        self._base = base
        self._touched: set[tuple[int, int]] = set()
        grid = Grid.of(base)
        with disk_errors(path):
            self._dataset = rasterio.open(
                path, "w+", driver="GTiff", dtype=base.dtypes[0], count=base.count, width=base.width,
                height=base.height, crs=grid.crs, transform=grid.geotransform, tiled=True,
                blockxsize=BLOCK, blockysize=BLOCK, sparse_ok=True, bigtiff="IF_SAFER",
            )  # fmt: skip

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with disk_errors(self.path):
            self._dataset.close()

    def finish(self) -> Patch:
        """What was painted."""
        return Patch(self.path, sorted(self._touched))

    def read(self, window: Window) -> NDArray[np.generic]:
        """All bands ``[n, h, w]`` as they are now."""
        values = self._base.read(window=window)
        for place in self._places(window):
            if place in self._touched:
                inner = self._block(place).intersection(window)
                rows, columns = _within(inner, window)
                values[:, rows, columns] = self._dataset.read(window=inner)
        return values

    def paint(self, window: Window, values: NDArray[np.generic], where: NDArray[np.bool_]) -> None:
        """Replace pixels.

        Args:
            window: inside the raster.
            values: ``[n, h, w]`` in the image's data type.
            where: which of them ``[h, w]``.
        """
        for place in self._places(window):
            block = self._block(place)
            inner = block.intersection(window)
            rows, columns = _within(inner, window)
            if not where[rows, columns].any():
                continue
            source = self._dataset if place in self._touched else self._base
            stored = source.read(window=block)
            down, across = _within(inner, block)
            part = stored[:, down, across]
            part[:] = np.where(where[rows, columns], values[:, rows, columns], part)
            with disk_errors(self.path):
                self._dataset.write(stored, window=block)
            self._touched.add(place)

    def _block(self, place: tuple[int, int]) -> Window:
        top, left = place[0] * BLOCK, place[1] * BLOCK
        return Window(left, top, min(BLOCK, self._base.width - left), min(BLOCK, self._base.height - top))

    def _places(self, window: Window) -> Iterator[tuple[int, int]]:
        for row in range(window.row_off // BLOCK, -(-(window.row_off + window.height) // BLOCK)):
            for column in range(window.col_off // BLOCK, -(-(window.col_off + window.width) // BLOCK)):
                yield row, column


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Where a window lies in an array of another."""
    top, left = inner.row_off - outer.row_off, inner.col_off - outer.col_off
    return slice(top, top + inner.height), slice(left, left + inner.width)


def write_virtual(path: Path, source: DatasetReader, patches: Sequence[Patch], window: Window | None = None) -> None:
    """Write a virtual raster: a source with patches over it, later ones over earlier ones.

    Args:
        path: the ``.vrt``; patches in the same folder are named relative to it, so they move together.
        source: the image that lies below; grid, data type, nodata value and colours are taken from it.
        patches: on the source's grid.
        window: the part to show; all of it where None.
    """
    grid = Grid.of(source)
    window = window or grid.window
    shown = grid.crop(window)
    root = Element("VRTDataset", rasterXSize=str(window.width), rasterYSize=str(window.height))
    if grid.crs:
        SubElement(root, "SRS").text = grid.crs.to_wkt()
    if shown.geotransform:
        SubElement(root, "GeoTransform").text = ", ".join(f"{value!r}" for value in shown.geotransform.to_gdal())
    tags = SubElement(root, "Metadata")
    for key, value in source.tags().items():
        SubElement(tags, "MDI", key=key).text = value
    for band in range(1, source.count + 1):
        element = _band(root, source, band)
        _source(element, source.name, str(band), grid.window, window)
        for patch in patches:
            for part in patch.windows(grid.height, grid.width):
                _source(element, patch.path, str(band), part, window)
    if MaskFlags.per_dataset in source.mask_flag_enums[0] and ColorInterp.alpha not in source.colorinterp:
        mask = SubElement(SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        _source(mask, source.name, "mask,1", grid.window, window)
    ElementTree.ElementTree(root).write(path, encoding="utf8")


def write_copy(virtual: Path, path: Path) -> None:
    """Copy a virtual raster to a cloud-optimized GeoTIFF, lossless."""
    with disk_errors(path):
        gdal_copy(
            virtual, path, driver="COG", compress="DEFLATE", predictor="YES", bigtiff="IF_SAFER", num_threads=2,
            overview_resampling="average",
        )  # fmt: skip


def write_sparse_copy(raw: Path, path: Path) -> None:
    """Copy the blocks of a patch file compressed, lossless; what it does not hold stays empty."""
    with disk_errors(path):
        with rasterio.open(raw) as dataset:
            predictor = 3 if dataset.dtypes[0].startswith("float") else 2
        gdal_copy(
            raw, path, driver="GTiff", compress="DEFLATE", predictor=predictor, bigtiff="IF_SAFER", tiled=True,
            blockxsize=BLOCK, blockysize=BLOCK, sparse_ok=True,
        )  # fmt: skip


def _band(root: Element, source: DatasetReader, band: int) -> Element:
    kind = source.dtypes[band - 1]
    element = SubElement(root, "VRTRasterBand", dataType=GDAL_NAMES[kind], band=str(band))
    if source.descriptions[band - 1]:
        SubElement(element, "Description").text = source.descriptions[band - 1]
    nodata = source.nodatavals[band - 1]
    if nodata is not None:
        SubElement(element, "NoDataValue").text = repr(nodata)
    SubElement(element, "ColorInterp").text = source.colorinterp[band - 1].name.capitalize()
    if source.scales[band - 1] != 1 or source.offsets[band - 1] != 0:
        SubElement(element, "Offset").text = repr(source.offsets[band - 1])
        SubElement(element, "Scale").text = repr(source.scales[band - 1])
    return element


def _source(element: Element, path: Path | str, band: str, have: Window, shown: Window) -> None:
    """One rectangle of a file, at its place in what is shown; nothing where the two do not meet."""
    left, top = max(have.col_off, shown.col_off), max(have.row_off, shown.row_off)
    right = min(have.col_off + have.width, shown.col_off + shown.width)
    bottom = min(have.row_off + have.height, shown.row_off + shown.height)
    if left >= right or top >= bottom:
        return
    source = SubElement(element, "SimpleSource")
    relative, name = ("1", path.name) if isinstance(path, Path) else ("0", _absolute(path))
    SubElement(source, "SourceFilename", relativeToVRT=relative).text = name
    SubElement(source, "SourceBand").text = band
    for tag, x, y in (("SrcRect", left, top), ("DstRect", left - shown.col_off, top - shown.row_off)):
        size = {"xSize": str(right - left), "ySize": str(bottom - top)}
        SubElement(source, tag, {"xOff": str(x), "yOff": str(y), **size})


def _absolute(name: str) -> str:
    """A file's full path; names that are no plain path (archives, subdatasets, web sources) stay as they are."""
    return str(Path(name).resolve()) if Path(name).exists() else name
