"""`changen2:samplepoints`: a stratified sample of points over a change map, to label."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsRasterLayer,
)

from ..errors import Cancelled, InputError
from ..inputs import describe, direct_path
from ..polygon_files import ogr_source
from ..run_folders import POINTS_FILE
from .base import BackendAlgorithm, advanced, folder_parameter
from .run_folder import RunFolder


@dataclass
class SampleJob:
    """One run, as prepared on the main thread."""

    folder: RunFolder
    layer: QgsRasterLayer
    path: str
    expected: tuple[float, float]
    standard_error: float
    least: int
    seed: int


class DrawSamplePoints(BackendAlgorithm):
    """Points to label, as many as an estimate needs."""

    ID = "samplepoints"
    TITLE = "Draw a sample of points to label"
    HELP = """Draws random points over a change map for a person to label: look at each point on both images and say in
    its form whether the place changed. “Assess a change map” then estimates from them how accurate the map is and how
    much really changed, with confidence intervals, by Olofsson et al. 2014.

    Some points lie on change and some on no change (a stratified sample), as many as the wanted standard error of the
    overall accuracy needs, and at least the least number on each. The form does not show what the map says, and the
    points come in random order, so that it cannot be guessed.

    Expected accuracies are guesses of how much of each part of the map is right; they decide the size of the sample
    only.

    Each point keeps which part of the map it was drawn in, and how large that is, so that its label serves a later map
    of the same place too, such as one made with another threshold.

    The same seed draws the same points."""

    results = re.escape(POINTS_FILE)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        number = QgsProcessingParameterNumber
        whole, real = number.Type.Integer, number.Type.Double
        for parameter in (
            QgsProcessingParameterRasterLayer("CHANGE", "Change map (yes or no)"),
            number("STANDARD_ERROR", "Wanted standard error of the overall accuracy", real, 0.02, False, 0.001, 0.2),
            number("LEAST", "Least number of points on change, and on no change", whole, 50, False, 2, 100_000),
            number("SEED", "Seed", whole, 0, False, 0),
            folder_parameter(),
            advanced(
                number("EXPECTED_CHANGE", "Expected share of the mapped change that is right", real, 0.7, False, 0, 1)
            ),
            advanced(
                number(
                    "EXPECTED_NO_CHANGE",
                    "Expected share of the mapped no change that is right",
                    real,
                    0.95,
                    False,
                    0,
                    1,
                )
            ),
            advanced(QgsProcessingParameterBoolean("OVERWRITE", "Replace points in the output folder", False)),
        ):
            self.addParameter(parameter)
        points = QgsProcessing.SourceType.TypeVectorPoint
        self.addOutput(QgsProcessingOutputVectorLayer("POINTS", "Points to label", points))
        self.addOutput(QgsProcessingOutputNumber("ON_CHANGE", "Number of points on change"))
        self.addOutput(QgsProcessingOutputNumber("ON_NO_CHANGE", "Number of points on no change"))

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> SampleJob:
        """Check the map and the folder."""
        layer = self.parameterAsRasterLayer(parameters, "CHANGE", context)
        path = direct_path(layer)
        if path is None or _is_probability(layer):
            raise InputError(
                f"The layer {describe(layer)} is no map of change and no change in a file.",
                "Choose the layer “Change (yes or no)” of a detection, or another raster in which 0 is no change.",
                "bad_value",
            )
        target = self.output_folder(parameters, context, f"sample points on {layer.name()}")
        overwrite = self.parameterAsBoolean(parameters, "OVERWRITE", context)
        if (target / POINTS_FILE).exists() and not overwrite:
            raise InputError(
                f"{target} already holds sample points, and perhaps somebody's labels.",
                "Choose another folder, or allow them to be replaced.",
                "not_empty",
            )
        self.check_replaced(target, overwrite, context)
        expected = [self.parameterAsDouble(parameters, f"EXPECTED_{name}", context) for name in ("NO_CHANGE", "CHANGE")]
        return SampleJob(
            RunFolder(target, overwrite),
            layer.clone(),
            path,
            (expected[0], expected[1]),
            self.parameterAsDouble(parameters, "STANDARD_ERROR", context),
            self.parameterAsInt(parameters, "LEAST", context),
            self.parameterAsInt(parameters, "SEED", context),
        )

    def do_job(self, job: SampleJob, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Count the strata, draw, write."""
        from ..review.sample_points import (
            STRATA,
            TABLE,
            count_strata,
            draw_places,
            sample_sizes,
            style_points,
            write_points,
        )

        pixels = count_strata(job.path, _teller(feedback, 0))
        for name, count in zip(STRATA, pixels):
            if count == 0:
                raise InputError(
                    f"{describe(job.layer)} has no pixel of {name}.", "A sample needs some of both.", "bad_value"
                )
        sizes = sample_sizes(pixels, job.expected, job.standard_error, job.least)
        with job.folder.removed_on_error():
            places = draw_places(job.path, pixels, sizes, job.seed, _teller(feedback, 50))
            target = job.folder.path / POINTS_FILE
            write_points(places, pixels, job.layer, target)
        source = ogr_source(str(target), TABLE)
        self.load_layer(context, "POINTS", source, "Points to label", style_points)
        return {
            "OUTPUT_FOLDER": str(job.folder.path),
            "POINTS": source,
            "ON_NO_CHANGE": sizes[0],
            "ON_CHANGE": sizes[1],
        }


def _teller(feedback: QgsProcessingFeedback, start: int) -> Any:
    """Progress over half of the work, from a percentage; stops it where the user wants that."""

    def tell(done: int, total: int) -> None:
        if feedback.isCanceled():
            raise Cancelled
        feedback.setProgress(start + 50 * done / total)

    return tell


def _is_probability(layer: QgsRasterLayer) -> bool:
    return "Change probability" in layer.bandName(1)
