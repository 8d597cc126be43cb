"""Labels and change events: files of them for the backend, and layers for QGIS of what it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsFields,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingParameterBand,
    QgsProcessingParameterField,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterString,
    QgsRasterLayer,
    QgsVectorLayer,
)

from ..errors import InputError
from ..events.export import EventMapping, FieldOrValue, export_events, usual_mapping
from ..events.layer import LAYER
from ..inputs import (
    as_seen,
    describe,
    direct_path,
    has_other_crs,
    image_path,
    is_seen_otherwise,
    origin_of,
    origin_of_features,
    polygons_path,
)
from .base import advanced
from .run_folder import RunFolder

SERIES = r"(labels_t\d+|change_t\d+_t\d+|image_t\d+(_patches)?)\.(tif|vrt)|change_events\.gpkg"
"""Pattern of the names of a series' layers, as the backend gives them."""

MAPPING = (
    # parameter, what it is, its usual field, what is taken where there is none
    ("EVENT", "event", "event", "create"),
    ("CLASS", "class it becomes", "to_class", "the background"),
    ("STEP", "step", "step", "1"),
)


def raster_path(layer: QgsRasterLayer, folder: RunFolder, name: str, image: bool = False) -> str | None:
    """A raster layer as a file for the backend; None where it is none and must be rendered.

    Args:
        layer: any raster layer.
        folder: takes a small virtual raster where the layer has other settings than its file.
        name: of that virtual raster.
        image: whether nodata values given in QGIS count; in a map they are often a way to hide a class.

    Raises:
        InputError: the layer is broken, its nodata values cannot be told, or the unfinished run was given another.
    """
    folder.layers[name] = layer.name()
    path = image_path(layer) if image else direct_path(layer)
    if path is None or not (is_seen_otherwise(layer) if image else has_other_crs(layer)):
        return path
    kept = folder.kept(folder.inputs / f"{name}.vrt", origin_of(layer))
    return kept or as_seen(path, layer, folder.inputs, name, nodata=image)


def raster_file(layer: QgsRasterLayer, folder: RunFolder, name: str, image: bool = False) -> str:
    """A raster layer as a file for the backend, as `raster_path`.

    Raises:
        InputError: it is none, or broken.
    """
    path = raster_path(layer, folder, name, image)
    if path is None:
        raise InputError(
            f"The layer {describe(layer)} is no raster file.",
            "Export it as a GeoTIFF (right click > Export > Save As, raw data) and choose that.",
            "unreadable",
        )
    return path


def instances_path(layer: QgsMapLayer, image: QgsRasterLayer, folder: RunFolder) -> str:
    """A layer of instances, a raster of their numbers or polygons, as a file. Main thread.

    Raises:
        InputError: it is none, broken or empty, or the unfinished run was given another.
    """
    if isinstance(layer, QgsVectorLayer):
        folder.layers[str(Path("instances", "aoi"))] = layer.name()
        return polygons_path(layer, layer, image, folder.inputs / "instances", folder.kept)
    return raster_file(layer, folder, "instances")


def bands_parameter() -> QgsProcessingParameterBand:
    """BANDS: of IMAGE."""
    return QgsProcessingParameterBand(
        "BANDS", "Bands: red, green, blue, or one", None, "IMAGE", optional=True, allowMultiple=True
    )


def instances_parameter() -> QgsProcessingParameterMapLayer:
    """INSTANCES: what stands on an image without labels."""
    return QgsProcessingParameterMapLayer(
        "INSTANCES",
        "Objects to remove without labels (numbered raster or polygons)",
        optional=True,
        types=[QgsProcessing.SourceType.TypeRaster, QgsProcessing.SourceType.TypeVectorPolygon],
    )


def declare_event_mapping(algorithm: QgsProcessingAlgorithm) -> None:
    """Add the advanced parameters that say how the fields of EVENTS are read; see `event_mapping`."""
    field, text = QgsProcessingParameterField, QgsProcessingParameterString
    for name, what, usual, _ in MAPPING:
        algorithm.addParameter(
            advanced(field(f"{name}_FIELD", f"Field with the {what} (empty: {usual})", None, "EVENTS", optional=True))
        )
    for name, what, _, otherwise in MAPPING:
        algorithm.addParameter(
            advanced(
                text(
                    f"{name}_VALUE",
                    f"The {what} of all polygons (empty: from its field, else {otherwise})",
                    "",
                    optional=True,
                )
            )
        )


def event_mapping(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext, fields: QgsFields
) -> EventMapping:
    """How the fields of EVENTS are read: one value for all where given, else the named or the usual field.

    Raises:
        InputError: there is no field of that name.
    """
    usual = usual_mapping(fields)
    found = []
    for (name, *_), otherwise in zip(MAPPING, (usual.event, usual.to_class, usual.step)):
        value = algorithm.parameterAsString(parameters, f"{name}_VALUE", context).strip()
        field = algorithm.parameterAsString(parameters, f"{name}_FIELD", context)
        if field and fields.lookupField(field) < 0:
            raise InputError(
                f"The change events have no field {field!r}, which {name}_FIELD names; "
                f"they have {', '.join(fields.names()) or 'none'}.",
                f"Name one of these, or leave {name}_FIELD empty.",
                "bad_value",
            )
        chosen = FieldOrValue(value=value) if value else FieldOrValue(field=field)
        found.append(chosen if value or field else otherwise)
    return EventMapping(*found)


def mapping_parameters(mapping: EventMapping) -> dict[str, str]:
    """The parameters that stand for a mapping."""
    sources = (mapping.event, mapping.to_class, mapping.step)
    named = {f"{name}_FIELD": source.field for (name, *_), source in zip(MAPPING, sources) if source.field}
    fixed = {f"{name}_VALUE": source.value for (name, *_), source in zip(MAPPING, sources) if source.value}
    return {**named, **fixed}


def events_path(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    context: QgsProcessingContext,
    raster: QgsRasterLayer,
    folder: RunFolder,
) -> str:
    """A copy of EVENTS, unsaved ones too, that belongs to the run: the layer may be edited while it runs.

    Args:
        algorithm: with the parameters EVENTS and those of `declare_event_mapping`.
        parameters: given to it.
        context: of the run.
        raster: whose grid the events happen on.
        folder: of the run.

    Raises:
        InputError: there is no event, one cannot be read, the copy cannot be written, or the unfinished run was given
            others.
    """
    source = algorithm.parameterAsSource(parameters, "EVENTS", context)
    folder.layers["events"] = source.sourceName()
    mapping, target = event_mapping(algorithm, parameters, context, source.fields()), folder.inputs / "events.gpkg"
    fields = [part.field for part in (mapping.event, mapping.to_class, mapping.step) if part.field]
    if folder.kept(target, f"{mapping} {origin_of_features(source, fields)}") is None:
        export_events(source, mapping, target, raster)
    return str(target)


def shown_events(path: str, raster: QgsRasterLayer) -> str:
    """The layer source of events that lie over their raster in QGIS, which a raster without CRS needs."""
    from ..results import display_polygons, ogr_source

    shown, _ = display_polygons(path, raster, LAYER)
    return ogr_source(shown, LAYER)


def style_labels(layer: QgsMapLayer) -> None:
    """Colours and names of the classes."""
    from ..results import style_detection_layer

    style_detection_layer(layer, "semantic_after")


def style_change(layer: QgsMapLayer) -> None:
    """Changed pixels over the image."""
    from ..results import style_detection_layer

    style_detection_layer(layer, "change")


def style_events_layer(layer: QgsMapLayer) -> None:
    """Events as drawn ones look, with their step."""
    from ..events.style import style_events

    style_events(layer)
