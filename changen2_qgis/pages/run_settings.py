"""Running again: the settings of an earlier run, from its manifest, back into the page that started it."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)

from ..errors import InputError
from ..events.export import take_events
from ..events.layer import create_event_layer
from ..inputs import PixelFrame
from ..layer_metadata import read_manifest
from ..processing.event_files import shown_events
from ..processing.synthesize_change import QUALITIES as STEPS_OF
from ..results import input_path, is_there, layer_of_file
from ..run_folders import Run, new_run_folder
from ..series_results import timeline_of
from ..widgets.extent_picker import ExtentPicker
from ..widgets.form_rows import choose
from ..widgets.raster_picker import RasterPicker

USUAL = {"precision": "auto", "batch_size": None, "threads": None}
USUAL_OF_DETECTION = {"tile_size": None, "overlap": None, **USUAL}
USUAL_OF_SYNTHESIS = {
    "object_classes": None,
    "background": "0",
    "least": 1,
    "most": 5,
    "edit_probability": 0.3,
    "removal_probability": 0.1,
    "transitions": None,
    "classes": None,
    "instances": None,
    "exemplar_level": 0.2,
    "guidance_ratio": 1.0,
    "patches": False,
    **USUAL,
}
"""What the pages have no control for, and what a run takes of it unless told."""

if TYPE_CHECKING:
    from .detect_form import DetectForm
    from .synthesize_form import SynthesizeForm


def fill_detect_form(form: DetectForm, run: Run) -> list[str]:
    """Choose what an earlier detection was run on and with.

    Returns:
        What could not be chosen again, in sentences for the user.

    Raises:
        OSError, ValueError, KeyError: the manifest is gone or is none.
    """
    from .detect_form import AS_IMAGES, AS_MODEL, OTHER

    manifest = read_manifest(run.folder)
    inputs, given = manifest["inputs"], manifest["parameters"]
    missing = _show_raster(form.before, inputs["before"], run) + _show_raster(form.after, inputs["after"], run)
    missing += _choose_model(form.model, given)
    choose(form.device, given.get("device", "auto"))
    form.bands_before.choose(inputs["before"]["bands"])
    form.bands_after.choose(inputs["after"]["bands"])
    # A run of the terminal that was given none used the model's.
    used = {**given, "threshold": given.get("threshold") or manifest.get("summary", {}).get("threshold")}
    if used["threshold"] is not None:
        form.threshold.setValue(float(used["threshold"]))
    form.min_area.setValue(float(given.get("min_area") or 0))
    form.coregister.setChecked(bool(given.get("coregister")))
    gsd = given.get("gsd")
    form.resolution.setCurrentIndex(AS_IMAGES if gsd is None else AS_MODEL if gsd == "auto" else OTHER)
    if isinstance(gsd, (int, float)):
        form.pixel_size.setValue(gsd)
        gsd = form.pixel_size.value()
    chosen = {"threshold": round(form.threshold.value(), 2), "min_area": form.min_area.value(), "gsd": gsd}
    missing += _differences(used, {**chosen, **USUAL_OF_DETECTION})
    return missing + _show_area(form.extent, given, form.before.layer(), run)


def fill_synthesize_form(form: SynthesizeForm, run: Run) -> list[str]:
    """Choose what an earlier synthesis was run on and with; its drawn events become a new layer to edit.

    Returns, Raises:
        As `fill_detect_form`.
    """
    manifest = read_manifest(run.folder)
    inputs, given = manifest["inputs"], manifest["parameters"]
    missing = _show_raster(form.image, inputs["image"], run)
    if "labels" in inputs:
        missing += _show_raster(form.labels, inputs["labels"], run)
    else:
        form.labels.set_layer(None)
    missing += _choose_model(form.model, given)
    choose(form.device, given.get("device", "auto"))
    choose(form.sampler, given.get("sampler", "dpmpp"))
    choose(form.start, given.get("init", "noise"))
    form.set_sampling_steps(int(given.get("sampling_steps", 20)))
    form.bands.choose(inputs["image"]["bands"])
    form.seed.number.setValue(min(int(given.get("seed", 0)), form.seed.number.maximum()))
    form.dates.show_timeline(timeline_of(run.folder, manifest))
    missing += _show_area(form.extent, given, form.image.layer(), run)
    missing += _show_events(form, given, run)
    form.steps.setValue(int(given.get("steps") or 0))
    usual = {**USUAL_OF_SYNTHESIS, "label_guidance": form.model.card().get("label_guidance") or 1.0}
    if given.get("instances") == "auto":  # as without
        usual["instances"] = "auto"
    chosen = {"sampling_steps": STEPS_OF[form.quality.currentData()], "seed": form.seed.seed()}
    return missing + _differences(given, {**chosen, **usual})


def _differences(given: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Say what the run was given, by the toolbox or a terminal, that the page cannot be: by name and value.

    Args:
        given: parameters of the run.
        here: what the page gives instead; None for what the backend takes by itself.
    """
    told = [
        f"{name.replace('_', ' ')} {given[name]} (here {'the usual' if value is None else value})"
        for name, value in here.items()
        if given.get(name) is not None and given[name] != value
    ]
    return [f"The run had {', '.join(told)}: for the same use the Processing toolbox."] if told else []


def _show_raster(picker: RasterPicker, given: dict[str, Any], run: Run) -> list[str]:
    """Choose the layer of a file; it is added to the project where it is not there yet."""
    path = input_path(given, str(run.folder))
    layer = layer_of_file(QgsProject.instance(), path)
    if layer is not None:
        picker.set_layer(layer)
    elif is_there(path):
        picker.open_file(path)
    else:
        picker.set_layer(None)
        return [f"{path} is no longer there: choose another image."]
    return []


def _choose_model(control: Any, given: dict[str, Any]) -> list[str]:
    name = given.get("model")
    if control.findData(name) < 0:
        return [f"The model {name} is not here any more: another one is chosen."]
    choose(control, name)
    return []


def _show_area(picker: ExtentPicker, given: dict[str, Any], image: QgsRasterLayer | None, run: Run) -> list[str]:
    """Look where the run looked."""
    if given.get("aoi"):
        layer = QgsVectorLayer(input_path({"path": given["aoi"]}, str(run.folder)), "Area", "ogr")
        if not layer.isValid():
            picker.show_whole()
            return [f"The polygons {given['aoi']} are no longer there: choose the area again."]
        if image is not None and not image.crs().isValid():
            layer = _turned_up(layer, image)
        QgsProject.instance().addMapLayer(layer)
        picker.show_polygons(layer)
    elif given.get("bounds") and image is not None:
        left, bottom, right, top = given["bounds"]
        box = QgsRectangle(left, min(bottom, top), right, max(bottom, top))
        if not image.crs().isValid():  # in pixels, y down
            box = QgsRectangle(PixelFrame.of_file(image).to_map().mapRect(box.toRectF()))
        picker.show_rectangle(QgsReferencedRectangle(box, image.crs()))
    else:
        picker.show_whole()
    return []


def _turned_up(area: QgsVectorLayer, image: QgsRasterLayer) -> QgsVectorLayer:
    """A copy of polygons in pixels, y down, that lies over their image without CRS; in memory, for the run to stay."""
    to_map = PixelFrame.of_file(image).to_map()
    features = []
    for feature in area.getFeatures():
        copy, geometry = QgsFeature(), feature.geometry()
        geometry.transform(to_map)
        copy.setGeometry(geometry)
        features.append(copy)
    shown = QgsVectorLayer("MultiPolygon", area.name(), "memory")
    shown.setCrs(QgsCoordinateReferenceSystem())
    shown.dataProvider().addFeatures(features)
    shown.updateExtents()
    return shown


def _show_events(form: SynthesizeForm, given: dict[str, Any], run: Run) -> list[str]:
    """Simulate the same kinds, or draw on a copy of the run's events."""
    path, image = given.get("events"), form.image.layer()
    if not path:
        form.events.show_simulated((given.get("simulate") or "create,remove,edit").split(","))
        return []
    if image is None:
        return []
    # The run's own copy, else what happened, which the run has noted; the latter may be cropped.
    files = (input_path({"path": path}, str(run.folder)), str(run.folder / "change_events.gpkg"))
    sources = [QgsVectorLayer(shown_events(file, image), "events", "ogr") for file in files if os.path.exists(file)]
    source = next((source for source in sources if source.isValid()), None)
    if source is None:
        return [f"The events {path} are no longer there: draw them again."]
    project = QgsProject.instance()
    folder = new_run_folder(project, f"events on {image.name()}", datetime.now())
    try:
        layer = create_event_layer(project, image, form.events.bar.choice.classes(), folder)
        take_events(layer, source)
    except InputError as error:
        return [str(error)]
    form.events.show_drawn(layer)
    return []
