"""Choose when a series begins and how far apart its images are."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtCore import QDate, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QDateEdit, QHBoxLayout, QSpinBox, QWidget

from ..temporal import UNITS, Timeline


class DatesPicker(QWidget):
    """The time from each step to the next: a number and a unit.

    Attributes:
        start: the date of the image; it is placed by the form, in a row of its own.

    Signals:
        changed: `parameters` may have changed.
    """

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.start = QDateEdit(QDate.currentDate(), parent or self)
        self.start.setCalendarPopup(True)
        self.start.setDisplayFormat("yyyy-MM-dd")
        self.start.setToolTip("The date of the image; in QGIS's temporal controller the series begins here")
        self.amount = QSpinBox(self)
        self.amount.setRange(1, 10_000)
        self.amount.setToolTip("How far apart the images of the series are")
        self.unit = QComboBox(self)
        for unit in UNITS:
            self.unit.addItem(unit, unit)
        self.unit.setToolTip("The unit of the time between two images")
        self.unit.setAccessibleName(self.unit.toolTip())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.amount, 1)
        row.addWidget(self.unit, 1)
        self.show_timeline(Timeline(self._start()))
        for signal in (self.start.dateChanged, self.amount.valueChanged, self.unit.currentIndexChanged):
            signal.connect(lambda _: self.changed.emit())

    def _start(self) -> Any:
        return self.start.dateTime().toPyDateTime()

    def timeline(self) -> Timeline:
        """When the steps are."""
        return Timeline(self._start(), self.amount.value(), self.unit.currentData())

    def show_timeline(self, timeline: Timeline) -> None:
        """Choose the dates of an earlier series."""
        self.start.setDate(QDate(timeline.start.year, timeline.start.month, timeline.start.day))
        self.amount.setValue(timeline.amount)
        self.unit.setCurrentIndex(self.unit.findData(timeline.unit))

    def parameters(self) -> dict[str, Any]:
        """The dates as parameters of `changen2:synthesizechange`."""
        return {
            "START_DATE": self.start.date().toString(Qt.DateFormat.ISODate),
            "INTERVAL": self.amount.value(),
            "INTERVAL_UNIT": self.unit.currentData(),
        }
