"""Results in the project: one group per run, found again after the project is reopened.

The group carries what the review and threshold bars need (run folder, threshold) and each layer its role,
all as custom properties, so nothing has to be remembered outside the project file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsExpression,
    QgsFeature,
    QgsLayerTreeGroup,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QTransform

from .inputs import PixelFrame, write_geopackage
from .layer_metadata import carry_manifest, read_manifest
from .polygon_files import TABLE, copy_of, made_before, marks_of, marks_of_run, ogr_source
from .result_groups import FOLDER, ROLE, is_result, own_layers, result_nodes, run_folder, unfold
from .style_files import keep_style
from .styles import (
    first_value_at,
    first_value_drawn,
    set_probability_threshold,
    style_as_seen,
    style_detection_layer,
)
from .words import describe_area

__all__ = [
    "DetectionGroup",
    "add_detection_group",
    "add_run_folder",
    "describe",
    "detection_groups",
    "display_polygons",
    "find_group",
    "given_rasters",
    "input_path",
    "is_there",
    "layer_of_file",
    "ogr_source",
    "open_raster",
    "run_folder",
    "style_detection_layer",
    "write_attribute",
]

LAYERS = (
    # role, layer name, shown at first; from top to bottom
    ("polygons", "Changed places", True),
    ("change_class", "Class of change", True),
    ("change", "Change (yes or no)", False),
    ("change_probability", "Change probability", True),
    ("semantic_after", "Classes after", False),
    ("semantic_before", "Classes before", False),
)

_ID = "changen2/detection"
_THRESHOLD = "changen2/threshold"
_TITLE = "changen2/title"
_NAMED = "changen2/named"
"""Property of a group: the name that it was last given here; it has another one where the user has renamed it."""
_ORIGINAL = "changen2/original"
"""Property of polygons that are shown by a copy: the original when they were added; see `_original_of`."""

_PLAIN = QgsVectorLayer.LayerOptions(loadDefaultStyle=False)
"""Without the style that may lie beside a file."""


class Carried(NamedTuple):
    """What became of review marks when other polygons were shown: how many of them found their place again."""

    kept: int
    without_place: int


class DetectionGroup:
    """A detection result in the layer tree: the group and its layers by role.

    Made anew whenever it is needed; it holds no state of its own beyond the tree node.
    """

    def __init__(self, node: QgsLayerTreeGroup):
        self.node = node

    @property
    def id(self) -> str:
        """Stable identity, kept in the project file; see `result_nodes`."""
        return str(self.node.customProperty(_ID))

    @property
    def name(self) -> str:
        """The group's name as the layer tree shows it."""
        return self.node.name()

    @property
    def folder(self) -> str:
        """The run folder with all outputs and the manifest."""
        return run_folder(self.node)

    @property
    def threshold(self) -> float:
        """The threshold that the polygons and the binary map were made with, 0..1."""
        return float(self.node.customProperty(_THRESHOLD))

    @property
    def shown_threshold(self) -> float:
        """The threshold that the probability is drawn with, 0..1; that of the polygons where none can be told."""
        layer = self.layer("change_probability")
        first = first_value_drawn(layer) if layer is not None else None
        if first is None or first == first_value_at(self.threshold):
            return self.threshold
        return round((first - 1) / 254, 2)  # what has two decimals comes back exactly

    @property
    def count(self) -> int:
        """The number of changed places."""
        polygons = self.layer("polygons")
        return polygons.featureCount() if polygons is not None else 0

    @property
    def edited(self) -> bool:
        """Whether the polygons are in an edit session: its edits belong to the file that is shown."""
        polygons = self.layer("polygons")
        return polygons is not None and polygons.isEditable()

    def layer(self, role: str) -> QgsMapLayer | None:
        """The layer of a role of `LAYERS`, or None where the user has removed it."""
        return next((layer for layer in own_layers(self.node) if layer.customProperty(ROLE) == role), None)

    def images(self) -> tuple[QgsRasterLayer, QgsRasterLayer] | None:
        """The images before and after: layers of the project, else their files; None where these have gone."""
        found = []
        try:
            inputs = read_manifest(self.folder)["inputs"]
            for date in ("before", "after"):
                path = input_path(inputs[date], self.folder)
                layer = layer_of_file(QgsProject.instance(), path)
                if layer is None:
                    layer = open_raster(path, os.path.splitext(os.path.basename(path))[0])
                    if not layer.isValid():
                        return None
                    style_as_seen(layer, inputs[date])
                found.append(layer)
        except (OSError, ValueError, KeyError):  # no manifest, or one from elsewhere
            return None
        return found[0], found[1]

    def show_threshold(self, threshold: float) -> None:
        """Restyle the probability layer; nothing is computed."""
        layer = self.layer("change_probability")
        if layer is not None:
            opacity = layer.opacity()  # perhaps the user's
            set_probability_threshold(layer, threshold)
            layer.setOpacity(opacity)

    def set_review(self, feature_id: int, state: str) -> bool:
        """Write the review state of one polygon; False where the layer refuses the change.

        Outside an editing session the mark goes straight to the file; within one it is part of the session
        and undo takes it back.
        """
        return self._set_reviews({feature_id: state})

    def _set_reviews(self, states: dict[int, str]) -> bool:
        layer = self.layer("polygons")
        if layer is None or not write_attribute(layer, "review", states):
            return False
        layer.setRenderer(layer.renderer().clone())  # so that the legend counts the states again
        if not layer.isEditable():
            return _mark_original(layer, states)
        with suppress(TypeError):  # not connected yet
            layer.committedAttributeValuesChanges.disconnect(_mark_saved)
        layer.committedAttributeValuesChanges.connect(_mark_saved)  # a session may yet be discarded
        return True

    def made_before(self, threshold: float) -> dict[str, str] | None:
        """The map and the polygons that this run has at a threshold, for `replace`; None where they are to be made."""
        return None if self.layer("polygons") is None else made_before(self.folder, threshold)

    def replace(self, outputs: dict[str, str], threshold: float, summary: dict[str, Any] | None = None) -> Carried:
        """Point the polygons and the binary map at files made with another threshold.

        Review marks that were given at any threshold are carried over to polygons of the same shape. What the user
        has made of the layers stays: their look and their filter, and the group's name if it is the user's. Not to
        be called during an edit session, see `edited`.
        """
        carried = Carried(0, 0)
        change, polygons = self.layer("change"), self.layer("polygons")
        if change is not None and "change" in outputs:
            _point_at(change, outputs["change"])
        if polygons is not None and "polygons" in outputs:
            marks = {**self._marks_of_run(), **marks_of(polygons)}
            path, original = display_polygons(outputs["polygons"], self.layer("change_probability"))
            shown = polygons.subsetString()
            _point_at(polygons, ogr_source(path))  # unfiltered, for all marks to be carried and all places counted
            polygons.setCustomProperty(_ORIGINAL, original)
            keep_style(polygons, self.folder)
            carried = self._carry_reviews(polygons, marks)
        self.node.setCustomProperty(_THRESHOLD, threshold)
        _name(self.node, summary or _count(polygons))
        if polygons is not None and "polygons" in outputs:
            _filter(polygons, shown)
        self.show_threshold(threshold)
        return carried

    def carry_reviews_of_run(self) -> Carried:
        """Mark the polygons as those of the same shape were last marked at any threshold of the run."""
        polygons = self.layer("polygons")
        return Carried(0, 0) if polygons is None else self._carry_reviews(polygons, self._marks_of_run())

    def _marks_of_run(self) -> dict[bytes, str]:
        return marks_of_run(self.folder, _to_map(self.layer("change_probability")))

    def _carry_reviews(self, polygons: QgsVectorLayer, marks: dict[bytes, str]) -> Carried:
        places = polygons.getFeatures() if marks else ()  # the shapes of a million take seconds
        shapes = {feature.id(): feature.geometry().asWkb().data() for feature in places}
        kept = len(marks.keys() & set(shapes.values()))
        states = {feature_id: marks[shape] for feature_id, shape in shapes.items() if shape in marks}
        written = self._set_reviews(states)
        return Carried(kept if written else 0, len(marks) - kept)


def add_detection_group(
    project: QgsProject,
    outputs: dict[str, str],
    title: str,
    summary: dict[str, Any] | None = None,
    threshold: float = 0.5,
) -> QgsLayerTreeGroup:
    """Add the outputs of a detect run at the top of the layer tree, styled, with their legends.

    Args:
        project: where to add them.
        outputs: path of each output by its role (`change_probability`, `change`, `polygons`, and with a
            semantic model `semantic_before`, `semantic_after`, `change_class`). Missing ones are left out.
        title: what the group is called; what was found is added to it in words.
        summary: the job's summary (`polygons`, `change_area_m2`, ...); counted from the polygons if absent.
        threshold: the threshold that the run used, 0..1.
    """
    layers = list(_open_layers(outputs, threshold))
    polygons = next((layer for role, layer, _ in layers if role == "polygons"), None)
    # Whole before it is shown: the Layers panel builds each legend once, and counts features when all is in place.
    node = QgsLayerTreeGroup()
    node.setCustomProperty(_ID, layers[0][1].id())
    node.setCustomProperty(_TITLE, title)
    _name(node, summary or _count(polygons))
    node.setCustomProperty(_THRESHOLD, threshold)
    folder = os.path.dirname(os.path.abspath(next(iter(outputs.values()))))
    node.setCustomProperty(FOLDER, folder)
    for role, layer, shown in layers:
        carry_manifest(layer, folder)
        keep_style(layer, folder)
        project.addMapLayer(layer, False)
        tree_layer = node.addLayer(layer)
        tree_layer.setItemVisibilityChecked(shown)
        tree_layer.setExpanded(shown)
        if role == "polygons":
            tree_layer.setCustomProperty("showFeatureCount", True)
    project.layerTreeRoot().insertChildNode(0, node)
    unfold(node)
    return node


def _name(node: QgsLayerTreeGroup, summary: dict[str, Any]) -> None:
    """Call a group by its title and what was found, unless the user calls it otherwise."""
    if node.name() == node.customProperty(_NAMED, ""):
        name = f"{node.customProperty(_TITLE)}: {describe(summary)}"
        node.setCustomProperty(_NAMED, name)
        node.setName(name)


def _point_at(layer: QgsRasterLayer | QgsVectorLayer, source: str) -> None:
    """Show another file of the same kind in a layer, which keeps its look; one whose file had gone gets ours."""
    had_gone = not layer.isValid()
    layer.setDataSource(source, layer.name(), layer.providerType())
    if had_gone:
        style_detection_layer(layer, layer.customProperty(ROLE))


def _filter(layer: QgsVectorLayer, wanted: str) -> None:
    """Filter a layer, unless its table lacks a field of the filter: SQLite would take the name for a text."""
    known = {field.name().lower() for field in layer.fields()}
    if {name.lower() for name in QgsExpression(wanted).referencedColumns()} <= known:
        layer.setSubsetString(wanted)


def add_run_folder(project: QgsProject, folder: str, title: str) -> QgsLayerTreeGroup:
    """Add the result that a detect run has left in a folder, as its manifest describes it.

    Raises:
        OSError: there is no manifest, or an output is missing.
        ValueError: the manifest is broken.
    """
    manifest = read_manifest(folder)
    roles = {role for role, _, _ in LAYERS}
    outputs = {
        role: os.path.join(folder, os.path.basename(path))  # the folder may have been moved
        for role, path in manifest["outputs"].items()
        if role in roles
    }
    node = add_detection_group(project, outputs, title, manifest["summary"], manifest["summary"]["threshold"])
    DetectionGroup(node).carry_reviews_of_run()
    return node


def detection_groups(project: QgsProject) -> list[DetectionGroup]:
    """All detection results in the project, from the top of the layer tree down."""
    return [DetectionGroup(node) for node in result_nodes(project, _ID)]


def given_rasters(project: QgsProject) -> list[QgsRasterLayer]:
    """The rasters in the project that are no results, from the top of the layer tree down."""
    layers = [node.layer() for node in project.layerTreeRoot().findLayers()]
    return [layer for layer in layers if isinstance(layer, QgsRasterLayer) and not is_result(layer)]


def find_group(project: QgsProject, group_id: str) -> DetectionGroup | None:
    """The result with this identity, or None where it has been removed."""
    return next((group for group in detection_groups(project) if group.id == group_id), None)


def describe(summary: dict[str, Any]) -> str:
    """What was found, in words: "14 changed places, 3,200 m²" or "no change found"."""
    count = int(summary.get("polygons") or 0)
    if count == 0:
        return "no change found"
    places = "1 changed place" if count == 1 else f"{count:,} changed places"
    area = summary.get("change_area_m2")
    return places if area is None else f"{places}, {describe_area(area)}"


def _original_of(layer: QgsVectorLayer) -> str:
    """The source of the polygons that a layer shows a copy of, which lie beside it; empty where it shows no copy."""
    original = layer.customProperty(_ORIGINAL)
    if not original:
        return ""
    return os.path.join(os.path.dirname(layer.source().split("|")[0]), PureWindowsPath(str(original)).name)


def _mark_original(layer: QgsVectorLayer, states: dict[int, str]) -> bool:
    """Write review marks to the original of a copy, if the layer shows one; not those of what was drawn in the copy."""
    path = _original_of(layer)
    if not path:
        return True
    original = QgsVectorLayer(path, "original", "ogr")
    known = {feature_id: state for feature_id, state in states.items() if original.getFeature(feature_id).isValid()}
    return write_attribute(original, "review", known)


def _mark_saved(layer_id: str, changes: dict[int, dict[int, Any]]) -> None:
    """Write the review marks that an edit session has saved to the original of the copy that is shown."""
    layer = QgsProject.instance().mapLayer(layer_id)
    field = layer.fields().indexFromName("review")
    _mark_original(layer, {feature_id: values[field] for feature_id, values in changes.items() if field in values})


def input_path(given: dict[str, Any], folder: str) -> str:
    """The path of a run's input, from its manifest; where that has moved together with the run, the new one."""
    path = str(given.get("path", ""))
    places = [path, os.path.join(folder, "inputs", os.path.basename(path))]  # the latter written by the plugin
    with suppress(OSError, ValueError, KeyError):  # no manifest, one from elsewhere, another drive
        seen_from_run = os.path.relpath(path, read_manifest(folder)["parameters"]["out_dir"])
        places.insert(0, os.path.normpath(os.path.join(folder, seen_from_run)))
    return next((place for place in places if path and os.path.exists(place)), path)


def is_there(path: str) -> bool:
    """Whether a raster can still be opened: as a file, or within an archive or a database (`/vsizip/…`, `GPKG:…`)."""
    return os.path.exists(path) or open_raster(path, "").isValid()


def layer_of_file(project: QgsProject, path: str) -> QgsRasterLayer | None:
    """A raster layer of the project that shows a file; not one that is broken since the file has been away."""
    rasters = [layer for layer in project.mapLayers().values() if isinstance(layer, QgsRasterLayer) and layer.isValid()]
    return next((layer for layer in rasters if os.path.realpath(layer.source()) == os.path.realpath(path)), None)


def display_polygons(path: str, raster: QgsRasterLayer | None, table: str = TABLE) -> tuple[str, str]:
    """A polygon file that lies over its raster in QGIS, and the original where that is another file.

    The polygons of a raster without CRS are in pixels, (column, row), y down; QGIS shows such a raster with y
    up (from −height to 0, or by its world file). For these a flipped copy is beside the original. It is written once
    and then kept, for what the user draws is in it alone.

    Returns:
        The path to show, and the path of the original ("" where it is the same file).

    Raises:
        OSError: the copy cannot be written.
    """
    to_map = _to_map(raster)
    if to_map is None:
        return path, ""
    copy = copy_of(Path(path))
    if not copy.exists():
        _write_turned(path, table, to_map, copy)
    return str(copy), ogr_source(path, table)


def _write_turned(path: str, table: str, to_map: QTransform, copy: Path) -> None:
    """Copy a table with other coordinates, aside first: what is under the name of the copy is whole."""
    source = QgsVectorLayer(ogr_source(path, table), "polygons", "ogr")
    aside = copy.with_name(f"{copy.stem}_unfinished.gpkg")

    def turned() -> Iterator[QgsFeature]:
        for feature in source.getFeatures():
            geometry = feature.geometry()
            geometry.transform(to_map)
            feature.setGeometry(geometry)
            yield feature

    try:
        write_geopackage(aside, table, source.fields(), source.wkbType(), QgsCoordinateReferenceSystem(), turned())
    except OSError as error:
        raise OSError(f"Cannot write {copy}: {error}. Free some disk space or check the rights.") from error
    aside.replace(copy)


def _to_map(raster: QgsRasterLayer | None) -> QTransform | None:
    """From the coordinates of a raster's polygons to the map's; None where they are the same."""
    return None if raster is None or raster.crs().isValid() else PixelFrame.of_file(raster).to_map()


def _open_layers(outputs: dict[str, str], threshold: float) -> Iterator[tuple[str, QgsMapLayer, bool]]:
    """Each output as a styled layer with its role, and whether it is shown at first."""
    probability = None
    if "change_probability" in outputs:
        probability = open_raster(outputs["change_probability"], "")
    for role, name, shown in LAYERS:
        if role not in outputs:
            continue
        if role == "polygons":
            path, original = display_polygons(outputs[role], probability)
            layer: QgsMapLayer = QgsVectorLayer(ogr_source(path), name, "ogr", _PLAIN)
            layer.setCustomProperty(_ORIGINAL, original)
        else:
            layer = open_raster(outputs[role], name)
        if not layer.isValid():
            raise OSError(f"QGIS cannot open {outputs[role]}. It may have been moved: run the detection again.")
        layer.setCustomProperty(ROLE, role)
        style_detection_layer(layer, role, threshold)
        yield role, layer, shown


def open_raster(path: str, name: str) -> QgsRasterLayer:
    """Without a default style, for which QGIS would compute statistics and write them beside the file."""
    options = QgsRasterLayer.LayerOptions(False)
    return QgsRasterLayer(path, name, "gdal", options)


def _count(polygons: QgsVectorLayer | None) -> dict[str, Any]:
    """The part of a job's summary that the polygons themselves tell."""
    if polygons is None:
        return {}
    areas = [feature["area_m2"] for feature in polygons.getFeatures()]
    known = [float(area) for area in areas if isinstance(area, (int, float))]
    return {"polygons": len(areas), "change_area_m2": sum(known) if known else None}


def write_attribute(layer: QgsVectorLayer, name: str, values: dict[int, Any]) -> bool:
    """Write one attribute of features, given by their ids; False where the layer refuses it.

    Outside an editing session it goes straight to the file; within one it is part of the session.
    """
    field = layer.fields().indexFromName(name)
    if field < 0 or not all(layer.getFeature(feature_id).isValid() for feature_id in values):
        return False
    if layer.isEditable():
        return all(layer.changeAttributeValue(feature_id, field, value) for feature_id, value in values.items())
    changes = {feature_id: {field: value} for feature_id, value in values.items()}
    written = not changes or bool(layer.dataProvider().changeAttributeValues(changes))
    layer.triggerRepaint()
    return written
