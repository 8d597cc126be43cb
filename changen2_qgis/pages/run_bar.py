"""Run, watch, cancel: the estimate and the button before, the progress during a run."""

from __future__ import annotations

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ..icons import qgis_icon


class RunBar(QWidget):
    """A line of text above either the Run button or a progress bar with Cancel.

    Args:
        action: the button's text, such as "Detect change".

    Signals:
        run_clicked, cancel_clicked: the user wants it so.
    """

    run_clicked = pyqtSignal()
    cancel_clicked = pyqtSignal()

    def __init__(self, action: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.run = QPushButton(qgis_icon("mActionStart"), action, self)
        self.run.setToolTip(tip)
        self.progress = QProgressBar(self)
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(True)
        self.cancel = QPushButton(qgis_icon("mTaskCancel"), "Cancel", self)
        self.cancel.setToolTip("Stop this run; nothing is added to the project")
        running = QWidget(self)
        row = QHBoxLayout(running)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.progress, 1)
        row.addWidget(self.cancel)
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self.run)
        self._stack.addWidget(running)
        self._stack.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.note)
        column.addWidget(self._stack)
        self.run.clicked.connect(self.run_clicked)
        self.cancel.clicked.connect(self._cancel)

    @property
    def running(self) -> bool:
        """Whether progress is shown."""
        return self._stack.currentIndex() == 1

    def say(self, text: str) -> None:
        """Show a line above the button: an estimate, what is missing, what is being done."""
        self.note.setText(text)

    def set_running(self, running: bool) -> None:
        """Change between the button and the progress bar; the focus goes along if it is here, and else stays."""
        focused = QApplication.focusWidget()
        has_focus = focused is not None and (focused is self or self.isAncestorOf(focused))
        self._stack.setCurrentIndex(int(running))
        self.cancel.setEnabled(True)
        self.progress.setRange(0, 0 if running else 1000)  # busy until the first figure
        if has_focus:
            (self.cancel if running else self.run).setFocus()

    def set_progress(self, percent: float) -> None:
        """Show the share done, 0..100."""
        self.progress.setRange(0, 1000)
        self.progress.setValue(round(10 * percent))
        self.progress.setFormat(f"{percent:.0f} %")

    def _cancel(self) -> None:
        if self.cancel.hasFocus():  # or Qt gives it to whatever comes next
            self.setFocus()
        self.cancel.setEnabled(False)
        self.say("Cancelling…")
        self.cancel_clicked.emit()
