"""`changen2:simulateevents`: what may happen to a label map, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsRasterLayer,
)

from ..errors import InputError
from ..events.layer import LARGEST_STEP
from .base import BackendAlgorithm, Stages, advanced, folder_parameter
from .detect_change import parse_bands
from .event_files import (
    SERIES,
    bands_parameter,
    declare_event_mapping,
    events_path,
    instances_parameter,
    instances_path,
    raster_file,
    shown_events,
    style_change,
    style_events_layer,
    style_labels,
)
from .event_rules import (
    KINDS,
    classes_parameter,
    declare_event_rules,
    event_rules,
    kinds_of,
    kinds_parameter,
    seed_parameter,
)
from .run_folder import RunFolder


@dataclass
class SimulateJob:
    """One run, as prepared on the main thread."""

    folder: RunFolder
    raster: QgsRasterLayer
    """The labels, or the image."""
    request: dict[str, Any]
    """What goes to the backend, less the folder."""


class SimulateEvents(BackendAlgorithm):
    """From labels to a series of labels."""

    ID = "simulateevents"
    TITLE = "Simulate change events"
    HELP = """Lets change events happen to a map of classes: objects are created (a copy of another object, put where
    none stands), removed, or change their class. The result is a series of label maps, one for each step, the change
    maps between them, and the events as polygons. No image is drawn and no model runs, so this takes seconds.

    Give polygons to let drawn events happen instead; they have the fields event (create, remove or edit), to_class
    (name or number) and step (from 1; without it 1).

    Without labels, give an image instead: objects that it shows are removed here and there, those of a layer of
    instances, if you give one, else regions of even colour.

    The polygons of the events have the same fields: edit them and give them to “Synthesize change” to draw images.

    The same seed gives the same series."""

    results = SERIES

    stages: ClassVar[Stages] = {
        "read": (0, 20, "Reading the labels"),
        "simulate": (20, 100, "Letting events happen"),
    }

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        number = QgsProcessingParameterNumber
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        for parameter in (
            QgsProcessingParameterRasterLayer("LABELS", "Labels (raster of class numbers)", optional=True),
            QgsProcessingParameterRasterLayer("IMAGE", "Image, where there are no labels", optional=True),
            kinds_parameter("Events to simulate", list(KINDS)),
            QgsProcessingParameterFeatureSource("EVENTS", "Drawn events instead (polygons)", [polygons], optional=True),
            number(
                "STEPS",
                "Number of steps (empty: 1, or the largest step of drawn events)",
                number.Type.Integer,
                None,
                optional=True,
                minValue=1,
                maxValue=LARGEST_STEP,
            ),
            seed_parameter(),
            classes_parameter(),
            folder_parameter(),
        ):
            self.addParameter(parameter)
        self.addParameter(advanced(bands_parameter()))
        self.addParameter(advanced(instances_parameter()))
        declare_event_mapping(self)
        declare_event_rules(self)
        self.addParameter(
            advanced(QgsProcessingParameterBoolean("OVERWRITE", "Replace results in the output folder", False))
        )
        for output in (
            QgsProcessingOutputRasterLayer("LABELS_OUT", "Labels after the last step"),
            QgsProcessingOutputRasterLayer("CHANGE", "Change in the last step"),
            QgsProcessingOutputVectorLayer("EVENTS_OUT", "Events that happened", polygons),
            QgsProcessingOutputFile("MANIFEST", "Manifest"),
            QgsProcessingOutputNumber("EVENT_COUNT", "Number of events"),
        ):
            self.addOutput(output)

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> SimulateJob:
        """The backend's request, with drawn events exported."""
        raster = self._raster(parameters, context)
        folder = RunFolder(
            self.output_folder(parameters, context, f"simulate on {raster.name()}"),
            self.parameterAsBoolean(parameters, "OVERWRITE", context),
        )
        self.check_replaced(folder.path, folder.overwrite, context)
        with folder.removed_on_error(), folder.writing():
            request = {**self._ground(parameters, context, raster, folder), **event_rules(self, parameters, context)}
            if parameters.get("STEPS") not in (None, ""):
                request["steps"] = self.parameterAsInt(parameters, "STEPS", context)
            if self.parameterAsSource(parameters, "EVENTS", context) is not None:
                request["events"] = events_path(self, parameters, context, raster, folder)
            elif kinds := kinds_of(self, parameters, context):
                request["events"] = kinds
        return SimulateJob(folder, raster.clone(), request)

    def _raster(self, parameters: dict[str, Any], context: QgsProcessingContext) -> QgsRasterLayer:
        """The labels, or the image."""
        labels, image = (self.parameterAsRasterLayer(parameters, name, context) for name in ("LABELS", "IMAGE"))
        if (labels is None) == (image is None):
            raise InputError(
                "Neither labels nor an image is given." if labels is None else "Both labels and an image are given.",
                "Give labels, or an image whose objects are to be removed.",
                "bad_value",
            )
        if image is None and self.parameterAsLayer(parameters, "INSTANCES", context) is not None:
            raise InputError(
                "Both labels and instances are given, but instances are removed only where there are no labels.",
                "Leave the instances out, or give an image instead of the labels.",
                "bad_value",
            )
        return labels if image is None else image

    def _ground(
        self, parameters: dict[str, Any], context: QgsProcessingContext, raster: QgsRasterLayer, folder: RunFolder
    ) -> dict[str, Any]:
        """What things happen to, for the backend: classes, or the instances of an image."""
        if self.parameterAsRasterLayer(parameters, "LABELS", context) is not None:
            return {"labels": raster_file(raster, folder, "labels")}
        instances = self.parameterAsLayer(parameters, "INSTANCES", context)
        found = "auto" if instances is None else instances_path(instances, raster, folder)
        bands = parse_bands(parameters.get("BANDS"))
        return {"labels": raster_file(raster, folder, "image", image=True), "instances": found, "bands": bands}

    def do_job(
        self, job: SimulateJob, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Ask the backend for it."""
        with job.folder.removed_on_error():
            where = {"out_dir": str(job.folder.path), "overwrite": job.folder.overwrite}
            result = self.ask("simulate", {**job.request, **where}, feedback)
        outputs, summary = result["outputs"], result["summary"]
        steps = summary["steps"]
        shown = {
            "LABELS_OUT": (outputs[f"labels_t{steps}"], "Labels after the last step", style_labels),
            "CHANGE": (outputs[f"change_t{steps - 1}_t{steps}"], "Change in the last step", style_change),
            "EVENTS_OUT": (
                shown_events(outputs["change_events"], job.raster),
                "Events that happened",
                style_events_layer,
            ),
        }
        for output, (source, name, style) in shown.items():
            self.load_layer(context, output, source, name, style, job.folder.path)
        return {
            "OUTPUT_FOLDER": str(job.folder.path),
            "LABELS_OUT": outputs[f"labels_t{steps}"],
            "CHANGE": outputs[f"change_t{steps - 1}_t{steps}"],
            "EVENTS_OUT": outputs["change_events"],
            "MANIFEST": outputs["manifest"],
            "EVENT_COUNT": sum(summary["events"].values()),
        }
