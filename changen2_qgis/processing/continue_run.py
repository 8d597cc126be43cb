"""`changen2:continuerun`: the rest of a detection or synthesis that was cancelled, failed or killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputFolder,
    QgsProcessingParameterFile,
)

from ..errors import InputError
from ..run_folders import is_unfinished, rest_request
from .base import BackendAlgorithm
from .detect_change import DetectChange
from .synthesize_change import SynthesizeChange

METHODS: Mapping[str, type[BackendAlgorithm]] = {"detect": DetectChange, "synthesize": SynthesizeChange}
"""Methods of the backend that can go on, and the algorithms that know their stages."""


@dataclass(frozen=True)
class Rest:
    """What is left of a run.

    Attributes:
        folder: of the run.
        method: of the backend.
        params: the request that the run was started with, set to go on.
    """

    folder: Path
    method: str
    params: dict[str, Any]


class ContinueRun(BackendAlgorithm):
    """Asks the backend for the rest of an unfinished run."""

    ID = "continuerun"
    TITLE = "Continue an unfinished run"
    HELP = """A detection or synthesis that was cancelled, or that failed, keeps what it had finished in its run folder.
    This does the rest with the same settings, and the result is the same as that of a run that was never interrupted.
    It also works after QGIS or the computer were shut down in the middle.

    The images, the model and the version of Changen2 must be those of the run, and the files must still be where they
    were. Otherwise this says what differs, and keeps the finished part.

    In the dock, the Runs tab lists unfinished runs and continues them on a click."""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        folder = QgsProcessingParameterFile.Behavior.Folder
        self.addParameter(QgsProcessingParameterFile("RUN_FOLDER", "Folder of the unfinished run", folder))
        self.addOutput(QgsProcessingOutputFolder("OUTPUT_FOLDER", "Output folder"))
        self.addOutput(QgsProcessingOutputFile("MANIFEST", "Manifest"))

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Rest:
        """Read what the run was asked for."""
        return rest_of(Path(self.parameterAsString(parameters, "RUN_FOLDER", context)).absolute())

    def do_job(self, job: Rest, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Ask the backend for it, as the algorithm would that began it."""
        result = METHODS[job.method](self.backend).ask(job.method, job.params, feedback)
        return {"OUTPUT_FOLDER": str(job.folder), "MANIFEST": result["outputs"]["manifest"]}


def rest_of(folder: Path) -> Rest:
    """Read what is left to do in a run folder.

    Raises:
        InputError: there is no unfinished run, or not what it was asked for.
    """
    method, params = rest_request(folder) or ("", {})
    if method not in METHODS or not is_unfinished(folder):
        raise InputError(
            f"There is no unfinished run of a detection or synthesis in {folder}.",
            "Choose the folder of one that was cancelled or failed, or run it anew. A training goes on in “Train a "
            "detector on drawn changes”, with the settings and the folder that it had.",
            "bad_value",
        )
    # The folder may have been moved since.
    return Rest(folder, method, {**params, "out_dir": str(folder)})
