"""Simulated events as the layer of change events, to be looked at and edited before any image is drawn."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
    QgsVectorLayerSelectedFeatureSource,
)

from ..errors import InputError
from ..processing.event_files import shown_events
from ..raster_pair import moved_extent
from ..widgets.extent_picker import ExtentPicker
from .export import EventMapping, FieldOrValue, take_events, usual_mapping
from .layer import create_event_layer, read_only
from .objects import transformed

_SIMULATED = "changen2/simulated"
"""Property of a layer that holds a simulation: what that has left in it, see `_content`."""


def show_events(
    path: str,
    labels: QgsRasterLayer | None,
    image: QgsRasterLayer,
    classes: list[dict[str, Any]],
    folder: Path,
    former: QgsVectorLayer | None,
    area: QgsGeometry | None = None,
) -> QgsVectorLayer:
    """Put the events of a simulation on the map, unsaved; undo takes them back.

    Args:
        path: the simulation's ``change_events.gpkg``.
        labels: whose grid the events are on; None where they are removals on the image.
        image: that they are to change.
        classes: ``{"index", "name", "color"}`` of each.
        folder: for a new layer's file.
        former: the layer that was drawn on; taken if it holds an earlier simulation that nobody has edited since,
            which is replaced.
        area: only events that meet it are shown, for no other would be drawn; None for everywhere, see `area_of`.

    Returns:
        The layer that holds them.

    Raises:
        InputError: no event meets the area, or the layer cannot be made or edited.
    """
    source = QgsVectorLayer(shown_events(path, image if labels is None else labels), "simulated", "ogr")
    _choose(source, image.crs(), area)
    layer = former
    if layer is None or layer.customProperty(_SIMULATED) != _content(layer):
        layer = create_event_layer(QgsProject.instance(), image, classes, folder)
    elif not layer.isEditable() and not layer.startEditing():
        raise read_only(layer)
    else:
        layer.beginEditCommand("Remove simulated events")
        layer.deleteFeatures([feature.id() for feature in layer.getFeatures()])
        layer.endEditCommand()
    mapping = usual_mapping(source.fields())
    if labels is None:  # a class of instances means nothing to the model: what is removed becomes background
        mapping = EventMapping(mapping.event, FieldOrValue(), mapping.step)
    take_events(layer, QgsVectorLayerSelectedFeatureSource(source), mapping)
    layer.setCustomProperty(_SIMULATED, _content(layer))
    return layer


def area_of(picker: ExtentPicker, crs: QgsCoordinateReferenceSystem) -> QgsGeometry | None:
    """Where a run would look, in a CRS; None for everywhere.

    Raises:
        InputError: it has no place there.
    """
    given = picker.parameters()
    if "EXTENT" in given:
        extent = given["EXTENT"]
        return QgsGeometry.fromRect(moved_extent(extent, extent.crs(), crs))
    if "AOI" in given:
        layer = picker.polygons.currentLayer()
        chosen = layer.getSelectedFeatures() if layer.selectedFeatureCount() else layer.getFeatures()
        shapes = [transformed(feature.geometry(), layer.crs(), crs) for feature in chosen if feature.hasGeometry()]
        return QgsGeometry.unaryUnion([shape.makeValid() for shape in shapes])
    return None


def _choose(source: QgsVectorLayer, crs: QgsCoordinateReferenceSystem, area: QgsGeometry | None) -> None:
    """Select the events that meet an area, which is in another CRS.

    Raises:
        InputError: there is none.
    """
    if area is None:
        source.selectAll()
    else:
        shapes = ((event.id(), transformed(event.geometry(), source.crs(), crs)) for event in source.getFeatures())
        source.selectByIds([number for number, shape in shapes if shape.intersects(area) and not shape.touches(area)])
    if not source.selectedFeatureCount():
        count = source.featureCount()
        raise InputError(
            f"None of the {count} events that were simulated lies in the area." if count else "No event was simulated.",
            "Choose a larger area, or another seed.",
            "no_events",
        )


def _content(layer: QgsVectorLayer) -> str:
    """A digest of the events, which changes when one is drawn, edited or removed."""
    mapping = usual_mapping(layer.fields())
    read = (mapping.event, mapping.to_class, mapping.step)
    events = (
        (feature.geometry().asWkb().data(), *(part.of(feature) for part in read)) for feature in layer.getFeatures()
    )
    return hashlib.sha256(repr(sorted(events)).encode()).hexdigest()
