"""Go through the points of a sample one by one and say of each whether the place changed."""

from __future__ import annotations

import math

from qgis.core import NULL, QgsFeature, QgsFeatureRequest, QgsRectangle, QgsVectorLayer
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtWidgets import QWidget

from ..results import DetectionGroup, write_attribute
from .walk_bar import Answer, WalkBar

CONTEXT_PIXELS = 160
"""Side of what is shown around a point, in pixels of the change map."""


class LabelBar(WalkBar):
    """Previous, next, changed, not changed, in the random order of the sample; hidden where there is none."""

    WHAT = "point"
    DONE = "labelled"
    TO_DO = "to label"

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        changed = Answer("confirm", "Changed", "This place looks changed; go to the next point without a label")
        same = Answer("reject", "Same", "This place looks the same, not changed; go to the next point without a label")
        super().__init__(canvas, changed, same, parent)

    def show_result(self, group: DetectionGroup | None) -> None:
        """Take up a result; its sample, if it has one."""
        super().show_result(group)
        self.setVisible(group is not None and group.layer("points") is not None)

    def layer_of(self, group: DetectionGroup) -> QgsVectorLayer | None:
        """The sample."""
        return group.layer("points")

    def in_order(self, layer: QgsVectorLayer) -> list[int]:
        """By number, which is random already; points that the user has added have none and come last."""
        request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
        return [feature.id() for feature in sorted(layer.getFeatures(request), key=_number)]

    def open_filter(self) -> str:
        """Those without a label."""
        return '"reference" IS NULL'

    def write(self, group: DetectionGroup, feature_id: int, answer: bool) -> bool:
        """Write a label."""
        layer = group.layer("points")
        if layer is None or not write_attribute(layer, "reference", {feature_id: int(answer)}):
            return False
        layer.setRenderer(layer.renderer().clone())  # so that the legend counts the labels again
        return True

    def surroundings(self, layer: QgsVectorLayer, feature: QgsFeature) -> QgsRectangle:
        """A square of pixels around the point."""
        group = self._group
        change = None if group is None else group.layer("change")
        pixel = 1.0 if change is None else change.rasterUnitsPerPixelX()
        side = CONTEXT_PIXELS * pixel
        return QgsRectangle.fromCenterAndSize(feature.geometry().asPoint(), side, side)


def _number(feature: QgsFeature) -> float:
    number = feature["number"]
    return math.inf if number == NULL else number
