"""`changen2:setupbackend`: builds the Python environment that the model runs in."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputString,
)

from ..backend import profile_venv
from ..environment import venv_python
from ..errors import SetupError
from .base import BackendAlgorithm


class SetUpBackend(BackendAlgorithm):
    """Builds or renews the venv under the QGIS profile."""

    ID = "setupbackend"
    TITLE = "Set up the backend"
    HELP = """Builds the Python environment that the model runs in, under your QGIS profile: a few minutes, about 1 GB
    of disk (3 GB with CUDA) and an internet connection. Nothing is installed into QGIS. The one that is there is
    replaced only when the new one works. Another interpreter that a setting named is no longer used."""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """No parameters: the settings `changen2/base_python` and `changen2/torch_index` say what to build on."""
        for name, text in (("PYTHON", "Interpreter"), ("TORCH", "PyTorch"), ("DEVICE", "Device")):
            self.addOutput(QgsProcessingOutputString(name, text))

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Nothing to read."""

    def do_job(self, job: None, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Build it."""

        def report(share: float, text: str) -> None:
            feedback.setProgress(100 * share)
            feedback.setProgressText(text)

        found = self.backend.set_up(report, feedback.isCanceled)
        feedback.pushInfo(self.backend.diagnostics())
        built = venv_python(profile_venv())
        try:
            used = self.backend.environment()
        except SetupError as error:
            feedback.pushWarning(f"What was built is not used yet. {error}")
        else:
            if used.python != built:
                feedback.pushWarning(f"What was built is not used: {used.python} ({used.origin}) comes first.")
        return {"PYTHON": str(built), "TORCH": found.torch, "DEVICE": found.device}
