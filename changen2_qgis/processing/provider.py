"""The list of algorithms under the id ``changen2``."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from ..backend import Backend
from ..icons import own_icon
from ..paths import version
from .assess_accuracy import AssessAccuracy
from .continue_run import ContinueRun
from .detect_change import DetectChange
from .draw_sample_points import DrawSamplePoints
from .finetune import FinetuneDetector
from .set_up_backend import SetUpBackend
from .shipped_model import ShippedModel, shipped_models
from .simulate_events import SimulateEvents
from .synthesize_change import SynthesizeChange
from .vectorize_change import VectorizeChange

ALGORITHMS = (
    DetectChange,
    SynthesizeChange,
    SimulateEvents,
    VectorizeChange,
    ContinueRun,
    AssessAccuracy,
    DrawSamplePoints,
    FinetuneDetector,
    SetUpBackend,
)


class Changen2Provider(QgsProcessingProvider):
    """Lists the algorithms; all share one backend."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend

    def id(self) -> str:
        """The part of algorithm ids before the colon."""
        return "changen2"

    def name(self) -> str:
        """Shown in the toolbox."""
        return "Changen2"

    def longName(self) -> str:
        """Shown where there is room."""
        return "Changen2: change detection and synthesis"

    def versionInfo(self) -> str:
        """The plugin's version."""
        return version()

    def icon(self) -> QIcon:
        """The plugin's icon."""
        return own_icon("changen2")

    def loadAlgorithms(self) -> None:
        """Add one of each."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm(self.backend))
        for path in shipped_models():
            self.addAlgorithm(ShippedModel(path))
