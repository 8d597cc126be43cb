"""Makes any QGIS layer a file that the backend can read.

A raster file is passed as it is. Everything else (web maps, virtual rasters, formats that only QGIS's GDAL
opens, scenes that lie by ground control points or RPCs alone) is written to a GeoTIFF first, as QGIS shows it, see
`rendering`. A small virtual raster carries another CRS or nodata value than the file's. Polygons with unsaved edits,
filters, another CRS than their file's or no file of their own are exported to a GeoPackage.

A raster without CRS is worked on in pixels, (column, row) with y down, while QGIS shows it with y up:
`PixelFrame` goes from one to the other.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import unquote

from qgis.core import (
    NULL,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSource,
    QgsField,
    QgsFields,
    QgsMapLayer,
    QgsProcessingFeatureSource,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant
from qgis.PyQt.QtGui import QTransform

from .errors import InputError
from .layer_nodata import has_own_nodata, nodata_settings, one_nodata, stored
from .warped_layers import geotransform, lies_by_points

BACKEND_DRIVERS = frozenset(
    [
        "AAIGrid",
        "BMP",
        "COG",
        "DTED",
        "EHdr",
        "ENVI",
        "ERS",
        "GIF",
        "GPKG",
        "GRIB",
        "GTiff",
        "HDF5",
        "HDF5Image",
        "HFA",
        "JP2OpenJPEG",
        "JPEG",
        "KRO",
        "MBTiles",
        "MRF",
        "NITF",
        "PCIDSK",
        "PNG",
        "PNM",
        "RMF",
        "RST",
        "SAFE",
        "SAGA",
        "SENTINEL2",
        "SRTMHGT",
        "TGA",
        "VRT",
        "WEBP",
        "Zarr",
        "netCDF",
    ]
)
"""GDAL drivers in rasterio's wheels, on which the backend runs; QGIS's GDAL may have ECW, MrSID and more."""

_CREDENTIAL = re.compile(
    r"""(?ix)\b( (?:api|app|access|auth|client|subscription|sig|secret|pass|pwd|user|token|key)[\w-]*
              | [\w-]*(?:key|token) | tk | ak ) = ( '[^']*' | [^&\s|]+ )"""
)
_USER_IN_ADDRESS = re.compile(r"(\w+://)[^/?\s]+@")


Kept = Callable[[Path, str], Optional[str]]
"""Gives for a file, and a text with all that it is made of, the one that is there and is to be read; None where it is
to be written."""


def write_anew(target: Path, origin: str) -> str | None:
    """A `Kept` for where nothing is gone on with."""
    return None


@dataclass(frozen=True)
class PixelFrame:
    """Between the map coordinates of a raster and its pixels (column, row), which the backend counts without a CRS.

    Without a geotransform QGIS shows such a raster from y = −height to 0; with one (a world file, say), there.
    """

    geotransform: tuple[float, ...]
    """As GDAL gives it."""

    @classmethod
    def of(cls, layer: QgsRasterLayer) -> PixelFrame:
        """The frame of a raster layer as QGIS shows it, its first row at the top."""
        extent = layer.extent()
        across, down = extent.width() / layer.width(), extent.height() / layer.height()
        return cls((extent.xMinimum(), across, 0.0, extent.yMaximum(), 0.0, -down))

    @classmethod
    def of_file(cls, layer: QgsRasterLayer) -> PixelFrame:
        """The frame of the pixels that the backend counts.

        QGIS warps a file whose rows run upwards or aslant, to a grid of its own: there the layer's rows are not the
        file's. What is no file for the backend is written as QGIS shows it.

        Raises:
            InputError: the layer is broken.
        """
        path = direct_path(layer)
        told = None if path is None else geotransform(path)
        return cls.of(layer) if told is None else cls(told)

    def to_map(self) -> QTransform:
        """From (column, row) to map coordinates."""
        left, across, lean_x, top, lean_y, down = self.geotransform
        return QTransform(across, lean_y, lean_x, down, left, top)

    def to_pixels(self) -> QTransform:
        """From map coordinates to (column, row)."""
        return self.to_map().inverted()[0]


def bounds(extent: QgsRectangle, before: QgsRasterLayer) -> list[float]:
    """An extent as the backend takes it: left, bottom, right, top in the CRS of `before`.

    Without CRS in pixels, where "bottom" is the larger row.

    Args:
        extent: in the CRS of `before`; map coordinates if it has none.
        before: the reference raster.
    """
    if before.crs().isValid():
        return [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()]
    pixels = PixelFrame.of_file(before).to_pixels().mapRect(extent.toRectF())
    return [pixels.left(), pixels.bottom(), pixels.right(), pixels.top()]


def direct_path(layer: QgsRasterLayer) -> str | None:
    """What the backend can open as it is: a path, ``/vsizip/…`` or a subdataset; None where it must be written.

    Raises:
        InputError: the layer is broken: its file was moved, say.
    """
    if not layer.isValid():
        raise InputError(
            f"The layer “{layer.name()}” is broken: {redact(layer.source())} cannot be read.",
            "Repair its data source (it may have been moved or the network be down).",
            "unreadable",
        )
    if layer.providerType() != "gdal":
        return None
    from osgeo import gdal  # here, for the plugin to load fast

    source = layer.source()
    decoded = QgsProviderRegistry.instance().decodeUri("gdal", source)
    if decoded.get("openOptions") or source.startswith("/vsimem/") or "authcfg=" in source:
        return None
    driver = gdal.IdentifyDriverEx(source, gdal.OF_RASTER)
    if driver is None or driver.ShortName not in BACKEND_DRIVERS or lies_by_points(source):
        return None
    return os.path.abspath(source) if os.path.exists(source) else source


def has_other_crs(layer: QgsMapLayer) -> bool:
    """Whether the user has given the layer another CRS than its file says, or one where the file has none."""
    return layer.crs().isValid() and layer.crs() != layer.dataProvider().crs()


def is_seen_otherwise(layer: QgsRasterLayer) -> bool:
    """Whether the user has given the layer another CRS or other nodata values than its file has."""
    return has_other_crs(layer) or has_own_nodata(layer)


def image_path(layer: QgsRasterLayer) -> str | None:
    """As `direct_path`; None also where the layer has nodata values that a virtual raster over the file cannot give.

    Raises:
        InputError: the layer is broken, or its nodata values cannot be told at all.
    """
    path = direct_path(layer)
    several = has_own_nodata(layer) and one_nodata(layer) is None
    return None if several else path


def as_seen(path: str, layer: QgsRasterLayer, folder: Path, name: str, nodata: bool = True) -> str:
    """The path, or a VRT over it where the user has given the layer another CRS or nodata value than its file has.

    Args:
        path: the layer's file.
        layer: whose `image_path` is that file.
        folder: for the VRT.
        name: of the VRT.
        nodata: whether nodata values count.
    """
    other_crs, other_nodata = has_other_crs(layer), nodata and has_own_nodata(layer)
    if not other_crs and not other_nodata:
        return path
    from osgeo import gdal

    options: dict[str, Any] = {}
    if other_crs:
        options["outputSRS"] = layer.crs().toWkt()
        if gdal.Open(path).GetGeoTransform(can_return_null=True) is None:
            # A picture without place lies where QGIS draws it: below the origin.
            extent = layer.extent()
            options["outputBounds"] = [extent.xMinimum(), extent.yMaximum(), extent.xMaximum(), extent.yMinimum()]
    if other_nodata:
        value = one_nodata(layer)
        options["noData"] = "none" if value is None or math.isnan(value) else stored(value, layer)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.vrt"
    if gdal.Translate(str(target), path, format="VRT", **options) is None:
        raise InputError(
            f"The settings of the layer “{layer.name()}” cannot be given to a copy: {gdal.GetLastErrorMsg()}",
            "Give them to the file itself (Raster > Projections > Assign Projection, Raster > Conversion > Translate).",
        )
    return str(target)


def origin_of(layer: QgsRasterLayer) -> str:
    """What tells a written copy of a raster layer from that of another layer, or of other settings; no credentials."""
    return json.dumps([redact(layer.source()), layer.crs().toWkt(), nodata_settings(layer)])


def origin_of_features(source: QgsFeatureSource, fields: Sequence[str]) -> str:
    """What tells a written copy of polygons from that of others: their shapes, their values of `fields`, their CRS.

    The same before and after edits are saved: a file may number and order features anew, turn their rings, make each of
    several parts, and give back its own kind of null.
    """

    def told(feature: QgsFeature) -> bytes:
        geometry, values = feature.geometry(), (feature[name] for name in fields)
        geometry.convertToMultiType()
        geometry.normalize()
        plain = [None if value == NULL else value for value in values]
        return hashlib.sha256(geometry.asWkb().data() + repr(plain).encode()).digest()

    crs = source.sourceCrs().toWkt().encode()
    return hashlib.sha256(b"".join([crs, *sorted(map(told, features_of(source)))])).hexdigest()


def features_of(source: QgsFeatureSource) -> Iterable[QgsFeature]:
    """All features of a layer or of an algorithm's source, also those whose shape is not valid.

    Processing itself stops at such a shape, by an exception that leaves C++ through Python and ends QGIS; the backend
    repairs them.
    """
    if isinstance(source, QgsProcessingFeatureSource):
        return source.getFeatures(QgsFeatureRequest(), QgsProcessingFeatureSource.FlagSkipGeometryValidityChecks)
    return source.getFeatures()


def polygons_path(
    layer: QgsVectorLayer, source: QgsFeatureSource, before: QgsRasterLayer, folder: Path, kept: Kept = write_anew
) -> str:
    """A file with the polygons of a layer as the user sees them.

    The layer's own file where it holds just that: one table, nothing unsaved, filtered or selected, no other CRS.
    Must be called on the main thread, where a layer's unsaved edits are.

    Args:
        layer: the polygon layer.
        source: its features, or the selected ones.
        before: the reference raster; if it has no CRS, the polygons are turned into pixels (column, row).
        folder: for the GeoPackage, if one is needed.
        kept: gives the one that the run that is gone on with has written.

    Raises:
        InputError: there is no polygon, the GeoPackage cannot be written, or the unfinished run was given others.
    """
    if source.featureCount() == 0:
        raise InputError(
            f"The layer “{layer.name()}” has no polygons to look in.",
            "Draw or select one, or choose another extent.",
            "empty_extent",
        )
    whole = source.featureCount() == layer.featureCount()
    frame, target = None if before.crs().isValid() else PixelFrame.of_file(before), folder / "aoi.gpkg"
    # An unfinished run goes on with the copy that it was begun with, though the edits are saved by now.
    if whole and frame is None and _is_plain_file(layer) and not target.exists():
        return os.path.abspath(layer.source().split("|")[0])
    return kept(target, origin_of_features(source, _review_field(source))) or _export_polygons(source, frame, target)


def _is_plain_file(layer: QgsVectorLayer) -> bool:
    if layer.providerType() != "ogr" or layer.isModified() or layer.subsetString() or has_other_crs(layer):
        return False
    path = layer.source().split("|")[0]
    return os.path.isfile(path) and len(QgsProviderRegistry.instance().querySublayers(path)) == 1


def _review_field(source: QgsFeatureSource) -> list[str]:
    """The name of the field that says how polygons were reviewed, where they have one."""
    index = source.fields().indexFromName("review")
    return ["review"] if index >= 0 and source.fields().at(index).type() == QVariant.String else []


def _export_polygons(source: QgsFeatureSource, frame: PixelFrame | None, target: Path) -> str:
    crs = source.sourceCrs() if frame is None else QgsCoordinateReferenceSystem()
    kind = QgsWkbTypes.multiType(QgsWkbTypes.flatType(source.wkbType()))
    # Only the shapes matter and how they were reviewed; the fid of an unsaved feature, as others, would be refused.
    fields, review = QgsFields(), _review_field(source)
    for name in review:
        fields.append(QgsField(name, QVariant.String))

    def copies() -> Iterator[QgsFeature]:
        for feature in features_of(source):
            copy, geometry = QgsFeature(fields), feature.geometry()
            copy.setAttributes([feature[name] for name in review])
            if frame is not None:
                geometry.transform(frame.to_pixels())
            geometry.convertToMultiType()
            copy.setGeometry(geometry)
            yield copy

    try:
        write_geopackage(target, "aoi", fields, kind, crs, copies())
    except OSError as error:
        raise InputError(
            f"The polygons cannot be written to {target}: {error}", "Choose another output folder.", "bad_out_dir"
        ) from error
    return str(target)


def write_geopackage(
    path: Path,
    table: str,
    fields: QgsFields,
    kind: QgsWkbTypes.Type,
    crs: QgsCoordinateReferenceSystem,
    features: Iterable[QgsFeature] = (),
) -> None:
    """Write features to a file of their own; an existing one is replaced, and the folder is made.

    Raises:
        OSError: it cannot be written; tells why.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = table
    writer = QgsVectorFileWriter.create(str(path), fields, kind, crs, QgsCoordinateTransformContext(), options)
    for feature in features:
        writer.addFeature(feature)
    failed, message = writer.hasError() != QgsVectorFileWriter.WriterError.NoError, writer.errorMessage()
    del writer  # closes the file
    if failed:
        raise OSError(message)


def redact(source: str) -> str:
    """A layer's source or a message without passwords, tokens and keys, for logs and files."""
    without_user = _USER_IN_ADDRESS.sub(r"\1***@", unquote(source))
    return _CREDENTIAL.sub(r"\1=***", without_user)


def describe(layer: QgsMapLayer) -> str:
    """A layer's name and source for the log."""
    return f"“{layer.name()}” ({redact(layer.source())})"
