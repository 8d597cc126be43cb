"""From any polygon layer to the events file that the backend reads, or to the layer of change events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qgis.core import (
    NULL,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureSource,
    QgsFields,
    QgsRasterLayer,
    QgsVectorLayer,
)

from ..errors import InputError
from ..inputs import PixelFrame, features_of
from .layer import event_fields, new_event, read_only, sound_polygon, write_events
from .objects import transformed
from .style import EVENTS

KINDS = tuple(value for value, *_ in EVENTS)


@dataclass(frozen=True)
class FieldOrValue:
    """Where an attribute of an event comes from.

    Attributes:
        field: name of the layer's field; empty for one value for all.
        value: that value.
    """

    field: str = ""
    value: str = ""

    def of(self, feature: QgsFeature) -> str:
        """The attribute of one feature as text, empty where it has none."""
        found = feature[self.field] if self.field else self.value
        return "" if found is None or found == NULL else str(found).strip()


@dataclass(frozen=True)
class EventMapping:
    """How the fields of a polygon layer are to be read as change events."""

    event: FieldOrValue
    to_class: FieldOrValue
    step: FieldOrValue


def usual_mapping(fields: QgsFields) -> EventMapping:
    """Fields named event, to_class and step (capitals do not matter); what is missing is created at step 1."""
    by_name = {field.name().casefold(): field.name() for field in fields}

    def source(name: str, value: str) -> FieldOrValue:
        return FieldOrValue(field=by_name[name]) if name in by_name else FieldOrValue(value=value)

    return EventMapping(source("event", "create"), source("to_class", ""), source("step", "1"))


def export_events(
    layer: QgsFeatureSource, mapping: EventMapping, path: str | Path, image_layer: QgsRasterLayer
) -> None:
    """Write the polygons of a layer, unsaved edits included, to a GeoPackage in the backend's form.

    Must be called on the main thread where the layer may have unsaved edits. Polygons that cross themselves are
    left to the backend, which repairs them and says so in the run's manifest.

    Args:
        layer: a polygon layer, or a source with the features that are to be used.
        mapping: how its fields are read.
        path: the file; an existing one is replaced.
        image_layer: the image that changes. If it has no CRS, the polygons are turned into (column, row), y down.

    Raises:
        InputError: there is no polygon, a feature says no event or step, or the file cannot be written.
    """
    rows = [_row(feature, mapping) for feature in features_of(layer)]
    if not rows:
        raise InputError("There are no change events.", "Draw at least one polygon.", "no_events")
    image_crs = image_layer.crs()
    frame = None if image_crs.isValid() else PixelFrame.of_file(image_layer)
    crs = layer.sourceCrs() if layer.sourceCrs().isValid() else image_crs  # without one it lies as QGIS shows it
    for row in rows:
        geometry = row.geometry()
        if frame is not None:
            geometry.transform(frame.to_pixels())
        geometry.convertToMultiType()
        row.setGeometry(geometry)
    write_events(Path(path), QgsCoordinateReferenceSystem() if frame else crs, rows)


def take_events(layer: QgsVectorLayer, source: QgsFeatureSource, mapping: EventMapping | None = None) -> int:
    """Copy the polygons of another layer, simulated events say, as one step of the undo stack.

    Args:
        layer: of change events; starts being edited if it is not.
        source: polygons as QGIS shows them, in any CRS.
        mapping: how their fields are read; None for event, to_class and step.

    Returns:
        How many were copied; polygons without area are left out.

    Raises:
        InputError: a polygon says no event or step, or the layer cannot be edited.
    """
    mapping = mapping or usual_mapping(source.fields())
    rows = [_row(feature, mapping) for feature in features_of(source)]
    if not layer.isEditable() and not layer.startEditing():
        raise read_only(layer)
    features = []
    for row in rows:
        try:
            outline, _ = sound_polygon(transformed(row.geometry(), source.sourceCrs(), layer.crs()))
        except InputError as error:
            if error.code != "no_area":
                raise
            continue
        features.append(new_event(layer, outline, row["event"], row["to_class"] or None, row["step"]))
    layer.beginEditCommand(f"Add {len(features)} events")
    layer.addFeatures(features)
    layer.endEditCommand()
    layer.triggerRepaint()
    return len(features)


def _row(feature: QgsFeature, mapping: EventMapping) -> QgsFeature:
    kind = mapping.event.of(feature).casefold()
    if kind not in KINDS:
        raise InputError(
            f"Polygon {feature.id()} has {mapping.event.of(feature) or 'nothing'!r} as its event; "
            f"it is one of {', '.join(KINDS)}.",
            "Choose another field, or one event for all polygons.",
            "bad_event",
        )
    step = mapping.step.of(feature) or "1"
    try:
        number = float(step)
    except ValueError:
        number = 0.0
    if number < 1 or not number.is_integer():
        raise InputError(
            f"Polygon {feature.id()} has {step!r} as its step; steps are whole numbers from 1.",
            "Correct it, or choose another field.",
            "bad_step",
        )
    row = QgsFeature(event_fields())
    row.setAttributes([kind, mapping.to_class.of(feature) or None, int(number)])
    row.setGeometry(feature.geometry())
    return row
