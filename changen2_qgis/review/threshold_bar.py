"""Move the threshold of a finished detection: the map follows at once, Apply remakes the polygons."""

from __future__ import annotations

from qgis.gui import QgsDoubleSpinBox
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QWidget

RESTYLE_DELAY_MS = 40
"""One repaint for a burst of slider steps."""


class ThresholdBar(QWidget):
    """A slider and a number that stay equal, and an Apply button.

    Signals:
        moved: the threshold to draw the probability with, 0..1; a burst of moves gives one signal.
        applied: the threshold to remake polygons and binary map with, 0..1.
    """

    moved = pyqtSignal(float)
    applied = pyqtSignal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._made_with = 0.5
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(1, 99)
        self.slider.setPageStep(5)
        self.slider.setToolTip("Show change from this probability up; nothing is computed again")
        self.number = QgsDoubleSpinBox(self)
        self.number.setRange(0.01, 0.99)
        self.number.setSingleStep(0.01)
        self.number.setDecimals(2)
        self.number.setShowClearButton(False)
        self.number.setMaximumWidth(70)
        self.number.setAccessibleName("Threshold shown")
        self.number.setToolTip("Show change from this probability up; nothing is computed again")
        self.apply = QPushButton("Apply", self)
        self.apply.setToolTip("Remake the polygons and the yes-or-no map with this threshold, without the model")
        label = QLabel("Threshold", self)
        label.setBuddy(self.slider)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget, stretch in ((label, 0), (self.slider, 1), (self.number, 0), (self.apply, 0)):
            row.addWidget(widget, stretch)
        self._delay = QTimer(self)
        self._delay.setSingleShot(True)
        self._delay.setInterval(RESTYLE_DELAY_MS)
        self._delay.timeout.connect(lambda: self.moved.emit(self.value()))
        self.slider.valueChanged.connect(lambda percent: self.number.setValue(percent / 100))
        self.number.valueChanged.connect(self._number_changed)
        self.apply.clicked.connect(lambda: self.applied.emit(self.value()))

    def value(self) -> float:
        """The threshold shown, 0..1."""
        return round(self.number.value(), 2)

    def show_result(self, made_with: float, shown: float) -> None:
        """Start from the threshold that the map shows of a result; nothing is signalled.

        Args:
            made_with: the threshold of its polygons, 0..1.
            shown: the threshold that its probability is drawn with, 0..1.
        """
        self._made_with = round(made_with, 2)
        for control, value in ((self.number, shown), (self.slider, round(100 * shown))):
            control.blockSignals(True)
            control.setValue(value)
            control.blockSignals(False)
        self._delay.stop()
        self.apply.setEnabled(self.value() != self._made_with)

    def _number_changed(self, value: float) -> None:
        self.slider.blockSignals(True)
        self.slider.setValue(round(100 * value))
        self.slider.blockSignals(False)
        self.apply.setEnabled(self.value() != self._made_with)
        self._delay.start()
