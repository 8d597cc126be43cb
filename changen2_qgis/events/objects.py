"""The outline of an object on the map: of a drawn event, of a label layer's polygon or of a label raster's patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeatureRequest,
    QgsGeometry,
    QgsMapLayer,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from ..errors import InputError
from ..inputs import PixelFrame
from .layer import BACKGROUND

if TYPE_CHECKING:
    import numpy as np

WINDOW = 1024
"""Side, in pixels, of the part of a label raster in which a clicked object is looked for."""


@dataclass(frozen=True)
class MapObject:
    """An object found under a click.

    Attributes:
        geometry: its outline.
        crs: of the outline; invalid for a raster without CRS.
        note: what the user should know about it; may be empty.
    """

    geometry: QgsGeometry
    crs: QgsCoordinateReferenceSystem
    note: str = ""


def transformed(
    geometry: QgsGeometry, source: QgsCoordinateReferenceSystem, target: QgsCoordinateReferenceSystem
) -> QgsGeometry:
    """A copy in another CRS; unchanged where one of the two is unknown, as QGIS draws it.

    Raises:
        InputError: the geometry has no place in the target CRS.
    """
    moved = QgsGeometry(geometry)
    if not (source.isValid() and target.isValid()) or source == target:
        return moved
    try:
        moved.transform(QgsCoordinateTransform(source, target, QgsProject.instance()))
    except QgsCsException as error:
        raise InputError(
            f"This place cannot be brought from {source.authid()} to {target.authid()}: {error}",
            "Zoom to the image and draw there.",
            "bad_crs",
        ) from error
    return moved


def find_object(layers: list[QgsMapLayer], point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> MapObject:
    """The object at a point of the first layer that has one there.

    Args:
        layers: polygons, or rasters of class numbers.
        point: in `crs`, that of the map.
        crs: of the point.

    Raises:
        InputError: none has.
    """
    for layer in layers:
        there = transformed(QgsGeometry.fromPointXY(point), crs, layer.crs()).asPoint()
        found = object_at(layer, there)
        if found is not None:
            return found
    known = " or ".join(f"“{layer.name()}”" for layer in layers)
    raise InputError(
        f"There is no object of {known} here." if known else "There are no objects yet.",
        "Click inside one." if known else "Choose labels, or draw a polygon first.",
        "no_object",
    )


def object_at(layer: QgsMapLayer, point: QgsPointXY) -> MapObject | None:
    """The object of a layer at a point, or None where there is none.

    Args:
        layer: polygons, or a raster of class numbers.
        point: in the layer's CRS (map coordinates where it has none).
    """
    if isinstance(layer, QgsVectorLayer):
        return _polygon_at(layer, point)
    if isinstance(layer, QgsRasterLayer):
        return _patch_at(layer, point)
    return None


def _polygon_at(layer: QgsVectorLayer, point: QgsPointXY) -> MapObject | None:
    """The smallest polygon that holds the point: of a house on a parcel, the house."""
    request = QgsFeatureRequest().setFilterRect(QgsRectangle(point, point)).setSubsetOfAttributes([])
    here = [feature.geometry() for feature in layer.getFeatures(request) if feature.geometry().contains(point)]
    return MapObject(min(here, key=QgsGeometry.area), layer.crs()) if here else None


def _patch_at(layer: QgsRasterLayer, point: QgsPointXY) -> MapObject | None:
    """The connected pixels of one class (corners connect), looked for in a window around the point."""
    import numpy as np  # here, as with GDAL below, for the plugin to load fast

    if not layer.isValid() or not layer.width() or not layer.extent().contains(point):
        return None
    frame = PixelFrame.of(layer)
    x, y = frame.to_pixels().map(point.x(), point.y())
    column, row = min(int(x), layer.width() - 1), min(int(y), layer.height() - 1)
    left, right = _span(column, layer.width())
    top, bottom = _span(row, layer.height())
    area = QgsGeometry.fromRect(QgsRectangle(left, top, right, bottom))
    area.transform(frame.to_map())
    block = layer.dataProvider().block(1, area.boundingBox(), right - left, bottom - top)
    if block.isNoData(row - top, column - left) or block.value(row - top, column - left) == BACKGROUND:
        return None
    block.convert(Qgis.DataType.Float64)
    values = np.frombuffer(block.data(), np.float64).reshape(bottom - top, right - left)
    outline = _outline(values == values[row - top, column - left], row - top, column - left)
    outline.translate(left, top)
    box = outline.boundingBox()
    cut = [box.xMinimum() == left > 0, box.yMinimum() == top > 0]
    cut += [box.xMaximum() == right < layer.width(), box.yMaximum() == bottom < layer.height()]
    outline.transform(frame.to_map())
    said = f"The object is larger than {WINDOW} pixels: only the part around the click was taken." if any(cut) else ""
    return MapObject(outline, layer.crs(), said)


def _span(position: int, size: int) -> tuple[int, int]:
    """First and last + 1 pixel of a window of at most `WINDOW` around a position."""
    first = max(0, min(position - WINDOW // 2, size - WINDOW))
    return first, min(size, first + WINDOW)


def _outline(same: np.ndarray, row: int, column: int) -> QgsGeometry:
    """The outline, in (column, row), of the connected pixels that hold one that is True.

    Args:
        same: bool [h, w].
        row: of the pixel.
        column: of the pixel.
    """
    from osgeo import gdal, ogr

    image = gdal.GetDriverByName("MEM").Create("", same.shape[1], same.shape[0], 1, gdal.GDT_Byte)
    band = image.GetRasterBand(1)
    band.WriteArray(same.astype("uint8"))
    vectors = gdal.GetDriverByName("Memory") or gdal.GetDriverByName("MEM")  # one driver in newer GDAL
    store = vectors.Create("", 0, 0, 0, gdal.GDT_Unknown)
    patches = store.CreateLayer("patches", None, ogr.wkbPolygon)
    gdal.Polygonize(band, band, patches, -1, ["8CONNECTED=8"])
    middle = QgsPointXY(column + 0.5, row + 0.5)
    patches.SetSpatialFilterRect(middle.x(), middle.y(), middle.x(), middle.y())
    for patch in patches:
        outline = QgsGeometry()
        outline.fromWkb(bytes(patch.GetGeometryRef().ExportToWkb()))
        if not outline.isGeosValid():  # pixels that touch by a corner make a ring that touches itself
            outline = outline.makeValid()
        if outline.contains(middle):
            return outline
    raise InputError("The outline of the object cannot be traced.", "Draw the polygon by hand.", "no_outline")
