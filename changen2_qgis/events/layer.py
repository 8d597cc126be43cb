"""The layer "Change events": polygons that say what happens where, at which step.

It is an ordinary layer in a GeoPackage that QGIS's own editing, selection and undo work on. A custom property marks
it and names the image it was made for, so that it is found again after the project is reopened.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsDefaultValue,
    QgsEditorWidgetSetup,
    QgsFeature,
    QgsField,
    QgsFieldConstraints,
    QgsFields,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
    QgsVectorLayerUtils,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant

from ..errors import InputError
from ..inputs import write_geopackage
from ..polygon_files import ogr_source
from ..run_folders import unused
from .style import EVENTS, style_events

LAYER = "change_events"
TITLE = "Change events"
LARGEST_STEP = 1000
BACKGROUND = 0
"""Index of the class that is left where something is removed."""

_IMAGE_ID = "changen2/events_of_image"
_IMAGE_SOURCE = "changen2/events_of_source"


def event_fields() -> QgsFields:
    """The fields that the backend reads: event, to_class (a class name or number) and step (from 1)."""
    fields = QgsFields()
    fields.append(QgsField("event", QVariant.String, len=16))
    fields.append(QgsField("to_class", QVariant.String, len=80))
    fields.append(QgsField("step", QVariant.Int))
    return fields


def create_event_layer(
    project: QgsProject, image_layer: QgsRasterLayer, classes: list[dict[str, Any]], folder: Path
) -> QgsVectorLayer:
    """Make an empty layer of change events for an image and put it on top of the layer tree.

    Args:
        project: receives the layer.
        image_layer: the image that will change; the layer has its CRS, or none if it has none.
        classes: ``{"index", "name", "color"}`` of each class.
        folder: for ``change_events.gpkg``; made if it is not there. A file of that name is never overwritten.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = unused(Path(folder) / LAYER, ".gpkg")
    write_events(path, image_layer.crs())
    options = QgsVectorLayer.LayerOptions()
    options.skipCrsValidation = True  # an image without CRS has events without CRS; nobody need be asked
    layer = QgsVectorLayer(ogr_source(str(path), LAYER), TITLE, "ogr", options)
    layer.setCrs(image_layer.crs())
    layer.setCustomProperty(_IMAGE_ID, image_layer.id())
    layer.setCustomProperty(_IMAGE_SOURCE, image_layer.source())
    style_events(layer)
    _set_up_form(layer)
    set_classes(layer, classes)
    project.addMapLayer(layer, False)
    project.layerTreeRoot().insertLayer(0, layer)
    return layer


def is_event_layer(layer: object) -> bool:
    """Whether a layer was made by `create_event_layer`."""
    return isinstance(layer, QgsVectorLayer) and layer.customProperty(_IMAGE_ID) is not None


def find_event_layers(project: QgsProject, image_layer: QgsRasterLayer | None = None) -> list[QgsVectorLayer]:
    """The project's layers of change events, the topmost first.

    Args:
        project: where to look.
        image_layer: only those made for this image, or for another layer of the same source.
    """
    ordered = [node.layer() for node in project.layerTreeRoot().findLayers()]
    found = [layer for layer in ordered if is_event_layer(layer)]
    return found if image_layer is None else [layer for layer in found if _is_of(layer, image_layer)]


def _is_of(layer: QgsVectorLayer, image: QgsRasterLayer) -> bool:
    return layer.customProperty(_IMAGE_ID) == image.id() or layer.customProperty(_IMAGE_SOURCE) == image.source()


def set_classes(layer: QgsVectorLayer, classes: list[dict[str, Any]]) -> None:
    """Offer these classes in the layer's form and table; values that are there already stay.

    Args:
        layer: of change events.
        classes: ``{"index", "name", "color"}`` of each class.
    """
    index = layer.fields().indexFromName("to_class")
    choices = [{str(entry["name"]): str(entry["name"])} for entry in classes]
    setup = QgsEditorWidgetSetup("ValueMap", {"map": choices}) if choices else QgsEditorWidgetSetup("TextEdit", {})
    layer.setEditorWidgetSetup(index, setup)
    usual = usual_class(classes, "create")
    layer.setDefaultValueDefinition(index, QgsDefaultValue(_quoted(usual) if usual else ""))


def usual_class(classes: list[dict[str, Any]], event: str) -> str | None:
    """The class that an event leads to unless another is chosen; None where there are no classes.

    Removing leaves the background; otherwise it is the building, or the first class above the background.
    """
    names = {int(entry["index"]): str(entry["name"]) for entry in classes}
    if event == "remove":
        return names.get(BACKGROUND)
    building = [name for name in names.values() if name.casefold() in ("building", "buildings")]
    others = [name for index, name in sorted(names.items()) if index != BACKGROUND]
    return next(iter(building + others), None)


def add_event(layer: QgsVectorLayer, geometry: QgsGeometry, event: str, to_class: str | None, step: int) -> str:
    """Add one event to the layer's edit buffer, as one step of its undo stack.

    Args:
        layer: of change events; starts being edited if it is not.
        geometry: a polygon in the layer's CRS; one that crosses itself is repaired.
        event: create, remove or edit.
        to_class: class name or number; None for no class.
        step: from 1.

    Returns:
        What was done to the polygon, for the user; empty if nothing was.

    Raises:
        InputError: the polygon encloses nothing, or the layer cannot be edited.
    """
    sound, note = sound_polygon(geometry)
    if not layer.isEditable() and not layer.startEditing():
        raise read_only(layer)
    feature = new_event(layer, sound, event, to_class, step)
    layer.beginEditCommand(f"{event.capitalize()} {to_class or ''}".rstrip())
    if not layer.addFeature(feature):
        layer.destroyEditCommand()
        raise InputError(f"The layer “{layer.name()}” refuses the polygon.", "Draw it again.", "refused")
    layer.endEditCommand()
    layer.triggerRepaint()
    return note


def new_event(layer: QgsVectorLayer, geometry: QgsGeometry, event: str, to_class: str | None, step: int) -> QgsFeature:
    """A feature for the layer; it is not added."""
    feature = QgsVectorLayerUtils.createFeature(layer, geometry, {}, layer.createExpressionContext())
    for name, value in (("event", event), ("to_class", to_class), ("step", step)):
        feature[name] = value  # not through createFeature, which puts the usual class where there shall be none
    return feature


def read_only(layer: QgsVectorLayer) -> InputError:
    """What to say of a layer that cannot be edited."""
    return InputError(
        f"The layer “{layer.name()}” cannot be edited: its file may be read-only.",
        "Remove the layer and draw again: a new one is made.",
        "read_only",
    )


def sound_polygon(geometry: QgsGeometry) -> tuple[QgsGeometry, str]:
    """A valid multipolygon, and what was done to make it one (empty if it was valid).

    Raises:
        InputError: it encloses no area.
    """
    sound, note = QgsGeometry(geometry), ""
    if not sound.isGeosValid():
        sound = sound.makeValid()
        sound.convertGeometryCollectionToSubclass(QgsWkbTypes.GeometryType.PolygonGeometry)
        note = "The polygon crossed itself and was repaired. Look whether it is as you meant it; undo takes it back."
    if sound.isEmpty() or not sound.area() > 0:
        raise InputError("The polygon encloses no area.", "Draw it again with at least three corners.", "no_area")
    # The layer has plain coordinates; a height or measure would keep all of it from being saved.
    sound.get().dropZValue()
    sound.get().dropMValue()
    sound.convertToMultiType()
    return sound, note


def write_events(path: Path, crs: QgsCoordinateReferenceSystem, events: Iterable[QgsFeature] = ()) -> None:
    """Write a GeoPackage of change events, with the fields of `event_fields`.

    Raises:
        InputError: it cannot be written.
    """
    try:
        write_geopackage(path, LAYER, event_fields(), QgsWkbTypes.Type.MultiPolygon, crs, events)
    except OSError as error:
        raise InputError(
            f"The change events cannot be written to {path}: {error}",
            "Save the project, or choose an output folder, where you can write.",
            "bad_out_dir",
        ) from error


def _set_up_form(layer: QgsVectorLayer) -> None:
    """Readable names, lists of choices, values for new polygons, and what a polygon cannot do without."""
    fields = layer.fields()
    event, to_class, step = (fields.indexFromName(name) for name in ("event", "to_class", "step"))
    for index, alias in ((event, "Event"), (to_class, "Becomes"), (step, "Step")):
        layer.setFieldAlias(index, alias)
    kinds = [{label: value} for value, label, *_ in EVENTS]
    layer.setEditorWidgetSetup(event, QgsEditorWidgetSetup("ValueMap", {"map": kinds}))
    steps = {"Min": 1, "Max": LARGEST_STEP, "Step": 1, "Style": "SpinBox", "AllowNull": False}
    layer.setEditorWidgetSetup(step, QgsEditorWidgetSetup("Range", steps))
    layer.setDefaultValueDefinition(event, QgsDefaultValue("'create'"))
    layer.setDefaultValueDefinition(step, QgsDefaultValue("1"))
    layer.setFieldConstraint(event, QgsFieldConstraints.Constraint.ConstraintNotNull)
    layer.setConstraintExpression(step, '"step" >= 1', "Steps count from 1")
    layer.setConstraintExpression(
        to_class, '"event" = \'remove\' OR "to_class" IS NOT NULL', "What is created or edited becomes something"
    )
    hidden = fields.indexFromName("fid")
    if hidden >= 0:
        layer.setEditorWidgetSetup(hidden, QgsEditorWidgetSetup("Hidden", {}))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
