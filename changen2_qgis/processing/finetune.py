"""`changen2:finetune`: from two images and the changes drawn between them to a detector of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRectangle,
)

from ..layer_nodata import clone
from ..raster_pair import RasterPair
from .base import BackendAlgorithm, Stages, advanced, folder_parameter
from .detect_change import parse_bands
from .run_folder import RunFolder

RESOLUTION_OF_WEB_MAPS = 0.5  # metres per pixel, where neither image has pixels of its own


@dataclass
class FinetuneJob:
    """One run, as prepared on the main thread."""

    pair: RasterPair
    folder: RunFolder
    window: QgsRectangle
    """Where web maps are rendered, in the CRS of `before`; null for everywhere."""
    request: dict[str, Any]
    """What goes to the backend, less the images."""


class FinetuneDetector(BackendAlgorithm):
    """Two rasters and polygons become a model."""

    ID = "finetune"
    TITLE = "Train a detector on drawn changes"
    HELP = """Trains a detector further on changes that you drew, so that it finds that kind of change elsewhere.

    Draw all changes of one kind between the two images as polygons, some twenty or more; what lies outside them counts
    as no change. Reviewed polygons of a detection serve too: what you rejected is left out and counts as no change. If
    you looked through a part of the images only, give it as polygons too.

    The detector learns from most of the drawn changes. One end of the images, with about a fifth of them, is held out:
    it tells when to stop, which threshold serves best, and how good the result is, which flatters it somewhat.

    The result is a model of its own name, to choose wherever a model is chosen. It works on images of about the same
    pixel size; give that where the images have no CRS. Any installed detector will do to begin with. Training takes
    minutes on two processor cores; it is cancelled at any time and goes on with "Continue the unfinished run". The
    model's licence is that of the one it began with."""

    stages: ClassVar[Stages] = {
        "read": (0, 5, "Reading the pairs"),
        "measure": (5, 5, "Measuring on what is held out"),
        "train": (5, 100, "Training"),
    }

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        number, text = QgsProcessingParameterNumber, QgsProcessingParameterString
        yes_no, bands = QgsProcessingParameterBoolean, QgsProcessingParameterBand
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        for parameter in (
            QgsProcessingParameterRasterLayer("BEFORE", "Image before"),
            QgsProcessingParameterRasterLayer("AFTER", "Image after"),
            QgsProcessingParameterFeatureSource("CHANGES", "All changes of one kind (polygons)", polygons),
            QgsProcessingParameterFeatureSource(
                "AOI", "Area that was looked through (polygons)", polygons, optional=True
            ),
            text("NAME", "Name of the new model (small letters, digits, - and _)"),
            text("KIND", "What changes, such as solar panels", "", optional=True),
            self.model_parameter("Model to begin with", "detect", starts=True),
            bands("BANDS_BEFORE", "Bands before: red, green, blue, or one", None, "BEFORE", True, True),
            bands("BANDS_AFTER", "Bands after: red, green, blue, or one", None, "AFTER", True, True),
            folder_parameter("Folder of the run"),
        ):
            self.addParameter(parameter)
        for parameter in (
            number(
                "GSD",
                "Pixel size (m; empty: that of the images)",
                number.Type.Double,
                None,
                optional=True,
                minValue=0.001,
            ),
            number("STEPS", "Steps at most", number.Type.Integer, 300, minValue=1),
            number("SEED", "Seed", number.Type.Integer, 0, minValue=0),
            text("DEVICE", "Device (auto, cpu, cuda, cuda:1, mps)", "auto"),
            number("THREADS", "Processor threads", number.Type.Integer, None, optional=True, minValue=1),
            yes_no("OVERWRITE", "Replace a model of this name, and what is in the folder", False),
            yes_no("RESUME", "Continue the unfinished run in the folder", False),
        ):
            self.addParameter(advanced(parameter))
        for output in (
            QgsProcessingOutputString("MODEL_NAME", "Name of the new model"),
            QgsProcessingOutputNumber("HELD_OUT_F1", "F1 on what was held out"),
            QgsProcessingOutputNumber("RECOMMENDED_THRESHOLD", "Recommended threshold"),
            QgsProcessingOutputFile("WEIGHTS", "Weights"),
            QgsProcessingOutputFile("MANIFEST", "Manifest"),
        ):
            self.addOutput(output)

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> FinetuneJob:
        """Clone the images and export the polygons, on the main thread, where layers and their edits are."""
        before, after = (self.parameterAsRasterLayer(parameters, name, context) for name in ("BEFORE", "AFTER"))
        name = self.parameterAsString(parameters, "NAME", context).strip()
        overwrite, resume = (self.parameterAsBoolean(parameters, key, context) for key in ("OVERWRITE", "RESUME"))
        path = self.output_folder(parameters, context, f"train {name}")
        folder = RunFolder(path, overwrite, resume, keep_inputs=True)
        folder.layers.update(before=before.name(), after=after.name())
        pair = RasterPair(clone(before), clone(after))
        drawn: dict[str, Any] = {}
        area = None
        with folder.removed_on_error(), folder.writing():
            for key in ("CHANGES", "AOI"):
                source = self.parameterAsSource(parameters, key, context)
                if source is None:
                    continue
                area = source
                drawn[key.lower()] = self.polygons_file(parameters, key, context, before, folder, key.lower())
        request = {
            **self._options(parameters, context),
            **drawn,
            "name": name,
            "out_dir": str(path),
            "overwrite": overwrite,
            "resume": resume,
        }
        return FinetuneJob(pair, folder, pair.window(QgsRectangle(), area), request)

    def _options(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        """What goes to the backend as it is given; what is not given is left to its defaults."""
        options: dict[str, Any] = {
            "kind": self.parameterAsString(parameters, "KIND", context).strip(),
            "model": self.parameterAsString(parameters, "MODEL", context).strip(),
            "device": self.parameterAsString(parameters, "DEVICE", context).strip(),
            "bands": parse_bands(parameters.get("BANDS_BEFORE")),
            "bands_after": parse_bands(parameters.get("BANDS_AFTER")),
        }
        for name in ("STEPS", "SEED", "THREADS"):
            if parameters.get(name) not in (None, ""):
                options[name.lower()] = self.parameterAsInt(parameters, name, context)
        if parameters.get("GSD") not in (None, ""):
            options["gsd"] = self.parameterAsDouble(parameters, "GSD", context)
        return {name: value for name, value in options.items() if value not in (None, "")}

    def do_job(
        self, job: FinetuneJob, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Make files of the images where needed, then ask the backend."""
        with job.folder.removed_on_error():
            feedback.setProgressText("Preparing the images")
            with job.folder.writing():
                files = job.pair.files(
                    job.window,
                    job.folder.inputs,
                    lambda: job.pair.ground_resolution() or RESOLUTION_OF_WEB_MAPS,
                    self.backend.settings.render_megapixels,
                    feedback,
                    job.folder.kept,
                )
            result = self.ask("finetune", {**job.request, **files}, feedback)
        self.refresh_models(feedback)
        outputs, summary = result["outputs"], result["summary"]
        before = summary["held_out_f1_before"]
        compared = "" if before is None else f"; “{summary['began_with']}” reached {before:.2f} there, at its best too"
        feedback.pushInfo(
            f"The model “{summary['model']}” reaches F1 {summary['held_out_f1']:.2f} on what was held out{compared}. "
            f"{summary['held_out_note']}"
        )
        return {
            "OUTPUT_FOLDER": str(job.folder.path),
            "MODEL_NAME": summary["model"],
            "HELD_OUT_F1": summary["held_out_f1"],
            "RECOMMENDED_THRESHOLD": summary["threshold"],
            "WEIGHTS": outputs["weights"],
            "MANIFEST": outputs["manifest"],
        }
