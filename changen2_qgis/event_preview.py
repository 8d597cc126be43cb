"""Simulated events as the layer of change events, to be looked at and edited before any image is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsFeature, QgsProject, QgsRasterLayer, QgsVectorLayer, QgsVectorLayerUtils

from .errors import InputError
from .event_layer import create_event_layer
from .event_objects import transformed
from .processing.event_files import shown_events

_SIMULATED = "changen2/simulated"


def show_events(
    path: str,
    labels: QgsRasterLayer,
    image: QgsRasterLayer,
    classes: list[dict[str, Any]],
    folder: Path,
    former: QgsVectorLayer | None,
) -> QgsVectorLayer:
    """Put the events of a simulation on the map, unsaved, as one step of the layer's undo stack.

    Args:
        path: the simulation's ``change_events.gpkg``.
        labels: whose grid the events are on.
        image: that they are to change.
        classes: ``{"index", "name", "color"}`` of each.
        folder: for a new layer's file.
        former: the layer that was drawn on; taken if it holds an earlier simulation, which is replaced.

    Returns:
        The layer that holds them.

    Raises:
        InputError: the layer cannot be made or edited.
    """
    simulated = QgsVectorLayer(shown_events(path, labels), "simulated", "ogr")
    layer = former
    if layer is None or not layer.customProperty(_SIMULATED):
        layer = create_event_layer(QgsProject.instance(), image, classes, folder)
        layer.setCustomProperty(_SIMULATED, True)
    if not layer.isEditable() and not layer.startEditing():
        raise InputError(f"The layer “{layer.name()}” cannot be edited.", "Remove it and simulate again.", "read_only")
    layer.beginEditCommand("Simulate events")
    layer.deleteFeatures([feature.id() for feature in layer.getFeatures()])
    layer.addFeatures([_copy(feature, simulated, layer) for feature in simulated.getFeatures()])
    layer.endEditCommand()
    layer.triggerRepaint()
    return layer


def _copy(feature: QgsFeature, simulated: QgsVectorLayer, layer: QgsVectorLayer) -> QgsFeature:
    outline = transformed(feature.geometry(), simulated.crs(), layer.crs())
    fields = layer.fields()
    values = {fields.indexFromName(name): feature[name] for name in ("event", "to_class", "step")}
    return QgsVectorLayerUtils.createFeature(layer, outline, values)
