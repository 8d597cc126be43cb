"""Work that must not block the window: short calls of the backend, and Processing algorithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsMapLayer,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
    QgsTask,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .errors import Cancelled, PluginError

_left: set[tuple[QgsTask, QgsProcessingContext, QgsProcessingFeedback]] = set()
"""What tasks use that have been abandoned and are not over."""


class BackgroundCall(QgsTask):
    """Calls a function on a pool thread and tells the outcome on the main thread.

    Args:
        description: what it does, for QGIS's list of tasks.
        function: called with this task; it may look at `isCanceled` and call `setProgress` (0..100) or `say`.
        quiet: of no interest by itself: QGIS 3.26 and newer neither list it nor notify of its end.

    Signals:
        done: the function's result.
        failed: the error.
        cancelled: the task was cancelled; neither of the others follows.
        said: what the function is doing, from `say`.
    """

    done = pyqtSignal(object)
    failed = pyqtSignal(object)
    cancelled = pyqtSignal()
    said = pyqtSignal(str)

    def __init__(self, description: str, function: Callable[[BackgroundCall], Any], quiet: bool = False) -> None:
        flags = QgsTask.Flag.CanCancel
        if quiet and hasattr(QgsTask.Flag, "Silent"):
            flags = flags | QgsTask.Flag.Hidden | QgsTask.Flag.Silent
        super().__init__(description, flags)
        self._function = function
        self._result: Any = None
        self._error: Exception | None = None
        self._abandoned = False

    def start(self) -> BackgroundCall:
        """Queue it and return it; the caller keeps it until it is over."""
        QgsApplication.taskManager().addTask(self)
        return self

    def say(self, text: str) -> None:
        """Report what is being done; may be called from the function's thread."""
        self.said.emit(text)

    def abandon(self) -> None:
        """Cancel it and tell nobody of its end, at which those who listen may be gone."""
        self._abandoned = True
        self.cancel()

    def run(self) -> bool:
        """Called by QGIS on a pool thread. Never False, for which QGIS has a message of its own."""
        try:
            self._result = self._function(self)
        except Exception as error:  # the edge of a thread: it becomes a message on the main thread
            self._error = error
        return True

    def finished(self, successful: bool) -> None:
        """Called by QGIS on the main thread."""
        if self._abandoned:
            return
        if self.isCanceled() or isinstance(self._error, Cancelled):
            self.cancelled.emit()
        elif self._error is not None:
            self.failed.emit(self._error)
        else:
            self.done.emit(self._result)


class AlgorithmFeedback(QgsProcessingFeedback):
    """Passes on what an algorithm says, and keeps its last error and its warnings."""

    stage_changed = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__(False)
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def setProgressText(self, text: str) -> None:
        """The algorithm names its stage and the time left."""
        super().setProgressText(text)
        self.stage_changed.emit(text)

    def reportError(self, error: str, fatalError: bool = False) -> None:
        """The algorithm failed, or refused its input."""
        super().reportError(error, fatalError)
        self.errors.append(error)

    def pushWarning(self, warning: str) -> None:
        """The result may not be what the user thinks."""
        super().pushWarning(warning)
        self.warnings.append(warning)


def project_context() -> QgsProcessingContext:
    """A context in which the ids of the project's layers mean something."""
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    return context


class AlgorithmRun(QObject):
    """One run of a Processing algorithm as a task of QGIS.

    Args:
        algorithm_id: such as `changen2:detectchange`.
        parameters: as the toolbox takes them.

    Signals:
        progressed: percent done.
        stage_changed: what is being done, with the time left where known.
        done: the outputs by name, and the warnings.
        failed: the message.
        cancelled: the user stopped it.
    """

    progressed = pyqtSignal(float)
    stage_changed = pyqtSignal(str)
    done = pyqtSignal(dict, list)
    failed = pyqtSignal(str)
    cancelled = pyqtSignal()

    def __init__(self, algorithm_id: str, parameters: dict[str, Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._id = algorithm_id
        self._parameters = {name: _id_of(value) for name, value in parameters.items()}
        # The task uses these until its end; nothing but this object, and `_left` after it, holds them.
        self._context = project_context()
        self._feedback = AlgorithmFeedback()
        self._feedback.progressChanged.connect(self.progressed)
        self._feedback.stage_changed.connect(self.stage_changed)
        self._task: QgsProcessingAlgRunnerTask | None = None

    def start(self) -> None:
        """Check the parameters, then run; every outcome comes as a signal."""
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(self._id)
        if algorithm is None:
            self.failed.emit(f"The algorithm {self._id} is missing. Switch the Changen2 plugin off and on again.")
            return
        acceptable, reason = algorithm.checkParameterValues(self._parameters, self._context)
        if not acceptable:
            self.failed.emit(reason)
            return
        self._task = QgsProcessingAlgRunnerTask(algorithm, self._parameters, self._context, self._feedback)
        if self._task.isCanceled():  # it could not be prepared, of which QGIS tells nobody
            self._fail()
            return
        self._task.executed.connect(self._finish)
        QgsApplication.taskManager().addTask(self._task)

    def cancel(self) -> None:
        """Ask the algorithm to stop; `cancelled` follows when it has."""
        if self._task is not None:
            self._task.cancel()

    def abandon(self) -> None:
        """Cancel it and tell nobody of its end, at which those who listen may be gone."""
        self.blockSignals(True)
        if self._task is not None:
            # The task too: PyQt would forget what it calls at its end, and call it all the same.
            kept = self._task, self._context, self._feedback
            _left.add(kept)
            self._task.destroyed.connect(lambda *_: _left.discard(kept))
            self._task.cancel()

    def _finish(self, successful: bool, results: dict[str, Any]) -> None:
        if self._feedback.isCanceled():
            self.cancelled.emit()
        elif successful:
            self.done.emit(results, self._feedback.warnings)
        else:
            self._fail()

    def _fail(self) -> None:
        self.failed.emit(
            self._feedback.errors[-1]
            if self._feedback.errors
            else "The algorithm failed without a reason. The Log Messages panel may know more."
        )


def _id_of(value: Any) -> Any:
    """The id of a layer of the project, and anything else as it is.

    The parameters go to another thread as they are, where QGIS would crash on a layer that has been removed since.
    """
    if isinstance(value, QgsMapLayer) and QgsProject.instance().mapLayer(value.id()) is value:
        return value.id()
    return value


def message_of(error: Exception) -> str:
    """What to tell the user about an error: its message and the next step."""
    if isinstance(error, PluginError):
        return str(error)
    return f"{type(error).__name__}: {error}"
