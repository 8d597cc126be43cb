"""Writes a raster layer that is no file (web map, virtual raster, …) to a GeoTIFF at a stated resolution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsDistanceArea,
    QgsFeedback,
    QgsPointXY,
    QgsProcessingFeedback,
    QgsProcessingMultiStepFeedback,
    QgsRasterBlockFeedback,
    QgsRasterFileWriter,
    QgsRasterInterface,
    QgsRasterLayer,
    QgsRasterPipe,
    QgsRectangle,
)

from .errors import Cancelled, InputError
from .inputs import describe, origin_of
from .layer_nodata import write_nodata
from .warped_layers import mask_beyond

BLOCK = 256
"""Side in pixels of the squares that are looked at for emptiness: a web map's usual tile."""


@dataclass(frozen=True)
class RenderGrid:
    """The pixels to write: an extent in the layer's CRS, cut into columns and rows."""

    extent: QgsRectangle
    width: int
    height: int

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.width * self.height / 1e6


def ground_resolution(extent: QgsRectangle, crs: QgsCoordinateReferenceSystem, width: int, height: int) -> float:
    """The mean side of a pixel in true metres on the ellipsoid, measured through the extent's centre.

    Args:
        extent: in `crs`; without a valid CRS its units are taken for metres.
        crs: any, geographic ones and Web Mercator (whose metres are not metres) included.
        width: pixels across.
        height: pixels down.
    """
    across, down = _ground_size(extent, crs)
    return math.sqrt(across / width * down / height)


def render_grid(extent: QgsRectangle, crs: QgsCoordinateReferenceSystem, resolution_m: float) -> RenderGrid:
    """The pixels that cut an extent at a ground resolution in metres; at least one.

    Raises:
        InputError: the resolution is not above zero or the extent is empty.
    """
    if not resolution_m > 0:
        raise InputError(f"The resolution must be above 0 m, not {resolution_m}.", "Give it in metres per pixel.")
    if extent.isEmpty() or not extent.isFinite():
        raise InputError("The extent to render is empty.", "Draw a larger one.", "empty_extent")
    across, down = _ground_size(extent, crs)
    return RenderGrid(extent, max(1, round(across / resolution_m)), max(1, round(down / resolution_m)))


def choose_grid(layer: QgsRasterLayer, window: QgsRectangle | None, resolution: Callable[[], float]) -> RenderGrid:
    """The pixels to write of a layer: its own, or as many as the resolution asks for where it has none.

    Args:
        layer: any valid raster layer.
        window: in the layer's CRS; None for all of it, which only a layer with pixels of its own allows.
        resolution: gives metres on the ground per pixel; asked only for a layer without own pixels.

    Raises:
        InputError: a window is missing, or lies outside the layer.
    """
    if window is not None and not layer.extent().isEmpty():
        window = window.intersect(layer.extent())
        if window.isEmpty():
            raise InputError(
                f"The extent lies outside the layer “{layer.name()}”.", "Choose another extent.", "no_overlap"
            )
    if has_own_pixels(layer):
        return _own_grid(layer, window or layer.extent())
    if window is None:
        raise InputError(
            f"The layer “{layer.name()}” has no end: it would be rendered for the whole world.",
            "Give an extent or polygons to look in.",
            "empty_extent",
        )
    return render_grid(window, layer.crs(), resolution())


def has_own_pixels(layer: QgsRasterLayer) -> bool:
    """Whether a valid layer has a resolution; a web map has none."""
    return bool(layer.dataProvider().capabilities() & QgsRasterInterface.Capability.Size)


def origin_of_rendered(layer: QgsRasterLayer, resolution: Callable[[], float]) -> str:
    """As `origin_of`, for a layer that is rendered at `resolution` where it has no pixels of its own."""
    return origin_of(layer) if has_own_pixels(layer) else f"{origin_of(layer)} {resolution()}"


def _own_grid(layer: QgsRasterLayer, window: QgsRectangle) -> RenderGrid:
    """The layer's own pixels that a window touches."""
    extent = layer.extent()
    size_x, size_y = layer.rasterUnitsPerPixelX(), layer.rasterUnitsPerPixelY()
    left = math.floor((window.xMinimum() - extent.xMinimum()) / size_x + 1e-6)
    right = math.ceil((window.xMaximum() - extent.xMinimum()) / size_x - 1e-6)
    top = math.floor((extent.yMaximum() - window.yMaximum()) / size_y + 1e-6)
    bottom = math.ceil((extent.yMaximum() - window.yMinimum()) / size_y - 1e-6)
    snapped = QgsRectangle(
        extent.xMinimum() + left * size_x,
        extent.yMaximum() - bottom * size_y,
        extent.xMinimum() + right * size_x,
        extent.yMaximum() - top * size_y,
    )
    return RenderGrid(snapped, right - left, bottom - top)


def _ground_size(extent: QgsRectangle, crs: QgsCoordinateReferenceSystem) -> tuple[float, float]:
    """Width and height through the centre in metres."""
    if not crs.isValid():
        return extent.width(), extent.height()
    measure = QgsDistanceArea()
    measure.setSourceCrs(crs, QgsCoordinateTransformContext())
    measure.setEllipsoid("WGS84")
    centre = extent.center()
    # A thousandth about the centre, scaled up: the ends of a large extent may lie outside what the CRS is for.
    dx, dy = extent.width() / 2000, extent.height() / 2000
    try:
        across = measure.measureLine(QgsPointXY(centre.x() - dx, centre.y()), QgsPointXY(centre.x() + dx, centre.y()))
        down = measure.measureLine(QgsPointXY(centre.x(), centre.y() - dy), QgsPointXY(centre.x(), centre.y() + dy))
    except QgsCsException as error:
        raise InputError(
            f"The extent {extent.toString(3)} is outside what {crs.authid()} is for.", "Choose a smaller one."
        ) from error
    return across * 1000, down * 1000


def render_layer(
    layer: QgsRasterLayer,
    window: QgsRectangle | None,
    path: Path,
    resolution: Callable[[], float],
    max_megapixels: float,
    feedback: QgsProcessingFeedback,
) -> None:
    """Write what the backend is to see of a layer to a GeoTIFF, and say so; see `choose_grid` and `render`."""
    grid = choose_grid(layer, window, resolution)
    metres = ground_resolution(grid.extent, layer.crs(), grid.width, grid.height)
    feedback.pushInfo(f"Writing {describe(layer)} to a file: {grid.width} × {grid.height} pixels of {metres:.2f} m")
    step = QgsProcessingMultiStepFeedback(1, feedback)
    for warning in render(layer, grid, path, max_megapixels, step):
        feedback.pushWarning(warning)


def render(
    layer: QgsRasterLayer, grid: RenderGrid, path: Path, max_megapixels: float, feedback: QgsFeedback
) -> list[str]:
    """Write a layer's pixels to a GeoTIFF: colours from a web map, the values themselves from all others.

    Args:
        layer: any valid raster layer; may live in another thread.
        grid: which pixels, in the layer's CRS.
        path: the GeoTIFF to write; replaced if there.
        max_megapixels: the largest picture allowed.
        feedback: progress 0..100 and cancel.

    Returns:
        Warnings, one sentence each.

    Raises:
        InputError: too many pixels, the layer gives no picture, or the file cannot be written.
        Cancelled: `feedback` was cancelled.
    """
    _check_size(layer, grid, max_megapixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(layer, grid, path, feedback)
    if feedback.isCanceled():
        path.unlink(missing_ok=True)
        raise Cancelled
    write_nodata(layer, str(path))
    mask_beyond(layer, path)
    masked, even, blocks = blank_blocks(path)
    if masked + even == blocks:
        path.unlink()
        raise InputError(
            f"The layer {describe(layer)} gave an empty picture.",
            "Look at it in QGIS at this place and scale: the server may have nothing there, want a key or be down.",
            "empty_picture",
        )
    # QGIS takes no nodata value for a web map.
    or_nodata = ", or give that value as nodata (Layer Properties > Transparency)" if has_own_pixels(layer) else ""
    said = (
        (masked, "is empty: there is no image there."),
        (even, f"is of one colour. If nothing was photographed there, leave it out of the area{or_nodata}."),
    )
    return [
        f"{count / blocks:.0%} of the picture of “{layer.name()}” {what}"
        for count, what in said
        if count > 0.1 * blocks
    ]


def _check_size(layer: QgsRasterLayer, grid: RenderGrid, max_megapixels: float) -> None:
    if grid.megapixels > max_megapixels:
        raise InputError(
            f"The layer “{layer.name()}” would be rendered to {grid.width} × {grid.height} pixels "
            f"({grid.megapixels:,.0f} million), at most {max_megapixels:,.0f} million are allowed.",
            "Choose a smaller extent or a coarser resolution.",
            "too_large",
        )


def write_stand_in(
    layer: QgsRasterLayer,
    window: QgsRectangle | None,
    path: Path,
    resolution: Callable[[], float],
    max_megapixels: float,
) -> str:
    """Write a virtual raster like what `render_layer` would write, with nothing in it, for an estimate.

    Returns:
        What will be written, in a sentence for the user.

    Raises:
        InputError: there is no telling what to render, or it is too large.
    """
    from osgeo import gdal  # here, for the plugin to load fast

    grid = choose_grid(layer, window, resolution)
    _check_size(layer, grid, max_megapixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, kind = 4, gdal.GDT_Byte
    if has_own_pixels(layer):  # values, not colours
        provider = layer.dataProvider()
        bands, kind = provider.bandCount(), provider.dataType(1)
        kind = int(getattr(kind, "value", kind))  # QGIS numbers them as GDAL does
    raster = gdal.GetDriverByName("VRT").Create(str(path), grid.width, grid.height, bands, kind)
    extent = grid.extent
    across, down = extent.width() / grid.width, extent.height() / grid.height
    raster.SetGeoTransform([extent.xMinimum(), across, 0, extent.yMaximum(), 0, -down])
    raster.SetProjection(layer.crs().toWkt())
    return f"Before that, “{layer.name()}” is written to a file of {grid.width:,} × {grid.height:,} px."


def _write(layer: QgsRasterLayer, grid: RenderGrid, path: Path, feedback: QgsFeedback) -> None:
    writer = QgsRasterFileWriter(str(path))
    writer.setOutputFormat("GTiff")
    writer.setCreateOptions(["TILED=YES", "COMPRESS=DEFLATE", "BIGTIFF=IF_SAFER"])
    # A provider belongs to the thread it was made in; the clone belongs to this one.
    provider = layer.dataProvider().clone()
    pipe = QgsRasterPipe()
    block_feedback = QgsRasterBlockFeedback()
    feedback.canceled.connect(block_feedback.cancel)
    block_feedback.progressChanged.connect(feedback.setProgress)
    if not pipe.set(provider):
        raise InputError(f"The layer {describe(layer)} gives no pixels.", "Choose another layer.", "unreadable")
    result = writer.writeRaster(
        pipe,
        grid.width,
        grid.height,
        grid.extent,
        layer.crs(),
        QgsCoordinateTransformContext(),
        block_feedback,
    )
    code = getattr(result, "value", result)  # an int with Qt 5, an enum with Qt 6
    if code != 0 and not feedback.isCanceled():
        raise InputError(
            f"The layer {describe(layer)} cannot be written to {path} (error {code}).",
            "Check the disk and the network, and whether QGIS draws the layer.",
            "unreadable",
        )


def blank_blocks(path: Path) -> tuple[int, int, int]:
    """Counts blocks: those all transparent or nodata, the others of one value in each band, and all there are."""
    from osgeo import gdal  # here, for the plugin to load fast

    dataset = gdal.Open(str(path))
    masked = even = total = 0
    for top in range(0, dataset.RasterYSize, BLOCK):
        for left in range(0, dataset.RasterXSize, BLOCK):
            width = min(BLOCK, dataset.RasterXSize - left)
            height = min(BLOCK, dataset.RasterYSize - top)
            window = (left, top, width, height)
            if not any(dataset.GetRasterBand(1).GetMaskBand().ReadRaster(*window)):
                masked += 1
            elif _is_even(dataset, window):
                even += 1
            total += 1
    return masked, even, total


def _is_even(dataset: Any, window: tuple[int, int, int, int]) -> bool:
    """Whether every band of a window of a GDAL dataset has one value."""
    for band in range(1, dataset.RasterCount + 1):
        raw = dataset.GetRasterBand(band).ReadRaster(*window)
        pixel = raw[: len(raw) // (window[2] * window[3])]
        if raw != pixel * (window[2] * window[3]):
            return False
    return True
