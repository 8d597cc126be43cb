"""What all algorithms share: asking the backend, progress, cancel, errors, and loading the results."""

from __future__ import annotations

import contextlib
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingParameterDefinition,
)
from qgis.PyQt import sip
from qgis.PyQt.QtGui import QIcon

from ..backend import Backend
from ..errors import PluginError
from ..paths import resources_dir
from ..worker_client import Callbacks, Progress

STAGES = {
    # stage of the backend: (from percent, to percent, said to the user)
    "read": (0, 3, "Reading the images"),
    "coregister": (0, 3, "Aligning the images"),
    "detect": (3, 90, "Looking for change"),
    "write": (90, 95, "Writing the maps"),
    "vectorize": (95, 100, "Drawing the polygons"),
}

LAYER_NAMES = {
    # kind: shown in the layer tree, when the toolbox loads a result
    "change_probability": "Change probability",
    "change": "Change (yes or no)",
    "polygons": "Changed places",
    "change_class": "Class of change",
    "semantic_before": "Classes before",
    "semantic_after": "Classes after",
}


class BackendAlgorithm(QgsProcessingAlgorithm):
    """An algorithm whose work is done by the backend.

    Subclasses implement `prepare_job` (main thread: clone layers, export unsaved edits) and `do_job` (pool
    thread); a `PluginError` from either becomes the message that Processing shows.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self._job: Any = None

    def createInstance(self) -> BackendAlgorithm:
        """A fresh one for each run, with the same backend."""
        return type(self)(self.backend)

    def icon(self) -> QIcon:
        """The plugin's icon."""
        return QIcon(str(resources_dir() / "icons" / "changen2.svg"))

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Any:
        """Read the parameters; called on the main thread. What it returns goes to `do_job`."""
        raise NotImplementedError

    def do_job(self, job: Any, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Do the work; called on a pool thread, returns the outputs."""
        raise NotImplementedError

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Called by Processing on the main thread."""
        try:
            self._job = self.prepare_job(parameters, context, feedback)
            return True
        except PluginError as error:
            message = str(error)
        del parameters, context, feedback  # see `processAlgorithm`
        raise QgsProcessingException(message)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Called by Processing on a pool thread."""
        job, self._job = self._job, None
        try:
            return self.do_job(job, context, feedback)
        except PluginError as error:
            message = str(error)
        # QGIS never frees the traceback of what leaves here, so no layer may be within its reach: it would stay
        # open until QGIS ends, and be closed too late.
        del job, parameters, context, feedback
        raise QgsProcessingException(message)

    def ask(self, method: str, params: Mapping[str, Any], feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Send a job to the backend and wait, with progress, log and cancel through `feedback`."""
        if self.backend.last_hello is None:
            feedback.setProgressText("Starting the backend")
        callbacks = Callbacks(
            progress=lambda progress: _show(progress, feedback),
            log=lambda level, message: _log(level, message, feedback),
            cancelled=feedback.isCanceled,
        )
        result = self.backend.request(method, params, callbacks)
        for warning in result.get("warnings", ()):
            feedback.pushWarning(warning)
        feedback.setProgress(100)
        return result

    def load_on_completion(
        self, context: QgsProcessingContext, layers: Mapping[str, tuple[str, str]], threshold: float, run: Path
    ) -> None:
        """Have the toolbox load and style results; nothing happens where nobody asked for layers.

        Args:
            context: of this run.
            layers: by kind (see `LAYER_NAMES`), the output's name and the layer's source.
            threshold: probability 0..1 from which change was counted.
            run: folder of the run, whose manifest names the model.
        """
        project = context.project()
        if project is None:
            return
        for kind, (output, source) in layers.items():
            details = QgsProcessingContext.LayerDetails(LAYER_NAMES[kind], project, output)
            styler = _Styler(kind, threshold, run)
            sip.transferto(styler, None)  # the context deletes it
            _STYLERS.append(styler)
            details.setPostProcessor(styler)
            context.addLayerToLoadOnCompletion(source, details)


class RunFolder:
    """The output folder of a run and, inside it, a folder for inputs that had to be written.

    Args:
        path: the output folder; made when first needed.
        overwrite: whether the user allows results that are there to be replaced.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        self.path = path
        self.inputs = path / "inputs"
        self._made = not path.exists()
        self._empty = self._made or (path.is_dir() and not any(path.iterdir()))
        self._overwrite = overwrite

    @property
    def overwrite(self) -> bool:
        """What to tell the backend: our own exported inputs are no results worth protecting."""
        return self._overwrite or (self._empty and self.inputs.exists())

    @contextlib.contextmanager
    def removed_on_error(self) -> Iterator[None]:
        """Leave nothing behind when the run fails or is cancelled, but what the backend can go on from.

        It cannot where inputs were written: a run goes on only with the very same files.
        """
        try:
            yield
        except BaseException:
            if self._empty and self.inputs.exists():
                for entry in self.path.iterdir():
                    shutil.rmtree(entry, ignore_errors=True)
            if self._made:
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise


class _Styler(QgsProcessingLayerPostProcessorInterface):
    """Styles a loaded result and notes its licence; Processing calls it on the main thread."""

    def __init__(self, kind: str, threshold: float, run: Path) -> None:
        super().__init__()
        self.kind = kind
        self.threshold = threshold
        self.run = run

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        from ..licences import carry_licence
        from ..results import style_detection_layer

        style_detection_layer(layer, self.kind, self.threshold)
        carry_licence(layer, self.run)


# Owned by their contexts, but Python forgets the class of what nothing in Python refers to. Enough for some
# runs; one that is dropped while it is needed styles nothing and does no harm.
_STYLERS: deque[_Styler] = deque(maxlen=100)


def advanced(parameter: QgsProcessingParameterDefinition) -> QgsProcessingParameterDefinition:
    """The parameter, shown under "Advanced parameters"."""
    parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
    return parameter


def _show(progress: Progress, feedback: QgsProcessingFeedback) -> None:
    low, high, text = STAGES.get(progress.stage, (0, 100, progress.stage))
    share = progress.done / progress.total if progress.total else 0.0
    feedback.setProgress(low + (high - low) * share)
    left = "" if progress.eta_s is None else f", about {_duration(progress.eta_s)} left"
    count = f": {progress.done:,.0f} of {progress.total:,.0f}" if progress.total else ""
    feedback.setProgressText(f"{text}{count}{left}")


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _log(level: str, message: str, feedback: QgsProcessingFeedback) -> None:
    if level == "warning":
        feedback.pushWarning(message)
    else:
        feedback.pushInfo(message)
