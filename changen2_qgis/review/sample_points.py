"""A stratified sample of points over a change map, for a person to label: how many, where, and as a layer.

Sizes after Olofsson et al. 2014 (Remote Sensing of Environment 148, equation 13 and section 5.1.1): the sample is as
large as a wanted standard error of the overall accuracy needs, in proportion to the area of each stratum, but no
stratum gets fewer points than a least number, since change is rare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal
from qgis.core import (
    NULL,
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsEditFormConfig,
    QgsEditorWidgetSetup,
    QgsFeature,
    QgsFeatureSource,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsLayerTreeLayer,
    QgsMarkerSymbol,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant

from ..errors import InputError
from ..inputs import PixelFrame, features_of, write_geopackage
from ..result_groups import ROLE
from ..results import DetectionGroup

TABLE = "sample_points"

DESIGN = {"map": QVariant.Int, "stratum_pixels": QVariant.LongLong}
"""Fields that tell how a point was drawn, whatever the map says later: its stratum, and the pixels that this has."""

ROWS = 256
"""Rows read at once; the points that are drawn do not depend on it."""

STRATA = ("no change", "change")

LABELS = (
    # value of the field reference, what it says, marker
    (None, "To label", {"name": "cross2", "color": "#ff7a00", "outline_color": "#ff7a00", "size": "4"}),
    (1, "Changed", {"name": "circle", "color": "#d7263d", "outline_color": "white", "size": "3.2"}),
    (0, "Not changed", {"name": "circle", "color": "#8c8c8c", "outline_color": "white", "size": "3.2"}),
)


def sample_sizes(
    pixels: tuple[int, int], users_accuracies: tuple[float, float], standard_error: float, least: int
) -> tuple[int, int]:
    """How many points on no change and on change.

    Args:
        pixels: of no change and of change on the map.
        users_accuracies: expected share of each that is right, 0..1.
        standard_error: wanted, of the overall accuracy, such as 0.01.
        least: points that each stratum gets at least, if it has as many pixels.
    """
    shares = [count / sum(pixels) for count in pixels]
    spread = sum(share * math.sqrt(right * (1 - right)) for share, right in zip(shares, users_accuracies))
    total = (spread / standard_error) ** 2
    sizes = [min(count, max(least, math.ceil(total * share))) for share, count in zip(shares, pixels)]
    return sizes[0], sizes[1]


def count_strata(path: str, on_rows: Callable[[int, int], None] = lambda done, total: None) -> tuple[int, int]:
    """The pixels of no change and of change on a map.

    Args:
        path: a raster in which every valid value but 0 is change; 0 is none, also where it is the nodata value.
        on_rows: progress (done, total); may raise to cancel.
    """
    counts = np.zeros(2, np.int64)
    for _, changed, valid, done, total in _strips(path):
        counts += [np.count_nonzero(valid & ~changed), np.count_nonzero(valid & changed)]
        on_rows(done, total)
    return int(counts[0]), int(counts[1])


def draw_places(
    path: str, pixels: tuple[int, int], sizes: tuple[int, int], seed: int, on_rows: Callable[[int, int], None]
) -> list[tuple[int, int, int]]:
    """Draw pixels of each stratum, all equally likely, none twice.

    Args:
        path: the map.
        pixels: of each stratum, as `count_strata` found.
        sizes: how many to draw of each.
        seed: the same seed draws the same places.
        on_rows: progress; may raise to cancel.

    Returns:
        Column, row and stratum (1 is change) of each place, in random order: a person who labels them must not see
        from the order what the map says.
    """
    rng = np.random.default_rng(seed)
    wanted = [np.sort(rng.choice(count, size, replace=False)) for count, size in zip(pixels, sizes)]
    passed = [0, 0]
    places: list[tuple[int, int, int]] = []
    for top, changed, valid, done, total in _strips(path):
        for stratum, mask in enumerate((valid & ~changed, valid & changed)):
            inside = np.flatnonzero(mask)
            first, end = np.searchsorted(wanted[stratum], [passed[stratum], passed[stratum] + inside.size])
            chosen = inside[wanted[stratum][first:end] - passed[stratum]]
            rows, columns = np.divmod(chosen, mask.shape[1])
            places += [(int(column), int(row) + top, stratum) for row, column in zip(rows, columns)]
            passed[stratum] += inside.size
        on_rows(done, total)
    return [places[index] for index in rng.permutation(len(places))]


def _strips(path: str) -> Iterator[tuple[int, Any, Any, int, int]]:
    """Top row, change and valid pixels of each strip of rows, and how many of how many rows are done.

    Where 0 is nodata, as in masks of drawn polygons, it says that nothing changed, as it does when the map is assessed;
    an alpha band or a mask says what is not known all the same.
    """
    dataset = gdal.Open(path)
    band = dataset.GetRasterBand(1)
    mask = band.GetMaskBand()
    zero_counts = band.GetNoDataValue() == 0 and band.GetMaskFlags() & gdal.GMF_NODATA
    for top in range(0, dataset.RasterYSize, ROWS):
        height = min(ROWS, dataset.RasterYSize - top)
        place = (0, top, dataset.RasterXSize, height)
        changed, valid = band.ReadAsArray(*place) != 0, mask.ReadAsArray(*place) > 0
        yield top, changed, valid | bool(zero_counts), top + height, dataset.RasterYSize


def write_points(
    places: list[tuple[int, int, int]], pixels: tuple[int, int], raster: QgsRasterLayer, path: Path
) -> None:
    """Write places as a GeoPackage, without labels.

    Args:
        places: of `draw_places`.
        pixels: of each stratum.
        raster: the map's layer.
        path: of the file.

    Raises:
        InputError: it cannot be written.
    """
    fields = QgsFields()
    for name, kind in {"number": QVariant.Int, **DESIGN, "reference": QVariant.Int}.items():
        fields.append(QgsField(name, kind))
    to_map = PixelFrame.of_file(raster).to_map()
    points = [
        (QgsPointXY(*to_map.map(column + 0.5, row + 0.5)), [number, stratum, pixels[stratum], NULL])
        for number, (column, row, stratum) in enumerate(places, 1)
    ]
    _write(path, fields, raster.crs(), points)


def export_points(source: QgsFeatureSource, raster: QgsRasterLayer, folder: Path) -> str:
    """A file of points for the backend, unsaved labels too, with how they were drawn where that is known.

    Args:
        source: points with a field `reference`, and perhaps those of `DESIGN`.
        raster: the map that is assessed; if it has no CRS, the points are turned into pixels (column, row).
        folder: for the file.

    Raises:
        InputError: the field is missing, holds something else, or no point is labelled yet.
    """
    index = source.fields().lookupField("reference")
    if index < 0:
        raise InputError(
            f"The points “{source.sourceName()}” have no field “reference”.",
            "Give each point 1 where there is change and 0 where there is none.",
            "bad_value",
        )
    design = {name: source.fields().lookupField(name) for name in DESIGN}
    design = {name: number for name, number in design.items() if number >= 0}
    framed = not raster.crs().isValid()
    to_pixels = PixelFrame.of_file(raster).to_pixels()
    points = []
    labelled = 0
    for feature in features_of(source):
        if feature.geometry().isNull():
            continue
        label = _label(feature[index], feature.id())
        labelled += label is not None
        point = feature.geometry().centroid().asPoint()
        place = QgsPointXY(*to_pixels.map(point.x(), point.y())) if framed else point
        points.append((place, [NULL if label is None else label, *(feature[number] for number in design.values())]))
    if not labelled:
        raise InputError(
            f"No point of “{source.sourceName()}” is labelled yet.",
            "Look at each point on both images and set its “reference” to Changed or Not changed.",
            "bad_value",
        )
    fields = QgsFields()
    fields.append(QgsField("reference", QVariant.Int))
    for number in design.values():
        fields.append(source.fields()[number])
    target = folder / "points.gpkg"
    _write(target, fields, QgsCoordinateReferenceSystem() if framed else source.sourceCrs(), points)
    return str(target)


def _label(value: Any, feature_id: int) -> int | None:
    if value is None or value == NULL or value == "":
        return None
    if str(value) in ("0", "1", "0.0", "1.0", "True", "False"):
        return int(str(value) in ("1", "1.0", "True"))
    raise InputError(
        f"Point {feature_id} has the reference {value!r}.", "Allowed are 1 (change) and 0 (no change).", "bad_value"
    )


def _write(
    path: Path, fields: QgsFields, crs: QgsCoordinateReferenceSystem, points: list[tuple[QgsPointXY, list[Any]]]
) -> None:
    features = []
    for point, values in points:
        features.append(QgsFeature(fields))
        features[-1].setGeometry(QgsGeometry.fromPointXY(point))
        features[-1].setAttributes(values)
    try:
        write_geopackage(path, TABLE, fields, QgsWkbTypes.Type.Point, crs, features)
    except OSError as error:
        raise InputError(
            f"The points cannot be written to {path}: {error}", "Choose another output folder.", "bad_out_dir"
        ) from error


def drawn_over(source: str, valid_pixels: int | None) -> bool:
    """Whether points were drawn over a map, at whatever threshold, and not over one that it has replaced.

    Args:
        source: of the points' layer; one that cannot be opened was drawn over none.
        valid_pixels: of the map; None where that is not known, and any may be its points.
    """
    layer = QgsVectorLayer(source, "Points", "ogr")
    strata = {feature["map"]: feature["stratum_pixels"] for feature in layer.getFeatures()}
    return layer.isValid() and valid_pixels in (None, sum(strata.values()))


def add_points(group: DetectionGroup, source: str) -> QgsVectorLayer:
    """Add a sample at the top of a detection's group, ready to label; an earlier one moves out of the way.

    Args:
        group: the detection.
        source: of the points' layer.

    Raises:
        OSError: it cannot be opened.
    """
    layer = QgsVectorLayer(source, "Points to label", "ogr")
    if not layer.isValid():
        raise OSError(f"QGIS cannot open {source}. It may have been moved: draw the points again.")
    style_points(layer)
    older = group.layer("points")
    if older is not None:  # somebody's work: it stays in the project, but is no longer the one to label
        older.removeCustomProperty(ROLE)
        older.setName("Points labelled before")
    layer.setCustomProperty(ROLE, "points")
    QgsProject.instance().addMapLayer(layer, False)
    tree_layer = QgsLayerTreeLayer(layer)
    tree_layer.setCustomProperty("showFeatureCount", True)
    group.node.insertChildNode(0, tree_layer)
    return layer


def style_points(layer: QgsVectorLayer) -> None:
    """Show which points are labelled; the form asks for the label and does not tell what the map says."""
    categories = [
        QgsRendererCategory(NULL if value is None else value, QgsMarkerSymbol.createSimple(marker), label)
        for value, label, marker in LABELS
    ]
    layer.setRenderer(QgsCategorizedSymbolRenderer("reference", categories))
    reference = layer.fields().indexFromName("reference")
    choices = [{label: value} for value, label, _ in LABELS if value is not None]
    layer.setEditorWidgetSetup(reference, QgsEditorWidgetSetup("ValueMap", {"map": choices}))
    layer.setFieldAlias(reference, "Is this place changed?")
    for name in DESIGN:
        layer.setEditorWidgetSetup(layer.fields().indexFromName(name), QgsEditorWidgetSetup("Hidden", {}))
    form = layer.editFormConfig()
    form.setSuppress(QgsEditFormConfig.FeatureFormSuppress.SuppressOff)
    layer.setEditFormConfig(form)
    layer.setDisplayExpression('"number"')
    layer.triggerRepaint()
