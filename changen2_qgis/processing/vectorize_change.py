"""`changen2:vectorizechange`: polygons and binary map from a probability at another threshold, without a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
)

from ..errors import InputError
from ..inputs import describe, direct_path, has_other_crs
from .base import BackendAlgorithm, advanced


class VectorizeChange(BackendAlgorithm):
    """Applies a threshold to the probability of an earlier run."""

    ID = "vectorizechange"
    TITLE = "Apply a threshold to a change probability"
    HELP = """Makes the binary map and the polygons again from the change probability of an earlier run, at another
    threshold. No model runs, so this takes seconds.

    The polygons have the area in m² on the ellipsoid and the mean probability. Smaller ones than the smallest area are
    left out of the polygons, not of the map."""

    results = r"change\.(tif|gpkg)"

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        number = QgsProcessingParameterNumber
        self.addParameter(QgsProcessingParameterRasterLayer("PROBABILITY", "Change probability"))
        self.addParameter(
            number("THRESHOLD", "Threshold (probability)", number.Type.Double, 0.5, minValue=0, maxValue=1)
        )
        self.addParameter(number("MIN_AREA", "Smallest area (m²)", number.Type.Double, 0.0, minValue=0))
        self.addParameter(QgsProcessingParameterFolderDestination("OUTPUT_FOLDER", "Output folder"))
        self.addParameter(
            advanced(QgsProcessingParameterBoolean("OVERWRITE", "Replace results in the output folder", False))
        )
        self.addOutput(QgsProcessingOutputRasterLayer("CHANGE", "Change (yes or no)"))
        self.addOutput(
            QgsProcessingOutputVectorLayer("POLYGONS", "Changed places", QgsProcessing.SourceType.TypeVectorPolygon)
        )
        self.addOutput(QgsProcessingOutputNumber("POLYGON_COUNT", "Number of changed places"))
        self.addOutput(QgsProcessingOutputNumber("CHANGE_AREA", "Changed area (m²)"))

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """The backend's request."""
        layer = self.parameterAsRasterLayer(parameters, "PROBABILITY", context)
        path = direct_path(layer)
        if path is None:
            raise InputError(
                f"The layer {describe(layer)} is no file.", "Choose the change_probability.tif of a run.", "unreadable"
            )
        if has_other_crs(layer):
            raise InputError(
                f"The layer {describe(layer)} was given another CRS than its file has, and the results would have the "
                "file's.",
                "Give it to the file itself (Raster > Projections > Assign Projection), and choose that.",
                "bad_value",
            )
        target = os.path.abspath(self.parameterAsString(parameters, "OUTPUT_FOLDER", context))
        overwrite = self.parameterAsBoolean(parameters, "OVERWRITE", context)
        self.check_replaced(Path(target), overwrite, context)
        return {
            "probability": path,
            "threshold": self.parameterAsDouble(parameters, "THRESHOLD", context),
            "min_area": self.parameterAsDouble(parameters, "MIN_AREA", context),
            "out_dir": target,
            "overwrite": overwrite,
        }

    def do_job(
        self, job: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Ask the backend for it."""
        result = self.ask("vectorize", job, feedback)
        outputs, summary = result["outputs"], result["summary"]
        self.load_on_completion(
            context,
            {
                "change": ("CHANGE", outputs["change"]),
                "polygons": ("POLYGONS", shown_polygons(outputs["polygons"], job["probability"])),
            },
            summary["threshold"],
            Path(job["probability"]).parent,
        )
        return {
            "OUTPUT_FOLDER": str(Path(job["out_dir"])),
            "CHANGE": outputs["change"],
            "POLYGONS": outputs["polygons"],
            "POLYGON_COUNT": summary["polygons"],
            "CHANGE_AREA": summary["change_area_m2"],
        }


def shown_polygons(polygons: str, probability: str) -> str:
    """The layer source of polygons that lie over their raster in QGIS, which a raster without CRS needs."""
    from ..results import display_polygons, ogr_source, open_raster

    shown, _ = display_polygons(polygons, open_raster(probability, "probability"))
    return ogr_source(shown)
