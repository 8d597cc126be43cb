"""Look at a finished detection: choose it, move its threshold, review its places."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QTimer, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from .icons import qgis_icon
from .results import DetectionGroup, detection_groups, find_group
from .review_bar import ReviewBar
from .threshold_bar import ThresholdBar


class ResultPanel(QWidget):
    """Follows the project: hidden without results, and the newest result is chosen first.

    Signals:
        apply_clicked: a result is to be remade with a threshold; carries the `DetectionGroup` and 0..1.
        refused: something could not be done; carries the message.
    """

    apply_clicked = pyqtSignal(object, float)
    refused = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choice = QComboBox(self)
        self.choice.setToolTip("The detection to look at; each run is a group in the Layers panel")
        self.choice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.open_folder = QToolButton(self)
        self.open_folder.setIcon(qgis_icon("mActionFolder"))
        self.open_folder.setToolTip("Open the run folder with all files of this detection")
        self.open_folder.setAccessibleName("Open the run folder")
        self.threshold = ThresholdBar(self)
        self.review = ReviewBar(canvas, self)
        label = QLabel("Result", self)
        label.setBuddy(self.choice)
        rule = QFrame(self)
        rule.setFrameShape(QFrame.Shape.HLine)
        rule.setFrameShadow(QFrame.Shadow.Sunken)
        top = QHBoxLayout()
        top.addWidget(label)
        top.addWidget(self.choice, 1)
        top.addWidget(self.open_folder)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(rule)
        column.addLayout(top)
        column.addWidget(self.threshold)
        column.addWidget(self.review)
        self._later = QTimer(self)  # many layers come and go at once; look once afterwards
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.refresh)
        self._connect()
        self.refresh()

    def _connect(self) -> None:
        self.choice.currentIndexChanged.connect(self.show_current)
        self.open_folder.clicked.connect(self._open_folder)
        self.threshold.moved.connect(self._restyle)
        self.threshold.applied.connect(self._apply)
        self.review.refused.connect(self.refused)
        project = QgsProject.instance()
        for signal in (project.layersAdded, project.layersRemoved, project.readProject, project.cleared):
            signal.connect(self._project_changed)
        project.layerTreeRoot().nameChanged.connect(self._project_changed)

    def _project_changed(self, *_: Any) -> None:
        self._later.start(0)

    def current(self) -> DetectionGroup | None:
        """The chosen result, if it is still in the project."""
        wanted = self.choice.currentData()
        return find_group(QgsProject.instance(), wanted)

    def refresh(self, newest: bool = False) -> None:
        """Read the results from the project; keep the chosen one unless the newest is wanted."""
        groups = detection_groups(QgsProject.instance())
        before = self.choice.currentData()
        self.choice.blockSignals(True)
        self.choice.clear()
        for group in groups:
            self.choice.addItem(group.name, group.id)
        kept = self.choice.findData(before)
        self.choice.setCurrentIndex(kept if kept >= 0 and not newest else 0)
        self.choice.blockSignals(False)
        self.setVisible(bool(groups))
        if newest or self.choice.currentData() != before:
            self.show_current()

    def show_current(self) -> None:
        """Start the bars anew on the chosen result."""
        group = self.current()
        self.choice.setToolTip(group.name if group is not None else "")
        self.review.show_result(group)
        if group is not None:
            self.threshold.show_result(group.threshold)

    def _restyle(self, threshold: float) -> None:
        group = self.current()
        if group is not None:
            group.show_threshold(threshold)

    def _apply(self, threshold: float) -> None:
        group = self.current()
        if group is not None:
            self.apply_clicked.emit(group, threshold)

    def _open_folder(self) -> None:
        group = self.current()
        if group is not None and not QDesktopServices.openUrl(QUrl.fromLocalFile(group.folder)):
            self.refused.emit(f"No program opens folders here. The files are in {group.folder}.")
