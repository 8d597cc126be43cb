"""Simulated events as the layer of change events, to be looked at and edited before any image is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer

from .event_export import take_events
from .event_layer import create_event_layer, read_only
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
    """Put the events of a simulation on the map, unsaved; undo takes them back.

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
    layer = former
    if layer is None or not layer.customProperty(_SIMULATED):
        layer = create_event_layer(QgsProject.instance(), image, classes, folder)
        layer.setCustomProperty(_SIMULATED, True)
    elif not layer.isEditable() and not layer.startEditing():
        raise read_only(layer)
    else:
        layer.beginEditCommand("Remove simulated events")
        layer.deleteFeatures([feature.id() for feature in layer.getFeatures()])
        layer.endEditCommand()
    take_events(layer, QgsVectorLayer(shown_events(path, labels), "simulated", "ogr"))
    return layer
