"""What a new user meets first: one button that builds the backend's environment."""

from __future__ import annotations

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from ..backend import Backend
from ..background import BackgroundCall, message_of
from ..settings import Settings
from .run_bar import RunBar

WELCOME = (
    "<b>Changen2 finds what changed between two images of a place.</b><br><br>"
    "Its model runs in a Python environment of its own, so nothing is installed into QGIS. "
    "Building it takes a few minutes, about 1 GB of disk and, once, an internet connection."
)


class SetupPage(QWidget):
    """Explains, builds with progress, and says why where it fails.

    Signals:
        ready: the environment works.
        retry: the backend, which did not start, is to be tried again.
    """

    ready = pyqtSignal()
    retry = pyqtSignal()

    def __init__(self, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._backend = backend
        self._settings = Settings()
        self._task: BackgroundCall | None = None
        welcome = QLabel(WELCOME, self)
        welcome.setWordWrap(True)
        self.bar = RunBar("Set up the backend", "Build the Python environment that the model runs in", self)
        self.bar.cancel.setToolTip("Stop building; what was there before stays as it was")
        self.again = QPushButton("Try again", self)
        self.again.setToolTip("Start the backend that is there once more")
        self.again.hide()
        self.existing = QPushButton("Use an existing Python…", self)
        self.existing.setToolTip("Choose the interpreter of an environment in which the backend is installed")
        self.existing.hide()
        column = QVBoxLayout(self)
        column.addWidget(welcome)
        column.addSpacing(8)
        column.addWidget(self.bar)
        column.addWidget(self.again)
        column.addWidget(self.existing)
        column.addStretch(1)
        self.again.clicked.connect(self.retry)
        self.existing.clicked.connect(self._ask_for_python)
        self.bar.run_clicked.connect(self._build)
        self.bar.cancel_clicked.connect(self._cancel)

    def explain_failure(self, message: str) -> None:
        """Say why the backend that is there does not start, and offer all ways to one that does."""
        self.again.show()
        self.existing.show()
        self.bar.say(message)

    def _build(self) -> None:
        self.again.hide()
        self.existing.setEnabled(False)  # what is chosen meanwhile would not last: what is built is used
        self.bar.set_running(True)
        self.bar.say("Starting…")
        self._task = BackgroundCall("Set up the Changen2 backend", self._build_on_thread)
        self._task.progressChanged.connect(self.bar.set_progress)
        self._task.said.connect(self.bar.say)
        self._task.done.connect(self._succeed)
        self._task.failed.connect(self._fail)
        self._task.cancelled.connect(
            lambda: self._stop("Stopped. Nothing was changed; set up again whenever you like.")
        )
        self._task.start()

    def _build_on_thread(self, task: BackgroundCall) -> object:
        def report(share: float, text: str) -> None:
            task.setProgress(100 * share)
            task.say(text)

        return self._backend.set_up(report, task.isCanceled)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def shut_down(self) -> None:
        """Stop building, if it is under way; for the end of the dock."""
        if self._task is not None:
            self._task.abandon()

    def _ask_for_python(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Interpreter with the Changen2 backend")
        if path:
            self._settings.backend_python = path
            self.retry.emit()

    def _fail(self, error: Exception) -> None:
        self._stop(message_of(error))
        self.existing.show()

    def _succeed(self, probe: object) -> None:
        self._stop("")
        self.ready.emit()

    def _stop(self, text: str) -> None:
        self._task = None
        self.existing.setEnabled(True)
        self.bar.set_running(False)
        self.bar.say(text)
