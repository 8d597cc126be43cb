"""Simulated events as the layer of change events, to be looked at and edited before any image is drawn."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer

from ..processing.event_files import shown_events
from .export import take_events, usual_mapping
from .layer import create_event_layer, read_only

_SIMULATED = "changen2/simulated"
"""Property of a layer that holds a simulation: what that has left in it, see `_content`."""


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
        former: the layer that was drawn on; taken if it holds an earlier simulation that nobody has edited since,
            which is replaced.

    Returns:
        The layer that holds them.

    Raises:
        InputError: the layer cannot be made or edited.
    """
    layer = former
    if layer is None or layer.customProperty(_SIMULATED) != _content(layer):
        layer = create_event_layer(QgsProject.instance(), image, classes, folder)
    elif not layer.isEditable() and not layer.startEditing():
        raise read_only(layer)
    else:
        layer.beginEditCommand("Remove simulated events")
        layer.deleteFeatures([feature.id() for feature in layer.getFeatures()])
        layer.endEditCommand()
    take_events(layer, QgsVectorLayer(shown_events(path, labels), "simulated", "ogr"))
    layer.setCustomProperty(_SIMULATED, _content(layer))
    return layer


def _content(layer: QgsVectorLayer) -> str:
    """A digest of the events, which changes when one is drawn, edited or removed."""
    mapping = usual_mapping(layer.fields())
    read = (mapping.event, mapping.to_class, mapping.step)
    events = (
        (feature.geometry().asWkb().data(), *(part.of(feature) for part in read)) for feature in layer.getFeatures()
    )
    return hashlib.sha256(repr(sorted(events)).encode()).hexdigest()
