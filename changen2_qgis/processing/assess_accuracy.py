"""`changen2:assessaccuracy`: how right a change map is, against a map, polygons or labelled points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRasterLayer,
    QgsVectorLayer,
)

from ..errors import InputError
from ..inputs import describe, has_other_crs, polygons_path
from .base import BackendAlgorithm, Stages, advanced, folder_parameter
from .event_files import raster_file
from .run_folder import RunFolder

DATES = ("before", "after")

SCORES = ("f1", "precision", "recall", "iou", "kappa")


@dataclass
class AssessJob:
    """One run, as prepared on the main thread."""

    folder: RunFolder
    names: tuple[str, str]
    """What is assessed, and against what, for the report."""
    request: dict[str, Any]


class AssessAccuracy(BackendAlgorithm):
    """A change map against what is known."""

    ID = "assessaccuracy"
    TITLE = "Assess a change map"
    HELP = """Says how right a change map is: in words, in numbers, and as a map of what was found, what was missed and
    what was reported although nothing changed.

    <b>What is known</b> is a raster in which every value but 0 is change (a change mask of “Synthesize change”, say),
    on any grid, or a layer of polygons around what changed, but those that you rejected in the review of a detection;
    or labelled points, or both. Where a map holds nodata, nothing is compared.

    A known change counts as found where at least half of it is reported. A place counts as falsely reported where
    nothing in it changed. Smaller places than the smallest area are left out of these counts, not of the scores.

    <b>Scores</b> are counted in pixels, with 95 % intervals by bootstrap over blocks of 256 × 256 pixels: precision
    (how much of what is reported did change), recall (how much of what changed is reported), F1 (both in one), IoU, and
    Cohen's kappa.

    Of a change probability the page also tells whether it means what it says: the calibration error, and how many of
    the pixels of each probability did change. The calibration may be kept in the card of a model that you installed or
    trained: detections with it then write probabilities that mean what they say.

    <b>Known classes</b> before and after, two rasters with the numbers that the detection uses, tell how right its
    classes are, from class to class, where a detection has some: semantic_before.tif and semantic_after.tif beside the
    change map.

    <b>Labelled points</b> have a field “reference”: 1 where a person saw change, 0 where not; points without a label
    are left out. “Draw a sample of points to label” makes such a layer. From these the accuracy and the changed area
    are estimated with confidence intervals, by Olofsson et al. 2014. Points that were drawn on another state of the
    map, such as before its threshold moved, count as they were drawn, by Stehman 2014. Where all points on change, or
    on no change, were labelled alike, how much else may be there all the same is told in place of intervals."""

    results = r"assessment\.tif"

    stages: ClassVar[Stages] = {
        "score": (0, 30, "Scoring"),
        "compare": (30, 70, "Comparing"),
        "count": (70, 95, "Counting places"),
    }

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        number = QgsProcessingParameterNumber
        source = QgsProcessing.SourceType
        for parameter in (
            QgsProcessingParameterRasterLayer("PREDICTION", "Change map (yes or no), or change probability"),
            QgsProcessingParameterMapLayer(
                "REFERENCE",
                "What is known: a raster (0 is no change) or polygons of change",
                optional=True,
                types=[source.TypeRaster, source.TypeVectorPolygon],
            ),
            QgsProcessingParameterFeatureSource(
                "POINTS", "Labelled points (field “reference”)", [source.TypeVectorPoint], optional=True
            ),
            number("THRESHOLD", "Threshold, for a change probability", number.Type.Double, 0.5, minValue=0, maxValue=1),
            number("MIN_AREA", "Smallest place that is counted (m²)", number.Type.Double, 0.0, minValue=0),
            folder_parameter(),
            *(
                advanced(
                    QgsProcessingParameterRasterLayer(f"CLASSES_{date.upper()}", f"Known classes {date}", optional=True)
                )
                for date in DATES
            ),
            advanced(self._store_parameter()),
            advanced(QgsProcessingParameterBoolean("OVERWRITE", "Replace results in the output folder", False)),
        ):
            self.addParameter(parameter)
        for output in (
            QgsProcessingOutputRasterLayer("ASSESSMENT", "Found, missed, false"),
            QgsProcessingOutputHtml("REPORT", "Report"),
            QgsProcessingOutputFile("MANIFEST", "Manifest"),
            QgsProcessingOutputString("WORDS", "The assessment in words"),
            *(QgsProcessingOutputNumber(name.upper(), name.upper()) for name in SCORES),
            QgsProcessingOutputNumber("KNOWN", "Number of known changes"),
            QgsProcessingOutputNumber("FOUND", "Number of known changes found"),
            QgsProcessingOutputNumber("FALSE", "Number of places reported that did not change"),
        ):
            self.addOutput(output)

    def _store_parameter(self) -> QgsProcessingParameterString:
        own = self.backend.known_models.listed("detect", own=True)
        title = f"Installed model to keep the calibration for ({own or 'none yet'}; of a change probability)"
        return QgsProcessingParameterString("STORE", title, "", optional=True)

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> AssessJob:
        """The backend's request, with polygons and points exported."""
        prediction = self.parameterAsRasterLayer(parameters, "PREDICTION", context)
        reference = self.parameterAsLayer(parameters, "REFERENCE", context)
        points = self.parameterAsSource(parameters, "POINTS", context)
        if reference is None and points is None:
            raise InputError("Nothing is given to compare with.", "Choose what is known, or labelled points.")
        classes = {date: self.parameterAsRasterLayer(parameters, f"CLASSES_{date.upper()}", context) for date in DATES}
        told = [layer for layer in classes.values() if layer is not None]
        if told and (len(told) == 1 or reference is None):
            raise InputError(
                "The known classes are given without the other date's, or without what is known to have changed.",
                "Give the classes of both dates and a map or polygons of change, or leave the classes out.",
            )
        path = self.output_folder(parameters, context, f"assess {prediction.name()}")
        folder = RunFolder(path, self.parameterAsBoolean(parameters, "OVERWRITE", context), part="assessment")
        self.check_replaced(path, folder.overwrite, context)
        request = {
            "threshold": self.parameterAsDouble(parameters, "THRESHOLD", context),
            "min_area": self.parameterAsDouble(parameters, "MIN_AREA", context),
            "store": self.parameterAsString(parameters, "STORE", context).strip(),
        }
        with folder.removed_on_error(), folder.writing():
            request["prediction"] = raster_file(prediction, folder, "prediction")
            if request["store"] and has_other_crs(prediction):
                raise InputError(
                    f"The layer {describe(prediction)} was given another CRS than its file has.",
                    "Choose the layer as the detection made it, so that the calibration knows how it was made.",
                )
            if isinstance(reference, QgsRasterLayer):
                request["reference"] = raster_file(reference, folder, "reference")
            elif isinstance(reference, QgsVectorLayer):
                request["reference"] = polygons_path(reference, reference, prediction, folder.inputs)
            for date, layer in classes.items():
                if layer is not None:
                    request[f"classes_{date}"] = raster_file(layer, folder, f"classes_{date}")
            if points is not None:
                from ..review.sample_points import export_points

                request["points"] = export_points(points, prediction, folder.inputs)
        names = [] if reference is None else [reference.name()]
        names += [] if points is None else [points.sourceName()]
        return AssessJob(folder, (prediction.name(), " and ".join(names)), request)

    def do_job(self, job: AssessJob, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Ask the backend, and write what it says as a page."""
        from ..review.assessment import LAYER_NAME, in_words, style_assessment
        from ..review.assessment_page import report

        where = {"out_dir": str(job.folder.path), "overwrite": job.folder.overwrite}
        with job.folder.removed_on_error():
            result = self.ask("evaluate", {**job.request, **where}, feedback)
            outputs, summary = result["outputs"], result["summary"]
            page = job.folder.path / "assessment.html"
            job.folder.path.mkdir(parents=True, exist_ok=True)
            page.write_text(report(summary, *job.names), encoding="utf8")
        words = in_words(summary)
        for sentence in words:
            feedback.pushInfo(sentence)
        if store := summary.get("stored"):
            feedback.pushInfo(f"The calibration is kept for “{store}”: its probabilities are scaled by it from now on.")
            self.refresh_models(feedback)
        if "assessment" in outputs:
            self.load_layer(context, "ASSESSMENT", outputs["assessment"], LAYER_NAME, style_assessment)
        places = summary.get("places", {})
        return {
            "OUTPUT_FOLDER": str(job.folder.path),
            "REPORT": str(page),
            "WORDS": " ".join(words),
            **{name.upper(): summary[name] for name in SCORES if summary.get(name) is not None},
            **{name.upper(): places[name] for name in ("known", "found", "false") if name in places},
            **{name.upper(): outputs[name] for name in ("assessment", "manifest") if name in outputs},
        }
