"""Run, watch, cancel: the estimate and the button before, the progress during a run."""

from __future__ import annotations

from typing import Any

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


def describe_estimate(estimate: dict[str, Any]) -> str:
    """What a run will take: "1,024 × 768 px, 6 tiles, 1.1 GB memory, 4 MB disk, about 20 s"."""
    parts = [
        f"{estimate['width']:,} × {estimate['height']:,} px",
        f"{estimate['tiles']:,} tile{'' if estimate['tiles'] == 1 else 's'}",
        f"{describe_bytes(estimate['memory_bytes'])} memory",
        f"{describe_bytes(estimate['disk_bytes'])} disk",
    ]
    if estimate.get("seconds") is not None:
        parts.append(f"about {describe_seconds(estimate['seconds'])}".replace(" ", "\u00a0"))
    return ", ".join(parts)


def describe_synthesis(estimate: dict[str, Any]) -> str:
    """What a synthesis will take: "2 events change 310 m², 4 tiles, 1.1 GB memory, 4 MB disk, about 20 s"."""
    events = sum(estimate["events"].values())
    areas = estimate["changed_m2"]
    changed = f"{sum(estimate['changed_px']):,} px" if None in areas else describe_area(sum(areas))
    verb = "event changes" if events == 1 else "events change"
    parts = [
        f"{events:,} {verb} {changed}",
        f"{estimate['tiles']:,} tile{'' if estimate['tiles'] == 1 else 's'}",
        f"{describe_bytes(estimate['memory_bytes'])} memory",
        f"{describe_bytes(estimate['disk_bytes'])} disk",
    ]
    if estimate.get("seconds") is not None:
        parts.append(f"about {describe_seconds(estimate['seconds'])}".replace(" ", "\u00a0"))
    return ", ".join(parts)


def describe_shift(summary: dict[str, Any]) -> str:
    """What aligning the images undid: "The second image lay 6.0 columns and −3.0 rows off, 1.14 m; undone.", or ""."""
    shift = summary.get("shift")
    if not shift:
        return ""
    columns, rows = (f"{round(shift[name], 1) + 0.0:.1f}".replace("-", "−") for name in ("columns", "rows"))
    metres = "" if shift.get("metres") is None else f", {shift['metres']:.2f}\u00a0m"
    return f"The second image lay {columns} columns and {rows} rows off{metres}; undone."


def describe_area(square_metres: float) -> str:
    """An area as people say it: "310 m²", "2.4 ha"."""
    if square_metres >= 10_000:
        return f"{square_metres / 10_000:,.1f}\u00a0ha"
    return f"{square_metres:,.0f}\u00a0m²"


def describe_bytes(count: float) -> str:
    """Bytes in decimal units with two digits: "4.1 MB", "120 kB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            value = count / size
            return f"{value:.1f}\u00a0{unit}" if value < 10 else f"{value:,.0f}\u00a0{unit}"
    return f"{count:.0f} B"


def describe_seconds(seconds: float) -> str:
    """A duration as people say it: "20 s", "5 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
