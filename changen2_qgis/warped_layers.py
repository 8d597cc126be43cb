"""Rasters that QGIS warps on loading: those that have points or RPCs in place of a grid, or one that is turned."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsRasterLayer

from .errors import InputError

ROWS = 256
"""Rows of a mask that are written at once."""


def geotransform(source: str) -> tuple[float, ...] | None:
    """The geotransform of a raster; None where it has none, or one that for GDAL and QGIS says nothing."""
    from osgeo import gdal  # here, for the plugin to load fast

    dataset = gdal.Open(source)
    told = None if dataset is None else dataset.GetGeoTransform(can_return_null=True)
    return None if told is None or [abs(value) for value in told] == [0, 1, 0, 0, 0, 1] else tuple(told)


def lies_by_points(source: str) -> bool:
    """Whether ground control points or RPCs alone say where a raster lies, as of a Sentinel-1 scene."""
    from osgeo import gdal

    dataset = gdal.Open(source)
    by_points = dataset is not None and (dataset.GetGCPCount() > 0 or bool(dataset.GetMetadata("RPC")))
    return by_points and geotransform(source) is None


def mask_beyond(layer: QgsRasterLayer, path: Path) -> None:
    """Mask, in a written copy of a layer, what lies beyond the scene, where QGIS shows black.

    Nothing is done where the copy says already what is missing, by a nodata value or an alpha band.

    Args:
        layer: any valid raster layer.
        path: the copy.

    Raises:
        InputError: the mask cannot be written.
    """
    from osgeo import gdal

    source = layer.source()
    if layer.providerType() != "gdal" or not (lies_by_points(source) or _is_aslant(source)):
        return
    copy = gdal.Open(str(path), gdal.GA_Update)
    if copy.GetRasterBand(1).GetMaskFlags() != gdal.GMF_ALL_VALID:
        return
    left, across, _, top, _, down = copy.GetGeoTransform()
    width, height = copy.RasterXSize, copy.RasterYSize
    bounds = (left, top + height * down, left + width * across, top)
    seen = gdal.Warp("", source, format="VRT", outputBounds=bounds, width=width, height=height, dstAlpha=True)
    # In the file itself, which older GDALs do not do by default: nothing stays behind where the copy is replaced.
    usual = gdal.GetConfigOption("GDAL_TIFF_INTERNAL_MASK")
    gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", "YES")
    made = copy.CreateMaskBand(gdal.GMF_PER_DATASET)
    gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", usual)
    if seen is None or made != gdal.CE_None:
        raise InputError(
            f"The edge of the layer “{layer.name()}” cannot be told: {gdal.GetLastErrorMsg()}",
            "Warp it to a file (Raster > Projections > Warp) and choose that.",
            "unreadable",
        )
    alpha, mask = seen.GetRasterBand(seen.RasterCount), copy.GetRasterBand(1).GetMaskBand()
    for row in range(0, height, ROWS):
        part = (0, row, width, min(ROWS, height - row))
        mask.WriteRaster(*part, alpha.ReadRaster(*part))


def _is_aslant(source: str) -> bool:
    """Whether rows and columns run aslant in map coordinates."""
    told = geotransform(source)
    return told is not None and (told[2] != 0 or told[4] != 0)
