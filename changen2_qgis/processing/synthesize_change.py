"""`changen2:synthesizechange`: from one image and change events to the images that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsDateTimeRange,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRasterLayer,
    QgsRectangle,
)

from ..errors import InputError
from ..events.layer import LARGEST_STEP
from ..inputs import bounds
from ..layer_nodata import clone
from ..raster_pair import moved_extent
from ..rendering import origin_of_rendered, render_layer, write_stand_in
from ..temporal import UNITS, Timeline, set_fixed_range
from ..worker_client import Progress
from .base import BackendAlgorithm, Stages, advanced, folder_parameter
from .detect_change import PRECISIONS, native_resolution, parse_bands
from .event_files import (
    SERIES,
    bands_parameter,
    declare_event_mapping,
    events_path,
    instances_parameter,
    instances_path,
    raster_file,
    raster_path,
    shown_events,
    style_change,
    style_events_layer,
    style_labels,
)
from .event_rules import (
    classes_parameter,
    declare_event_rules,
    event_rules,
    kinds_of,
    kinds_parameter,
    seed_parameter,
)
from .run_folder import RunFolder

QUALITIES = {"fast": 8, "good": 20}
"""Name and reverse steps of the diffusion."""

MANY = 3000
"""Polygons above which no estimate is made: copying them for it, after each change of a setting, would be felt."""

SAMPLERS = ("dpmpp", "ddim", "ddpm")
STARTS = ("auto", "noise", "exemplar")


@dataclass
class SynthesizeJob:
    """One run, as prepared on the main thread."""

    image: QgsRasterLayer
    folder: RunFolder
    window: QgsRectangle
    """Where to work, in the CRS of the image; null for everywhere."""
    request: dict[str, Any]
    """What goes to the backend; without `image` where that must be written first."""
    timeline: Timeline | None
    """When the steps are, where that is given."""
    render_resolution: float | None
    """Metres per pixel for a web map, where given."""


class SynthesizeChange(BackendAlgorithm):
    """From an image and events to a series of images."""

    ID = "synthesizechange"
    TITLE = "Synthesize change"
    HELP = """Draws the images that follow when something changes: buildings are built or lost, fields become roads. A
    generative model runs on your own machine, in a process of its own.

    Say what changes by polygons with the fields event (create, remove or edit), to_class (name or number) and step
    (from 1; without it 1), or let events be simulated on the labels. Without labels and polygons, objects that the
    image shows are removed here and there: those of a layer of instances, if you give one, else regions of even colour.

    Outside the change the images equal the first one to the last bit; inside they are synthetic, and no measurement.
    The embedded model begins a house as one of the same image, turned and stretched into the polygon, or as a drawn
    roof, and lets the model fit it in; the manifest says which. Start "noise" draws it from nothing.

    Results: one image for each step, on the grid of the first; label maps and change maps; and the events as polygons.
    IMAGES is the last image, SERIES all of them. All are written to the output folder with a manifest; without one to a
    new folder beside the project.

    Work in an extent or in polygons, not both. The same seed on the same machine gives the same images. Dates, if
    given, make the layers play in QGIS's temporal controller."""

    results = SERIES

    stages: ClassVar[Stages] = {
        "simulate": (0, 4, "Letting events happen"),
        "labels": (4, 8, "Writing the labels"),
        "synthesize": (8, 100, "Drawing the change"),
        "write": (8, 8, "Images written"),
    }

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self._written: tuple[float, float] | None = None  # images written, of so many

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self._declare_inputs()
        self._declare_advanced()
        declare_event_mapping(self)
        declare_event_rules(self)
        self._declare_outputs()

    def _declare_inputs(self) -> None:
        number, choice = QgsProcessingParameterNumber, QgsProcessingParameterEnum
        raster = QgsProcessingParameterRasterLayer
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        for parameter in (
            raster("IMAGE", "Image"),
            QgsProcessingParameterFeatureSource("EVENTS", "Change events (polygons)", polygons, optional=True),
            raster("LABELS", "Labels (raster of class numbers)", optional=True),
            kinds_parameter("Events to simulate, where none are drawn", None),
            number(
                "STEPS",
                "Number of steps (empty: 1, or the largest step of drawn events)",
                number.Type.Integer,
                None,
                optional=True,
                minValue=1,
                maxValue=LARGEST_STEP,
            ),
            QgsProcessingParameterExtent("EXTENT", "Extent to work in", optional=True),
            QgsProcessingParameterFeatureSource("AOI", "Polygons to work in", polygons, optional=True),
            self.model_parameter("Model", "synthesize"),
            QgsProcessingParameterString("DEVICE", "Device (auto, cpu, cuda, cuda:1, mps)", "auto"),
            choice("QUALITY", "Quality", list(QUALITIES), defaultValue="good", usesStaticStrings=True),
            seed_parameter(),
            QgsProcessingParameterDateTime(
                "START_DATE",
                "Date of the image (empty: the layers get no dates)",
                QgsProcessingParameterDateTime.Type.Date,
                optional=True,
            ),
            number("INTERVAL", "Time between steps", number.Type.Integer, 1, minValue=1, maxValue=10000),
            choice("INTERVAL_UNIT", "Unit of that time", list(UNITS), defaultValue="years", usesStaticStrings=True),
            folder_parameter(),
        ):
            self.addParameter(parameter)

    def _declare_advanced(self) -> None:
        number, choice = QgsProcessingParameterNumber, QgsProcessingParameterEnum
        whole, real = number.Type.Integer, number.Type.Double
        yes_no = QgsProcessingParameterBoolean
        for parameter in (
            bands_parameter(),
            instances_parameter(),
            classes_parameter(),
            choice("SAMPLER", "Sampler", list(SAMPLERS), defaultValue="dpmpp", usesStaticStrings=True),
            number(
                "SAMPLING_STEPS",
                "Steps of the diffusion (empty: as the quality says)",
                whole,
                None,
                optional=True,
                minValue=1,
                maxValue=1000,
            ),
            choice("INIT", "Start of what is drawn", list(STARTS), defaultValue="auto", usesStaticStrings=True),
            number("EXEMPLAR_LEVEL", "How freely an exemplar is redrawn", real, 0.2, minValue=0.01, maxValue=1),
            number("LABEL_GUIDANCE", "Weight of the labels, from noise (empty: the model's)", real, None, True, 1, 10),
            number("GUIDANCE_RATIO", "How long the unchanged is held while drawing", real, 1.0, minValue=0, maxValue=1),
            yes_no("PATCHES", "Write changed blocks and virtual rasters instead of whole images", False),
            number(
                "RENDER_RESOLUTION",
                "Resolution at which a web map is rendered (m; empty: the model's)",
                real,
                None,
                optional=True,
                minValue=0.01,
            ),
            choice("PRECISION", "Precision", list(PRECISIONS), defaultValue="auto", usesStaticStrings=True),
            number("BATCH_SIZE", "Windows computed at once", whole, None, optional=True, minValue=1),
            number("THREADS", "Processor threads", whole, None, optional=True, minValue=1),
            yes_no("OVERWRITE", "Replace results in the output folder", False),
            yes_no("RESUME", "Continue the unfinished run in the output folder", False),
        ):
            self.addParameter(advanced(parameter))

    def _declare_outputs(self) -> None:
        for output in (
            QgsProcessingOutputRasterLayer("IMAGES", "Image after the last step"),
            QgsProcessingOutputRasterLayer("LABELS_OUT", "Labels after the last step"),
            QgsProcessingOutputRasterLayer("CHANGE", "Change in the last step"),
            QgsProcessingOutputVectorLayer(
                "EVENTS_OUT", "Events that happened", QgsProcessing.SourceType.TypeVectorPolygon
            ),
            QgsProcessingOutputMultipleLayers("SERIES", "Images of all steps"),
            QgsProcessingOutputMultipleLayers("CHANGES", "Change in each step"),
            QgsProcessingOutputFile("MANIFEST", "Manifest"),
            QgsProcessingOutputNumber("STEP_COUNT", "Number of steps"),
            QgsProcessingOutputNumber("CHANGED_PIXELS", "Changed pixels, all steps together"),
        ):
            self.addOutput(output)

    def estimate_request(
        self, parameters: dict[str, Any], context: QgsProcessingContext, folder: Path
    ) -> tuple[dict[str, Any], list[str]]:
        """The parameters of the backend's `estimate_synthesis` for these parameters. Main thread.

        Args:
            parameters: of this algorithm.
            context: of the call.
            folder: takes a copy of drawn events, and small virtual rasters where a layer is no file or is seen
                otherwise in QGIS.

        Returns:
            The parameters, and sentences on what happens before the backend begins.

        Raises:
            InputError: what happens depends on a picture that must be rendered first; there are too many polygons to
                copy them for an estimate; or something is wrong.
        """
        for name in ("EVENTS", "AOI"):
            source = self.parameterAsSource(parameters, name, context)
            if source is not None and source.featureCount() > MANY:
                raise InputError(
                    f"The {source.featureCount():,} polygons of “{source.sourceName()}” will be copied first.",
                    "Run to see what it takes.",
                )
        job = self._job_in(RunFolder(folder, overwrite=True), parameters, context)
        request = {name: value for name, value in job.request.items() if name != "resume"}
        if "image" in request:
            return request, []
        if "events" not in request and "labels" not in request:
            raise InputError(
                "What can change is found in the image, which will be rendered first.", "Run to see what it takes."
            )
        target, window = folder / "image.vrt", None if job.window.isNull() else job.window
        cards, most = self.backend.known_models.cards, self.backend.settings.render_megapixels
        note = write_stand_in(job.image, window, target, lambda: _rendered_at(job, cards), most)
        return {**request, "image": str(target)}, [note]

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> SynthesizeJob:
        """Clone the image and export events and polygons, on the main thread, where layers and their edits are."""
        image = self.parameterAsRasterLayer(parameters, "IMAGE", context)
        folder = RunFolder(
            self.output_folder(parameters, context, f"synthesize from {image.name()}"),
            overwrite=self.parameterAsBoolean(parameters, "OVERWRITE", context),
            resume=self.parameterAsBoolean(parameters, "RESUME", context),
            keep_inputs=True,
        )
        self.check_replaced(folder.path, folder.overwrite, context)
        with folder.removed_on_error(), folder.writing():
            return self._job_in(folder, parameters, context)

    def _job_in(self, folder: RunFolder, parameters: dict[str, Any], context: QgsProcessingContext) -> SynthesizeJob:
        image = self.parameterAsRasterLayer(parameters, "IMAGE", context)
        request = {**self._options(parameters, context), **self._what_happens(parameters, context, image, folder)}
        extent = self.parameterAsExtent(parameters, "EXTENT", context, image.crs())
        polygons = self.parameterAsSource(parameters, "AOI", context)
        window = extent
        if polygons is not None:
            if not extent.isNull():
                raise InputError("Both an extent and polygons are given.", "Leave one of them out.", "bad_value")
            request["aoi"] = self.polygons_file(parameters, "AOI", context, image, folder)
            window = moved_extent(polygons.sourceExtent(), polygons.sourceCrs(), image.crs())
        elif not extent.isNull():
            request["bounds"] = bounds(extent, image)
        if not image.crs().isValid():
            window = QgsRectangle()  # pixels are counted from the first one of the whole image
        path = raster_path(image, folder, "image", image=True)
        if path is not None:
            request["image"] = path
        return SynthesizeJob(
            clone(image),
            folder,
            window,
            request,
            timeline=self._timeline(parameters, context),
            render_resolution=self.parameterAsDouble(parameters, "RENDER_RESOLUTION", context) or None,
        )

    def _timeline(self, parameters: dict[str, Any], context: QgsProcessingContext) -> Timeline | None:
        """When the steps are; None where no date is given."""
        start = self.parameterAsDateTime(parameters, "START_DATE", context).date()
        if not start.isValid():
            return None
        amount = self.parameterAsInt(parameters, "INTERVAL", context)
        unit = self.parameterAsEnumString(parameters, "INTERVAL_UNIT", context)
        return Timeline(datetime(start.year(), start.month(), start.day()), amount, unit)

    def _what_happens(
        self, parameters: dict[str, Any], context: QgsProcessingContext, image: QgsRasterLayer, folder: RunFolder
    ) -> dict[str, Any]:
        """Labels and events for the backend."""
        happens: dict[str, Any] = {}
        labels = self.parameterAsRasterLayer(parameters, "LABELS", context)
        kinds = kinds_of(self, parameters, context)
        if labels is not None:
            happens["labels"] = raster_file(labels, folder, "labels")
        instances = self.parameterAsLayer(parameters, "INSTANCES", context)
        if instances is not None:
            happens["instances"] = instances_path(instances, image, folder)
        if self.parameterAsSource(parameters, "EVENTS", context) is not None:
            if kinds:
                raise InputError(
                    "Both drawn events and events to simulate are given.", "Leave one of them out.", "bad_value"
                )
            happens["events"] = events_path(self, parameters, context, image, folder)
        elif kinds:
            happens["simulate"] = kinds
        return happens

    def _options(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        """What goes to the backend as it is given; what is not given is left to its defaults."""
        options: dict[str, Any] = {
            **event_rules(self, parameters, context),
            "model": self.parameterAsString(parameters, "MODEL", context).strip() or "tiny",
            "device": self.parameterAsString(parameters, "DEVICE", context).strip() or "auto",
            "bands": parse_bands(parameters.get("BANDS")),
            "sampling_steps": QUALITIES[self.parameterAsEnumString(parameters, "QUALITY", context)],
            "exemplar_level": self.parameterAsDouble(parameters, "EXEMPLAR_LEVEL", context),
            "guidance_ratio": self.parameterAsDouble(parameters, "GUIDANCE_RATIO", context),
            "patches": self.parameterAsBoolean(parameters, "PATCHES", context),
            "resume": self.parameterAsBoolean(parameters, "RESUME", context),
        }
        for name in ("SAMPLER", "INIT", "PRECISION"):
            options[name.lower()] = self.parameterAsEnumString(parameters, name, context)
        if options["init"] == "auto":  # the model's card knows
            del options["init"]
        if parameters.get("LABEL_GUIDANCE") not in (None, ""):
            options["label_guidance"] = self.parameterAsDouble(parameters, "LABEL_GUIDANCE", context)
        for name in ("STEPS", "SAMPLING_STEPS", "BATCH_SIZE", "THREADS"):
            if parameters.get(name) not in (None, ""):  # Processing itself would make that 0
                options[name.lower()] = self.parameterAsInt(parameters, name, context)
        return {name: value for name, value in options.items() if value not in (None, "")}

    def do_job(
        self, job: SynthesizeJob, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Make a file of the image where needed, then ask the backend."""
        from ..series_results import write_dates

        with job.folder.removed_on_error():
            with job.folder.writing():
                if job.timeline is not None:  # for the series to have its dates also when another day finishes it
                    job.folder.inputs.mkdir(parents=True, exist_ok=True)
                    write_dates(job.folder.inputs, job.timeline)
                image = job.request.get("image") or self._rendered(job, feedback)
            where = {"out_dir": str(job.folder.path), "overwrite": job.folder.overwrite}
            result = self.ask("synthesize", {**job.request, "image": image, **where}, feedback)
        summary = result["summary"]
        feedback.pushInfo(f"{summary['model']} on {summary['device']}, {summary['seconds']:.0f} s")
        if job.timeline is not None:
            write_dates(job.folder.path, job.timeline)
        return self._deliver(result, job, context)

    def stage_text(self, progress: Progress) -> str:
        """What the backend is doing, with the step once it is known."""
        text = super().stage_text(progress)
        if progress.stage == "write":
            self._written = (progress.done, progress.total)
        elif progress.stage == "synthesize" and self._written is not None:
            done, total = self._written
            return f"{text} of step {min(done + 1, total):.0f} of {total:.0f}"
        return text

    def _rendered(self, job: SynthesizeJob, feedback: QgsProcessingFeedback) -> str:
        """The image, which is no file, as a GeoTIFF; that of the unfinished run that this goes on with."""
        target = job.folder.inputs / "image.tif"
        window = None if job.window.isNull() else job.window
        most = self.backend.settings.render_megapixels

        def resolution() -> float:
            return _rendered_at(job, self.backend.hello().models)

        if job.folder.kept(target, origin_of_rendered(job.image, resolution)) is None:
            render_layer(job.image, window, target, resolution, most, feedback)
        return str(target)

    def _deliver(self, result: dict[str, Any], job: SynthesizeJob, context: QgsProcessingContext) -> dict[str, Any]:
        """Have the results loaded, and name them as the contract does."""
        outputs, summary = result["outputs"], result["summary"]
        steps = summary["steps"]
        images = [outputs[f"image_t{step}"] for step in range(1, steps + 1)]
        changes = [outputs[f"change_t{step - 1}_t{step}"] for step in range(1, steps + 1)]
        labels = outputs[f"labels_t{steps}"]
        shown: dict[str, tuple[str, str, Callable[[QgsMapLayer], None]]] = {
            "IMAGES": (images[-1], "Image after the last step", lambda layer: None),
            "LABELS_OUT": (labels, "Labels after the last step", style_labels),
            "CHANGE": (changes[-1], "Change in the last step", style_change),
            "EVENTS_OUT": (
                shown_events(outputs["change_events"], job.image),
                "Events that happened",
                style_events_layer,
            ),
        }
        for output, (source, name, style) in shown.items():
            when = job.timeline.range(steps) if job.timeline is not None and output != "EVENTS_OUT" else None
            self.load_layer(context, output, source, name, _styled_at(style, when), job.folder.path)
        return {
            "OUTPUT_FOLDER": str(job.folder.path),
            "IMAGES": images[-1],
            "LABELS_OUT": labels,
            "CHANGE": changes[-1],
            "EVENTS_OUT": outputs["change_events"],
            "SERIES": images,
            "CHANGES": changes,
            "MANIFEST": outputs["manifest"],
            "STEP_COUNT": steps,
            "CHANGED_PIXELS": sum(summary["changed_px"]),
        }


def _rendered_at(job: SynthesizeJob, cards: Sequence[dict[str, Any]]) -> float:
    """The resolution at which a web map is rendered: as asked for, else what the model was made for."""
    return job.render_resolution or native_resolution(job.request["model"], "synthesize", cards)


def _styled_at(style: Callable[[QgsMapLayer], None], when: QgsDateTimeRange | None) -> Callable[[QgsMapLayer], None]:
    """What is done to a loaded result: its look and its time."""

    def finish(layer: QgsMapLayer) -> None:
        style(layer)
        if when is not None:
            set_fixed_range(layer, when)

    return finish
