"""Go through the changed places one by one and say of each whether it is real."""

from __future__ import annotations

from qgis.core import (
    QgsCoordinateTransform,
    QgsFeature,
    QgsFeatureRequest,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsHighlight, QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QWidget

from .icons import own_icon, qgis_icon
from .results import DetectionGroup

CONTEXT = 3.0
"""How many times its own size of surroundings is shown around a place."""


class ReviewBar(QWidget):
    """Previous, next, confirm, reject; largest places first.

    Signals:
        refused: a mark could not be written; carries the message.
    """

    refused = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._group: DetectionGroup | None = None
        self._ids: list[int] = []
        self._at = -1
        self._highlight: QgsHighlight | None = None
        self.previous = self._arrow("mActionArrowLeft", "Show the previous changed place")
        self.next = self._arrow("mActionArrowRight", "Show the next changed place, the largest first")
        self.position = QLabel(self)
        self.position.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.confirm = QPushButton(own_icon("confirm"), "Confirm", self)
        self.confirm.setToolTip("Mark this place as a real change and go to the next one to review")
        self.reject = QPushButton(own_icon("reject"), "Reject", self)
        self.reject.setToolTip("Mark this place as no change and go to the next one to review")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.previous, self.next, self.position, self.confirm, self.reject):
            row.addWidget(widget)
        self.previous.clicked.connect(lambda: self._step(-1))
        self.next.clicked.connect(lambda: self._step(1))
        self.confirm.clicked.connect(lambda: self._mark("confirmed"))
        self.reject.clicked.connect(lambda: self._mark("rejected"))
        self.show_result(None)

    def _arrow(self, icon: str, tip: str) -> QToolButton:
        button = QToolButton(self)
        button.setIcon(qgis_icon(icon))
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        return button

    def show_result(self, group: DetectionGroup | None) -> None:
        """Take up a result, before its first place; None puts the bar to rest."""
        self._group = group
        self._at = -1
        self._ids = []
        self._clear_highlight()
        self._read_ids()
        self._show_position()

    def _layer(self) -> QgsVectorLayer | None:
        return self._group.layer("polygons") if self._group is not None else None

    def _read_ids(self) -> None:
        layer = self._layer()
        if layer is None:
            self._ids = []
            return
        if len(self._ids) == layer.featureCount():
            return
        request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
        request.setSubsetOfAttributes(["area_px"], layer.fields())
        by_area = sorted(layer.getFeatures(request), key=lambda feature: (-feature["area_px"], feature.id()))
        self._ids = [feature.id() for feature in by_area]

    def _step(self, by: int) -> None:
        self._read_ids()
        if self._ids:
            self._go_to((self._at + by) % len(self._ids) if self._at >= 0 else (0 if by > 0 else len(self._ids) - 1))

    def _go_to(self, index: int) -> None:
        layer = self._layer()
        if layer is None:
            return
        feature = layer.getFeature(self._ids[index])
        if not feature.isValid():
            return
        self._at = index
        self._zoom_to(layer, feature)
        self._show_position(feature)

    def _zoom_to(self, layer: QgsVectorLayer, feature: QgsFeature) -> None:
        to_map = QgsCoordinateTransform(layer.crs(), self._canvas.mapSettings().destinationCrs(), QgsProject.instance())
        box = to_map.transformBoundingBox(feature.geometry().boundingBox())
        side = max(box.width(), box.height()) * CONTEXT
        self._canvas.setExtent(QgsRectangle.fromCenterAndSize(box.center(), side, side))
        self._clear_highlight()
        self._highlight = QgsHighlight(self._canvas, feature, layer)
        self._highlight.setColor(QColor("#00b7ff"))
        self._highlight.setFillColor(QColor(0, 0, 0, 0))
        self._highlight.setWidth(3)
        self._highlight.show()
        self._canvas.refresh()

    def _clear_highlight(self) -> None:
        if self._highlight is not None:
            self._canvas.scene().removeItem(self._highlight)
            self._highlight = None

    def _mark(self, state: str) -> None:
        if self._group is None or self._at < 0:
            return
        if not self._group.set_review(self._ids[self._at], state):
            self.refused.emit("The review mark could not be saved. Check that the run folder can be written to.")
            return
        following = self._next_unreviewed()
        if following is None:
            self._show_position()
        else:
            self._go_to(following)

    def _next_unreviewed(self) -> int | None:
        layer = self._layer()
        request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
        request.setFilterExpression("\"review\" = 'unreviewed'")
        open_ids = {feature.id() for feature in layer.getFeatures(request)}
        count = len(self._ids)
        order = ((self._at + step) % count for step in range(1, count + 1))
        return next((index for index in order if self._ids[index] in open_ids), None)

    def _show_position(self, feature: QgsFeature | None = None) -> None:
        count = len(self._ids)
        at_place = self._at >= 0 and count > 0
        for button in (self.previous, self.next):
            button.setEnabled(count > 0)
        for button in (self.confirm, self.reject):
            button.setEnabled(at_place)
        if not count:
            self.position.setText("Nothing to review")
        elif feature is None and at_place:
            self.position.setText(f"All {count} reviewed" if count > 1 else "Reviewed")
        else:
            self.position.setText(f"{self._at + 1} of {count}" if at_place else f"{count} to review")
