"""Labels and change events: files of them for the backend, and layers for QGIS of what it makes."""

from __future__ import annotations

from qgis.core import QgsMapLayer, QgsRasterLayer, QgsVectorLayer

from ..errors import InputError
from ..inputs import describe, direct_path, has_other_crs, with_layer_crs
from .base import RunFolder


def raster_path(layer: QgsRasterLayer, folder: RunFolder, name: str) -> str | None:
    """A raster layer as a file for the backend; None where it is none and must be rendered.

    Args:
        layer: any raster layer.
        folder: takes a small virtual raster where the layer has another CRS than its file.
        name: of that virtual raster.

    Raises:
        InputError: the layer is broken.
    """
    path = direct_path(layer)
    if path is None or not has_other_crs(layer):
        return path
    return folder.kept(f"{name}.vrt") or with_layer_crs(path, layer, folder.inputs, name)


def labels_path(layer: QgsRasterLayer, folder: RunFolder) -> str:
    """A label layer as a file.

    Raises:
        InputError: it is none, or broken.
    """
    path = raster_path(layer, folder, "labels")
    if path is None:
        raise InputError(
            f"The labels {describe(layer)} are no raster file.",
            "Export the layer as a GeoTIFF (right click > Export > Save As, raw data) and choose that.",
            "unreadable",
        )
    return path


def events_path(layer: QgsVectorLayer, raster: QgsRasterLayer, folder: RunFolder) -> str:
    """A copy of drawn events, unsaved ones too, that belongs to the run: the layer may be edited while it runs.

    Args:
        layer: polygons with the fields event, to_class and step.
        raster: whose grid the events happen on.
        folder: of the run.

    Raises:
        InputError: there is no event, or the copy cannot be written.
    """
    from ..field_mapping import export_events

    kept = folder.kept("events.gpkg")
    if kept is not None:
        return kept
    folder.inputs.mkdir(parents=True, exist_ok=True)
    target = folder.inputs / "events.gpkg"
    export_events(layer, None, str(target), raster)
    return str(target)


def shown_events(path: str, raster: QgsRasterLayer) -> str:
    """The layer source of events that lie over their raster in QGIS, which a raster without CRS needs."""
    from ..results import display_polygons

    return display_polygons(path, raster)[0]


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
    from ..event_style import style_events

    style_events(layer)
