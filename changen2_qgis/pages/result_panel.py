"""Look at a finished detection: choose it, move its threshold, review its places."""

from __future__ import annotations

from qgis.core import QgsProject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from ..results import DetectionGroup, detection_groups
from ..review.assess_bar import AssessBar
from ..review.label_bar import LabelBar
from ..review.review_bar import ReviewBar
from ..review.threshold_bar import ThresholdBar
from ..swipe_tool import Side, Swipe
from .group_panel import GroupPanel


class ResultPanel(GroupPanel):
    """A panel for detections.

    Signals:
        apply_clicked: a result is to be remade with a threshold; carries the `DetectionGroup` and 0..1.
    """

    apply_clicked = pyqtSignal(object, float)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__("Result", "The detection to look at; each run is a group in the Layers panel", parent)
        self.threshold = ThresholdBar(self)
        self.review = ReviewBar(canvas, self)
        self.assess = AssessBar(self)
        self.label = LabelBar(canvas, self)
        self.column.addWidget(self.threshold)
        self.column.addWidget(self.review)
        self.column.addWidget(self.assess)
        self.column.addWidget(self.label)
        self.threshold.moved.connect(self._restyle)
        self.threshold.applied.connect(self._apply)
        self.review.refused.connect(self.refused)
        self.assess.refused.connect(self.refused)
        self.assess.ended.connect(lambda: self.label.show_result(self.current()))
        self.label.refused.connect(self.refused)
        self._swiping = Swipe(canvas, self)
        self._swiping.ended.connect(lambda: self.swipe.setChecked(False))
        self.swipe_clicked.connect(self._swipe)
        self.follow_project()

    def groups(self) -> list[DetectionGroup]:
        """The detections in the project."""
        return detection_groups(QgsProject.instance())

    def refresh(self, newest: bool = False) -> None:
        """Read the results from the project; a new one is assessed at once where the change is known."""
        super().refresh(newest)
        if newest:
            self.assess.assess_known()

    def show_current(self) -> None:
        """Start the bars anew on the chosen result."""
        group = self.current()
        self._swiping.stop()
        self.choice.setToolTip(group.name if group is not None else "")
        self.review.show_result(group)
        self.assess.show_result(group)
        self.label.show_result(group)
        if group is not None:
            self.threshold.show_result(group.threshold, group.shown_threshold)

    def shut_down(self) -> None:
        """Stop what runs and leave nothing on the canvas; for the end of the dock."""
        self.assess.shut_down()
        self.review.show_result(None)
        self.label.show_result(None)
        self._swiping.stop()

    def _restyle(self, threshold: float) -> None:
        group = self.current()
        if group is not None:
            group.show_threshold(threshold)

    def _apply(self, threshold: float) -> None:
        group = self.current()
        if group is not None:
            self.apply_clicked.emit(group, threshold)

    def _swipe(self) -> None:
        """Compare the two images that the detection was made from."""
        if self._swiping.active:
            self._swiping.stop()
            return
        group = self.current()
        images = group.images() if group is not None else None
        self.swipe.setChecked(images is not None)
        if images is None:
            self.refused.emit("The images of this detection are no longer where they were. Add them to the project.")
        else:
            self._swiping.start(*(Side.of(image) for image in images))
