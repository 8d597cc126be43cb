"""Go through the changed places one by one and say of each whether it is real."""

from __future__ import annotations

from qgis.core import NULL, QgsFeature, QgsFeatureRequest, QgsRectangle, QgsVectorLayer
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtWidgets import QWidget

from ..results import DetectionGroup
from .walk_bar import Answer, WalkBar

CONTEXT = 3.0
"""How many times its own size of surroundings is shown around a place."""


class ReviewBar(WalkBar):
    """Previous, next, confirm, reject; largest places first."""

    WHAT = "changed place"
    ORDER = ", the largest first"
    DONE = "reviewed"
    TO_DO = "to review"

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        confirm = Answer(
            "confirm", "Confirm", "Mark this place as a real change and go to the next one to review"
        )  # fmt: skip
        reject = Answer("reject", "Reject", "Mark this place as no change and go to the next one to review")
        super().__init__(canvas, confirm, reject, parent)
        self.confirm, self.reject = self.yes, self.no

    def layer_of(self, group: DetectionGroup) -> QgsVectorLayer | None:
        """The changed places."""
        return group.layer("polygons")

    def in_order(self, layer: QgsVectorLayer) -> list[int]:
        """The largest first; last those without an area, which were drawn by hand."""
        request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
        request.setSubsetOfAttributes(["area_px"], layer.fields())
        by_area = sorted(layer.getFeatures(request), key=lambda feature: (-_area(feature), feature.id()))
        return [feature.id() for feature in by_area]

    def open_filter(self) -> str:
        """Those to review; what was drawn by hand may have no mark at all."""
        return "coalesce(\"review\", 'unreviewed') = 'unreviewed'"

    def write(self, group: DetectionGroup, feature_id: int, answer: bool) -> bool:
        """Write a review mark."""
        return group.set_review(feature_id, "confirmed" if answer else "rejected")

    def surroundings(self, layer: QgsVectorLayer, feature: QgsFeature) -> QgsRectangle:
        """The place with its neighbourhood."""
        box = feature.geometry().boundingBox()
        side = max(box.width(), box.height()) * CONTEXT
        return QgsRectangle.fromCenterAndSize(box.center(), side, side)


def _area(feature: QgsFeature) -> float:
    area = feature["area_px"]
    return 0.0 if area == NULL else area
