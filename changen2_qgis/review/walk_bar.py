"""Go through the features of a layer one by one and give one of two answers about each."""

from __future__ import annotations

from itertools import chain, islice
from typing import NamedTuple

from qgis.core import (
    QgsCoordinateTransform,
    QgsCsException,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsHighlight, QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from ..icons import own_icon, qgis_icon
from ..results import DetectionGroup, find_group
from ..widgets.tool_button import tool_button

NEAR = 100
"""Places in which the next open one is looked for, before it is in all of them: a million take seconds."""


class Answer(NamedTuple):
    """One of the two answers, as its button shows it."""

    icon: str
    text: str
    tip: str


class WalkBar(QWidget):
    """Previous, next, and two answers, after which the next open feature is shown.

    Subclasses say which layer of a result, in which order, what is open, and write the answers.

    Signals:
        refused: an answer could not be written, or a place not be shown; carries the message.
    """

    refused = pyqtSignal(str)

    WHAT = "place"
    """What a feature is, for tooltips."""

    ORDER = ""
    """What comes first, for a tooltip."""

    DONE = "answered"
    """What a feature is after an answer."""

    TO_DO = "to answer"
    """What is to be done with those that are open."""

    def __init__(self, canvas: QgsMapCanvas, yes: Answer, no: Answer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._group_id = ""
        self._ids: list[int] = []
        self._may_differ = True  # the ids from those of the layer
        self._watched: set[str] = set()  # ids of the layers that tell so
        self._at = -1
        self._shown = QgsGeometry()  # the shape of the place that was shown last
        self._highlight: QgsHighlight | None = None
        self.previous = tool_button(self, qgis_icon("mActionArrowLeft"), f"Show the previous {self.WHAT}")
        self.next = tool_button(self, qgis_icon("mActionArrowRight"), f"Show the next {self.WHAT}{self.ORDER}")
        self.position = QLabel(self)
        self.position.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.yes, self.no = (self._answer_button(answer) for answer in (yes, no))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.previous, self.next, self.position, self.yes, self.no):
            row.addWidget(widget)
        self.previous.clicked.connect(lambda: self._step(-1))
        self.next.clicked.connect(lambda: self._step(1))
        self.yes.clicked.connect(lambda: self._answer(True))
        self.no.clicked.connect(lambda: self._answer(False))
        self.show_result(None)

    # What subclasses say

    def layer_of(self, group: DetectionGroup) -> QgsVectorLayer | None:
        """The layer to go through."""
        raise NotImplementedError

    def in_order(self, layer: QgsVectorLayer) -> list[int]:
        """The ids of its features, the first to be shown first."""
        raise NotImplementedError

    def open_filter(self) -> str:
        """An expression that is true for features without an answer."""
        raise NotImplementedError

    def write(self, group: DetectionGroup, feature_id: int, answer: bool) -> bool:
        """Write an answer; False where that is not possible."""
        raise NotImplementedError

    def surroundings(self, layer: QgsVectorLayer, feature: QgsFeature) -> QgsRectangle:
        """What to show of the map around a feature, in the layer's CRS."""
        raise NotImplementedError

    # What they share

    def _answer_button(self, answer: Answer) -> QPushButton:
        button = QPushButton(own_icon(answer.icon), answer.text, self)
        button.setToolTip(answer.tip)
        return button

    def show_result(self, group: DetectionGroup | None) -> None:
        """Take up a result, before its first feature; None puts the bar to rest."""
        self._group_id = "" if group is None else group.id
        self._at = -1
        self._ids = []
        self._may_differ = True
        self._clear_highlight()
        self._read_ids()
        self._show_position()

    @property
    def _group(self) -> DetectionGroup | None:
        """The result, looked up each time: the user may have removed it from the Layers panel."""
        return find_group(QgsProject.instance(), self._group_id) if self._group_id else None

    def _layer(self) -> QgsVectorLayer | None:
        group = self._group
        return self.layer_of(group) if group is not None else None

    def _read_ids(self) -> bool:
        """Look what is there by now; tell whether the place is there still, else where it was the next one is."""
        layer = self._layer()
        if layer is None:
            self._ids, self._at = [], -1
            return True
        self._watch(layer)
        if not self._may_differ and len(self._ids) == layer.featureCount():  # of 100,000 places asked at every step
            return True
        self._may_differ = False
        if set(self._ids) == set(layer.allFeatureIds()):
            return True
        before, self._ids = self._ids, self.in_order(layer)
        return self._at < 0 or self._find_place(layer, before)

    def _watch(self, layer: QgsVectorLayer) -> None:
        """Be told when places are drawn or deleted, numbered by saving, or replaced by those of another file."""
        if layer.id() in self._watched:
            return
        self._watched.add(layer.id())
        for signal in (
            layer.featureAdded,
            layer.featuresDeleted,
            layer.afterCommitChanges,
            layer.afterRollBack,
            layer.subsetStringChanged,
            layer.dataSourceChanged,
        ):
            signal.connect(self._expect_others)

    def _expect_others(self) -> None:
        self._may_differ = True

    def _find_place(self, layer: QgsVectorLayer, before: list[int]) -> bool:
        shown = before[self._at]
        if shown not in self._ids:
            shown = self._of_same_shape(layer)
        there = shown in self._ids
        self._at = self._ids.index(shown) if there else len(set(before[: self._at]).intersection(self._ids))
        return there

    def _of_same_shape(self, layer: QgsVectorLayer) -> int | None:
        """The place that was shown last, under the number that saving has given it."""
        nearby = layer.getFeatures(QgsFeatureRequest().setFilterRect(self._shown.boundingBox()))
        return next((feature.id() for feature in nearby if feature.geometry().equals(self._shown)), None)

    def _step(self, by: int) -> None:
        self._move(by, self._read_ids())

    def _move(self, by: int, there: bool) -> None:
        """Show the next or previous place; where the one shown is not there any more, its neighbour."""
        if not self._ids:
            self._at = -1
            self._clear_highlight()
            self._show_position()
        elif self._at < 0:
            self._go_to(0 if by > 0 else len(self._ids) - 1)
        else:
            self._go_to((self._at + (by if there or by < 0 else 0)) % len(self._ids))

    def _go_to(self, index: int) -> None:
        layer = self._layer()
        if layer is None:
            return
        feature = layer.getFeature(self._ids[index])
        if not feature.isValid():
            return
        self._at, self._shown = index, feature.geometry()
        self._zoom_to(layer, feature)
        self._show_position(feature)

    def _zoom_to(self, layer: QgsVectorLayer, feature: QgsFeature) -> None:
        self._clear_highlight()
        crs = self._canvas.mapSettings().destinationCrs()
        to_map = QgsCoordinateTransform(layer.crs(), crs, QgsProject.instance())
        try:
            self._canvas.setExtent(to_map.transformBoundingBox(self.surroundings(layer, feature)))
        except QgsCsException:
            self.refused.emit(
                f"This {self.WHAT} lies outside the project's CRS ({crs.userFriendlyIdentifier()}): "
                "choose another one to see it (Project > Properties > CRS)."
            )
            return
        self._highlight = QgsHighlight(self._canvas, feature, layer)
        layer.willBeDeleted.connect(self._clear_highlight)  # it is painted from the layer, which may go at any time
        self._highlight.setColor(QColor("#00b7ff"))
        self._highlight.setFillColor(QColor(0, 0, 0, 0))
        self._highlight.setWidth(3)
        self._highlight.show()
        self._canvas.refresh()

    def _clear_highlight(self) -> None:
        highlight, self._highlight = self._highlight, None
        if highlight is not None:
            highlight.layer().willBeDeleted.disconnect(self._clear_highlight)
            self._canvas.scene().removeItem(highlight)

    def _answer(self, answer: bool) -> None:
        group = self._group
        there = self._read_ids()
        if group is None or self._at < 0:
            return
        if not there:
            self.refused.emit(f"This {self.WHAT} was deleted; the answer was not saved. Look at the next one.")
            self._move(1, there)
            return
        if not self.write(group, self._ids[self._at], answer):
            self.refused.emit("The answer could not be saved. Check that the run folder can be written to.")
            return
        following = self._next_open()
        if following is None:
            self._show_position()
        else:
            self._go_to(following)

    def _next_open(self) -> int | None:
        layer = self._layer()
        order = chain(range(self._at + 1, len(self._ids)), range(self._at + 1))
        near = list(islice(order, NEAR))
        open_ids = self._open_among([self._ids[index] for index in near], layer)
        following = next((index for index in near if self._ids[index] in open_ids), None)
        if following is not None or len(near) == len(self._ids):
            return following
        request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
        open_ids = {feature.id() for feature in layer.getFeatures(request.setFilterExpression(self.open_filter()))}
        return next((index for index in order if self._ids[index] in open_ids), None)

    def _open_among(self, ids: list[int], layer: QgsVectorLayer) -> set[int]:
        is_open = QgsExpression(self.open_filter())
        context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))

        def of(feature: QgsFeature) -> bool:
            context.setFeature(feature)
            return bool(is_open.evaluate(context))

        request = QgsFeatureRequest(ids).setFlags(QgsFeatureRequest.Flag.NoGeometry)
        return {feature.id() for feature in layer.getFeatures(request) if of(feature)}

    def _show_position(self, feature: QgsFeature | None = None) -> None:
        count = len(self._ids)
        at_place = self._at >= 0 and count > 0
        for button in (self.previous, self.next):
            button.setEnabled(count > 0)
        for button in (self.yes, self.no):
            button.setEnabled(at_place)
        if not count:
            self.position.setText(f"Nothing {self.TO_DO}")
        elif feature is None and at_place:
            self.position.setText(f"All {count} {self.DONE}" if count > 1 else self.DONE.capitalize())
        else:
            self.position.setText(f"{self._at + 1} of {count}" if at_place else f"{count} {self.TO_DO}")
