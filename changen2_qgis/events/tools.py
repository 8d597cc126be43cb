"""The map tools that draw change events: a polygon, a rectangle, an object as it is, a stamped copy of one.

They know no layer of events: each says what was drawn as a geometry with its CRS.

Signals of all four:
    drawn: a `MapObject` that the user drew or chose.
    abandoned: Esc: the user wants the former tool back.
    failed: nothing came of a click; carries the message.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from qgis.core import QgsFeature, QgsGeometry, QgsPointXY, QgsRectangle, QgsWkbTypes
from qgis.gui import (
    QgsAdvancedDigitizingDockWidget,
    QgsMapCanvas,
    QgsMapMouseEvent,
    QgsMapTool,
    QgsMapToolCapture,
    QgsMapToolDigitizeFeature,
    QgsRubberBand,
)
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QKeyEvent, QTransform, QWheelEvent

from ..errors import InputError
from ..map_tools import ExtentTool
from .objects import MapObject, transformed

FindObject = Callable[[QgsPointXY], MapObject]
"""From a point in map coordinates to the object there; raises `InputError` where there is none."""

TURN_BY_KEY = 15.0
TURN_BY_WHEEL = 5.0
"""Degrees."""


class PolygonTool(QgsMapToolDigitizeFeature):
    """QGIS's own digitizing, with snapping, tracing and the panel of exact measures; Esc on a clean map leaves."""

    drawn = pyqtSignal(object)
    abandoned = pyqtSignal()
    failed = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, measures: QgsAdvancedDigitizingDockWidget) -> None:
        super().__init__(canvas, measures, QgsMapToolCapture.CaptureMode.CapturePolygon)
        self.digitizingCompleted.connect(self._take)
        self.messageEmitted.connect(lambda message, _level: self.failed.emit(message))

    def capabilities(self) -> QgsMapToolCapture.Capabilities:
        """Curves, but not the check that QGIS runs in a thread of its own while one draws.

        What crosses itself is repaired when the polygon is finished, so nothing need run beside the drawing.
        """
        return QgsMapToolCapture.Capabilities(QgsMapToolCapture.Capability.SupportsCurves)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc gives up the polygon begun; if there is none, the tool."""
        if event.key() == Qt.Key.Key_Escape and not self.isCapturing():
            event.accept()
            self.abandoned.emit()
        else:
            super().keyPressEvent(event)

    def deactivate(self) -> None:
        """Another tool was chosen."""
        # QGIS's own way makes the layer of before the drawing current again, even one that has been removed since,
        # and crashes. The events shall stay current anyway: undo is theirs.
        QgsMapToolCapture.deactivate(self)

    def _take(self, feature: QgsFeature) -> None:
        if self.layer() is None:
            return  # the events were removed while the tool was laid aside
        # QGIS has brought it to the CRS of the layer that is drawn on.
        self.drawn.emit(MapObject(feature.geometry(), self.layer().crs()))


class RectangleTool(ExtentTool):
    """Drag a rectangle, upright on the map."""

    drawn = pyqtSignal(object)
    failed = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self.extentChanged.connect(self._take)

    def _take(self, rectangle: QgsRectangle) -> None:
        self.clearRubberBand()
        if rectangle.isEmpty():
            self.failed.emit("Drag from one corner of the rectangle to the opposite one.")
            return
        crs = self.canvas().mapSettings().destinationCrs()
        self.drawn.emit(MapObject(QgsGeometry.fromRect(rectangle), crs))


class ObjectTool(QgsMapTool):
    """Click an object to take its outline as it is.

    Args:
        canvas: the map.
        find: looks for the object.
    """

    drawn = pyqtSignal(object)
    abandoned = pyqtSignal()
    failed = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, find: FindObject) -> None:
        super().__init__(canvas)
        self._find = find
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def canvasReleaseEvent(self, event: QgsMapMouseEvent) -> None:
        """Take the object under the left button."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        try:
            found = self._find(self.toMapCoordinates(event.pos()))
        except InputError as error:
            self.failed.emit(str(error))
            return
        self.drawn.emit(found)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leave the tool on Esc."""
        _leave_on_escape(self, event)


class StampTool(QgsMapTool):
    """Click an object, then click wherever a copy of its outline shall stand.

    The copy follows the mouse; R (Shift+R backwards) or Ctrl and the wheel turn it, a right click takes another
    outline, Esc leaves.

    Args:
        canvas: the map.
        find: looks for the object to copy.

    Signals:
        taken: whether there is an outline to place.
    """

    drawn = pyqtSignal(object)
    abandoned = pyqtSignal()
    failed = pyqtSignal(str)
    taken = pyqtSignal(bool)

    def __init__(self, canvas: QgsMapCanvas, find: FindObject) -> None:
        super().__init__(canvas)
        self._find = find
        self._outline: QgsGeometry | None = None  # in map coordinates
        self._angle = 0.0
        self._position = QgsPointXY()
        self._latitude = 0.0
        self._band = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._band.setWidth(2)
        self.set_colour(QColor("#0072b2"))
        self.setCursor(Qt.CursorShape.CrossCursor)

    def set_colour(self, colour: QColor) -> None:
        """Show the copy in the colour of the event it will be."""
        self._band.setStrokeColor(colour)
        self._band.setFillColor(QColor(colour.red(), colour.green(), colour.blue(), 60))

    def canvasMoveEvent(self, event: QgsMapMouseEvent) -> None:
        """The copy follows."""
        self._position = self.toMapCoordinates(event.pos())
        self._show()

    def canvasReleaseEvent(self, event: QgsMapMouseEvent) -> None:
        """Left: take the outline, then place copies. Right: take another."""
        self._position = self.toMapCoordinates(event.pos())
        if event.button() == Qt.MouseButton.RightButton:
            self.forget()
        elif event.button() == Qt.MouseButton.LeftButton and self._outline is None:
            self._pick()
        elif event.button() == Qt.MouseButton.LeftButton:
            self.drawn.emit(MapObject(self._copy(), self.canvas().mapSettings().destinationCrs()))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Turn while Ctrl is held; otherwise zoom as ever."""
        turning = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        if self._outline is None or not turning:
            event.ignore()
            return
        event.accept()
        self._turn(-TURN_BY_WHEEL * event.angleDelta().y() / 120)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """R turns, Esc leaves."""
        if event.key() == Qt.Key.Key_R and self._outline is not None:
            event.accept()
            back = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            self._turn(-TURN_BY_KEY if back else TURN_BY_KEY)
        else:
            _leave_on_escape(self, event)

    def deactivate(self) -> None:
        """Another tool was chosen."""
        self.forget()
        super().deactivate()

    def forget(self) -> None:
        """Let go of the outline."""
        self._outline = None
        self._angle = 0.0
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        self.taken.emit(False)

    def remove(self) -> None:
        """Leave nothing on the canvas; for the end of the plugin."""
        self.canvas().scene().removeItem(self._band)

    def _pick(self) -> None:
        try:
            found = self._find(self._position)
            outline = transformed(found.geometry, found.crs, self.canvas().mapSettings().destinationCrs())
        except InputError as error:
            self.failed.emit(str(error))
            return
        middle = outline.boundingBox().center()
        outline.translate(-middle.x(), -middle.y())
        self._outline = outline
        self._latitude = middle.y()
        self._show()
        self.taken.emit(True)

    def _turn(self, degrees: float) -> None:
        self._angle = (self._angle + degrees) % 360
        self._show()

    def _show(self) -> None:
        if self._outline is not None:
            self._band.setToGeometry(self._copy(), None)

    def _copy(self) -> QgsGeometry:
        """The outline, turned clockwise, at the mouse."""
        # Where map units are degrees, one of longitude is shorter on the ground than one of latitude.
        degrees = self.canvas().mapSettings().destinationCrs().isGeographic()
        then, now = (
            math.cos(math.radians(latitude)) if degrees else 1.0 for latitude in (self._latitude, self._position.y())
        )
        turned = QTransform.fromScale(then, 1.0) * QTransform().rotate(-self._angle) * QTransform.fromScale(1 / now, 1)
        copy = QgsGeometry(self._outline)
        copy.transform(turned)
        copy.translate(self._position.x(), self._position.y())
        return copy


def _leave_on_escape(tool: QgsMapTool, event: QKeyEvent) -> None:
    if event.key() == Qt.Key.Key_Escape:
        event.accept()
        tool.abandoned.emit()
    else:
        event.ignore()
