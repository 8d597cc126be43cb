"""`changen2:setupbackend`: builds the Python environment that the model runs in."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputString,
)

from .base import BackendAlgorithm


class SetUpBackend(BackendAlgorithm):
    """Builds or renews the venv under the QGIS profile."""

    ID = "setupbackend"
    TITLE = "Set up the backend"
    HELP = """Builds the Python environment that the model runs in, under your QGIS profile: a few minutes, about 1 GB
    of disk (3 GB with CUDA) and an internet connection. Nothing is installed into QGIS. The one that is there is
    replaced only when the new one works."""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """No parameters: the settings `base_python` and `torch_index` say what to build on."""
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
        return {"PYTHON": str(self.backend.environment().python), "TORCH": found.torch, "DEVICE": found.device}
