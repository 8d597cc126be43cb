"""`changen2:detectchange`: from two raster layers to probability, binary map and polygons of change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRectangle,
)

from ..errors import InputError
from ..inputs import bounds
from ..layer_nodata import clone
from ..raster_pair import RasterPair
from .base import BackendAlgorithm, advanced, folder_parameter
from .run_folder import RunFolder
from .vectorize_change import shown_polygons

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass
class DetectJob:
    """One run, as prepared on the main thread."""

    pair: RasterPair
    folder: RunFolder
    window: QgsRectangle
    """Where to look, in the CRS of `before`; null for everywhere."""
    render_resolution: float | None
    """Metres per pixel for web maps, where given."""
    request: dict[str, Any]
    """What goes to the backend, less the files."""


class DetectChange(BackendAlgorithm):
    """The first complete path: two rasters become a change map."""

    ID = "detectchange"
    TITLE = "Detect change"
    HELP = """Finds what changed between two images of one place, with a deep model that runs on your own machine, in a
    process of its own.

    The first image gives the grid of the results; the second is brought to it, so coordinate systems, resolutions and
    extents may differ. Web maps and other layers that are no files are rendered to a GeoTIFF first.

    Results: the probability of change (0 to 1), a map of change (yes or no), and polygons with area (m² on the
    ellipsoid), mean probability and a review mark. All are written to the output folder with a manifest; without one to
    a new folder beside the project.

    Look in an extent or in polygons, not both. GSD is the pixel size at which the model sees the images: empty for that
    of the images, "auto" for the model's own, or metres."""

    results = r"change(_probability|_class)?\.tif|semantic_(before|after)\.tif|change\.gpkg"

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self._declare_inputs()
        self._declare_advanced()
        self._declare_outputs()

    def _declare_inputs(self) -> None:
        number = QgsProcessingParameterNumber
        text = QgsProcessingParameterString
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        for parameter in (
            QgsProcessingParameterRasterLayer("BEFORE", "Image before"),
            QgsProcessingParameterRasterLayer("AFTER", "Image after"),
            QgsProcessingParameterExtent("EXTENT", "Extent to look in", optional=True),
            QgsProcessingParameterFeatureSource("AOI", "Polygons to look in", polygons, optional=True),
            _bands("BANDS_BEFORE", "Bands before: red, green, blue, or one", "BEFORE"),
            _bands("BANDS_AFTER", "Bands after: red, green, blue, or one", "AFTER"),
            self.model_parameter("Model", "detect"),
            text("DEVICE", "Device (auto, cpu, cuda, cuda:1, mps)", "auto"),
            number(
                "THRESHOLD",
                "Threshold (probability; empty: as the model recommends)",
                number.Type.Double,
                None,
                optional=True,
                minValue=0,
                maxValue=1,
            ),
            number("MIN_AREA", "Smallest area of a polygon (m²)", number.Type.Double, 0.0, minValue=0),
            text("GSD", "Pixel size for the model (empty, auto or metres)", "", optional=True),
            folder_parameter(),
        ):
            self.addParameter(parameter)

    def _declare_advanced(self) -> None:
        number = QgsProcessingParameterNumber
        yes_no = QgsProcessingParameterBoolean
        for parameter in (
            yes_no("COREGISTER", "Align the second image to the first", False),
            number(
                "RENDER_RESOLUTION",
                "Resolution at which web maps are rendered (m; empty: as GSD, else as the other image)",
                number.Type.Double,
                None,
                optional=True,
                minValue=0.01,
            ),
            QgsProcessingParameterEnum(
                "PRECISION", "Precision", list(PRECISIONS), defaultValue="auto", usesStaticStrings=True
            ),
            *(
                number(name, text, number.Type.Integer, None, optional=True, minValue=least)
                for name, text, least in (
                    ("TILE_SIZE", "Tile size (pixels; empty: the model's)", 32),
                    ("OVERLAP", "Overlap of tiles (pixels; empty: the model's)", 0),
                    ("BATCH_SIZE", "Tiles computed at once", 1),
                    ("THREADS", "Processor threads", 1),
                )
            ),
            yes_no("OVERWRITE", "Replace results in the output folder", False),
            yes_no("RESUME", "Continue the unfinished run in the output folder", False),
        ):
            self.addParameter(advanced(parameter))

    def _declare_outputs(self) -> None:
        polygon = QgsProcessing.SourceType.TypeVectorPolygon
        for output in (
            QgsProcessingOutputRasterLayer("PROBABILITY", "Change probability"),
            QgsProcessingOutputRasterLayer("CHANGE", "Change (yes or no)"),
            QgsProcessingOutputVectorLayer("POLYGONS", "Changed places", polygon),
            QgsProcessingOutputRasterLayer("SEMANTIC_BEFORE", "Classes before (models with classes)"),
            QgsProcessingOutputRasterLayer("SEMANTIC_AFTER", "Classes after (models with classes)"),
            QgsProcessingOutputRasterLayer("CHANGE_CLASS", "Class of change (models with kinds of change)"),
            QgsProcessingOutputFile("MANIFEST", "Manifest"),
            QgsProcessingOutputNumber("POLYGON_COUNT", "Number of changed places"),
            QgsProcessingOutputNumber("CHANGE_AREA", "Changed area (m²)"),
        ):
            self.addOutput(output)

    def estimate_request(
        self, parameters: dict[str, Any], context: QgsProcessingContext, folder: Path
    ) -> tuple[dict[str, Any], list[str]]:
        """The parameters of the backend's `estimate` for these parameters. Main thread.

        Args:
            parameters: of this algorithm.
            context: of the call.
            folder: takes small virtual rasters where the images are no files, or are seen otherwise in QGIS.

        Returns:
            The parameters, and sentences on what happens before the backend begins.

        Raises:
            InputError: something is wrong.
        """
        before, after = (self.parameterAsRasterLayer(parameters, name, context) for name in ("BEFORE", "AFTER"))
        pair = RasterPair(before, after)
        extent = self.parameterAsExtent(parameters, "EXTENT", context, before.crs())
        if extent.isNull() and parameters.get("AOI") is not None:
            extent = pair.window(extent, self.parameterAsSource(parameters, "AOI", context))
        where = {} if extent.isNull() else {"bounds": bounds(extent, before)}
        options = self._options(parameters, context)
        given = self._number(parameters, "RENDER_RESOLUTION", context)
        paths, notes = pair.stand_ins(
            extent,
            folder,
            lambda: rendered_at(given, options, pair, self.backend.known_models.cards),
            self.backend.settings.render_megapixels,
        )
        return {**paths, **where, **options}, notes

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> DetectJob:
        """Clone the layers and export polygons, on the main thread, where layers and their edits are."""
        before, after = (self.parameterAsRasterLayer(parameters, name, context) for name in ("BEFORE", "AFTER"))
        extent = self.parameterAsExtent(parameters, "EXTENT", context, before.crs())
        polygons = self.parameterAsSource(parameters, "AOI", context)
        if polygons is not None and not extent.isNull():
            raise InputError("Both an extent and polygons are given.", "Leave one of them out.", "bad_value")
        folder = RunFolder(
            self.output_folder(parameters, context, f"detect {before.name()} to {after.name()}"),
            overwrite=self.parameterAsBoolean(parameters, "OVERWRITE", context),
            resume=self.parameterAsBoolean(parameters, "RESUME", context),
            keep_inputs=True,
        )
        self.check_replaced(folder.path, folder.overwrite, context)
        folder.layers.update(before=before.name(), after=after.name())
        pair = RasterPair(clone(before), clone(after))
        options = self._options(parameters, context)
        where: dict[str, Any] = {}
        if polygons is not None:
            with folder.removed_on_error(), folder.writing():
                where["aoi"] = self.polygons_file(parameters, "AOI", context, before, folder)
        elif not extent.isNull():
            where["bounds"] = bounds(extent, before)
        return DetectJob(
            pair,
            folder,
            window=pair.window(extent, polygons),
            render_resolution=self._number(parameters, "RENDER_RESOLUTION", context),
            request={**options, **where},
        )

    def _options(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        """What goes to the backend as it is given; what is not given is left to its defaults."""
        gsd = self.parameterAsString(parameters, "GSD", context).strip().lower()
        options = {
            "model": self.parameterAsString(parameters, "MODEL", context).strip() or "tiny",
            "device": self.parameterAsString(parameters, "DEVICE", context).strip() or "auto",
            "bands": parse_bands(parameters.get("BANDS_BEFORE")),
            "bands_after": parse_bands(parameters.get("BANDS_AFTER")),
            "threshold": self._number(parameters, "THRESHOLD", context),
            "min_area": self.parameterAsDouble(parameters, "MIN_AREA", context),
            "gsd": gsd if gsd in ("", "auto") else parse_metres(gsd),
            "coregister": self.parameterAsBoolean(parameters, "COREGISTER", context),
            "precision": self.parameterAsEnumString(parameters, "PRECISION", context),
            "resume": self.parameterAsBoolean(parameters, "RESUME", context),
        }
        for name in ("TILE_SIZE", "OVERLAP", "BATCH_SIZE", "THREADS"):
            value = self._number(parameters, name, context)
            options[name.lower()] = None if value is None else int(value)
        return {name: value for name, value in options.items() if value not in (None, "")}

    def _number(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> float | None:
        """A number, or None where none is given (Processing itself would make that 0)."""
        if parameters.get(name) in (None, ""):
            return None
        return self.parameterAsDouble(parameters, name, context)

    def do_job(self, job: DetectJob, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Make files of the layers where needed, then ask the backend."""
        with job.folder.removed_on_error():
            feedback.setProgressText("Preparing the images")
            with job.folder.writing():
                files = job.pair.files(
                    job.window,
                    job.folder.inputs,
                    lambda: rendered_at(job.render_resolution, job.request, job.pair, self.backend.hello().models),
                    self.backend.settings.render_megapixels,
                    feedback,
                    job.folder.kept,
                )
            where = {"out_dir": str(job.folder.path), "overwrite": job.folder.overwrite}
            result = self.ask("detect", {**job.request, **files, **where}, feedback)
        summary = result["summary"]
        feedback.pushInfo(f"{summary['model']} on {summary['device']}, {summary['seconds']:.0f} s")
        return self._deliver(result, job, context)

    def _deliver(self, result: dict[str, Any], job: DetectJob, context: QgsProcessingContext) -> dict[str, Any]:
        """Have the results loaded, and name them as the contract does."""
        outputs, summary = result["outputs"], result["summary"]
        kinds = ("semantic_before", "semantic_after", "change_class")
        classes = {kind: outputs[kind] for kind in kinds if kind in outputs}
        layers = {kind: (kind.upper(), path) for kind, path in classes.items()}
        layers["change"] = ("CHANGE", outputs["change"])
        layers["change_probability"] = ("PROBABILITY", outputs["change_probability"])
        layers["polygons"] = ("POLYGONS", shown_polygons(outputs["polygons"], outputs["change_probability"]))
        self.load_on_completion(context, layers, summary["threshold"], job.folder.path)
        return {
            "OUTPUT_FOLDER": str(job.folder.path),
            "PROBABILITY": outputs["change_probability"],
            "CHANGE": outputs["change"],
            "POLYGONS": outputs["polygons"],
            "MANIFEST": outputs["manifest"],
            "POLYGON_COUNT": summary["polygons"],
            "CHANGE_AREA": summary["change_area_m2"],
            **{kind.upper(): path for kind, path in classes.items()},
        }


def rendered_at(
    given: float | None, options: dict[str, Any], pair: RasterPair, cards: Sequence[dict[str, Any]]
) -> float:
    """The resolution at which web maps are rendered, in metres per pixel.

    As asked for, else that of the model's view if it is given in metres, else the other image's, else what the model
    was made for.
    """
    seen_at = options.get("gsd")
    found = given or (seen_at if isinstance(seen_at, float) else None) or pair.ground_resolution()
    if found is not None:
        return found
    return native_resolution(options["model"], "detect", cards)


def native_resolution(model: str, task: str, cards: Sequence[dict[str, Any]]) -> float:
    """Metres per pixel that a model was made for."""
    card = next((card for card in cards if (card["name"], card.get("task")) == (model, task)), {})
    return float(card.get("gsd_native") or 0.5)


def _bands(name: str, text: str, parent: str) -> QgsProcessingParameterBand:
    return QgsProcessingParameterBand(name, text, None, parent, optional=True, allowMultiple=True)


def parse_bands(value: Any) -> list[int] | None:
    """Band numbers in the order given: a list, "4;3;2" or "4,3,2"; None where none are given.

    Raises:
        InputError: something is no number.
    """
    if value is None or value == "":
        return None
    parts = value if isinstance(value, (list, tuple)) else str(value).replace(";", ",").split(",")
    try:
        return [int(part) for part in parts] or None
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The bands {value!r} are no band numbers.", "Give one or three, such as 4,3,2.", "bad_band"
        ) from error


def parse_metres(text: str) -> float:
    """A pixel size above 0 in metres.

    Raises:
        InputError: it is none.
    """
    try:
        metres = float(text.removesuffix("m").strip().replace(",", "."))
    except ValueError:
        metres = 0.0
    if not 0 < metres < float("inf"):
        raise InputError(
            f"The pixel size {text!r} is not allowed.", "Leave GSD empty, or give auto or metres.", "bad_value"
        )
    return metres
