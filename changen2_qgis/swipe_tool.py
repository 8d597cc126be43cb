"""Compare two layers, or two states of the map, by dragging a divider over the canvas.

Both sides are drawn anew over the canvas, each with its own layers, whatever the layer tree and the temporal
controller show at the moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from qgis.core import QgsMapLayer, QgsMapRendererParallelJob, QgsMapSettings, QgsProject
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem, QgsMapMouseEvent, QgsMapTool
from qgis.PyQt.QtCore import QObject, QPointF, QRectF, QSizeF, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QColor, QImage, QKeyEvent, QPainter, QPen
from qgis.PyQt.QtWidgets import QStyleOptionGraphicsItem, QWidget

from .map_tools import give_back, take_over

GRIP = 9
"""Half the width of the divider's handle, in pixels."""
KEYS = {Qt.Key.Key_Comma: -0.05, Qt.Key.Key_Period: 0.05}
"""By how much of the canvas's width a key moves the divider: QGIS keeps the arrows for panning."""
ABOVE_ALL = 90
"""Over the map and rubber bands."""


@dataclass(frozen=True)
class Side:
    """What is seen on one side of the divider.

    Attributes:
        layers: from top to bottom.
        title: written at the top of the side; may be empty.
        in_time: the temporal controller decides which of the layers are seen, as on the canvas.
    """

    layers: tuple[QgsMapLayer, ...]
    title: str = ""
    in_time: bool = False

    @classmethod
    def of(cls, layer: QgsMapLayer) -> Side:
        """One layer under its own name."""
        return cls((layer,), layer.name())


class Swipe(QObject):
    """Lets the user swipe between two sides until Esc or another map tool.

    Signals:
        ended: the canvas shows the map again.
    """

    ended = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self.tool = SwipeTool(canvas)
        self.tool.abandoned.connect(self.stop)
        self.tool.deactivated.connect(self.ended)

    @property
    def active(self) -> bool:
        """Whether the divider is on the canvas."""
        return self._canvas.mapTool() is self.tool

    def start(self, left: Side, right: Side) -> None:
        """Show two sides; what was compared before makes way."""
        self.tool.compare(left, right)
        take_over(self._canvas, self.tool)

    def stop(self) -> None:
        """Give the canvas its map and its former tool back."""
        if self.active:
            give_back(self._canvas)


class SwipeTool(QgsMapTool):
    """The map tool: drag, click or press comma and full stop to place the divider, Esc to leave."""

    abandoned = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self._sides = (Side(()), Side(()))
        self._jobs: dict[int, QgsMapRendererParallelJob] = {}  # by the side they draw
        self._item: SwipeItem | None = None
        self._dragging = False
        self._later = QTimer(self)  # the map is moved and zoomed in bursts; draw once after each
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.render)

    @property
    def item(self) -> SwipeItem | None:
        """What lies over the canvas; None while the tool is not in use."""
        return self._item

    @property
    def rendering(self) -> bool:
        """Whether a side is still being drawn."""
        return self._later.isActive() or bool(self._jobs)

    def compare(self, left: Side, right: Side) -> None:
        """Choose what is compared."""
        in_use = self._item is not None
        if in_use:
            self._leave_layers()
        self._sides = (left, right)
        if in_use:
            self._follow_layers()
            self._render_soon()

    def activate(self) -> None:
        """Lay the divider over the middle of the canvas."""
        super().activate()
        if not self._layers():  # QGIS chose this tool again after another, and knows not that it has ended
            QTimer.singleShot(0, self.abandoned)
            return
        self._item = SwipeItem(self.canvas())
        for signal in self._moves():
            signal.connect(self._render_soon)
        QgsProject.instance().layersWillBeRemoved.connect(self._forget)
        self._follow_layers()
        self.render()

    def deactivate(self) -> None:
        """Leave nothing on the canvas, and forget the layers, which may go."""
        if self._item is not None:
            self._leave_layers()
            for signal in self._moves():
                signal.disconnect(self._render_soon)
            QgsProject.instance().layersWillBeRemoved.disconnect(self._forget)
            self.canvas().scene().removeItem(self._item)
            self._item = None
        self._sides = (Side(()), Side(()))
        super().deactivate()

    def _moves(self) -> list[Any]:
        """Signals of the canvas after which the pictures are no longer right."""
        canvas = self.canvas()
        return [
            canvas.extentsChanged,
            canvas.destinationCrsChanged,
            canvas.rotationChanged,
            canvas.temporalRangeChanged,
        ]

    def _layers(self) -> list[QgsMapLayer]:
        return list({layer.id(): layer for side in self._sides for layer in side.layers}.values())

    def _follow_layers(self) -> None:
        for layer in self._layers():
            layer.repaintRequested.connect(self._render_soon)
        left, right = self._sides
        if self._item is not None:
            self._item.titles = (left.title, right.title)

    def _leave_layers(self) -> None:
        self._later.stop()
        self._cancel()
        for layer in self._layers():
            layer.repaintRequested.disconnect(self._render_soon)

    def _render_soon(self, *_: Any) -> None:
        self._later.start(0)

    def _forget(self, layer_ids: list[str]) -> None:
        """Leave when a layer that is compared is about to go."""
        if any(layer.id() in layer_ids for layer in self._layers()):
            self.abandoned.emit()

    def render(self) -> None:
        """Draw both sides for what the canvas shows now, in the background."""
        self._cancel()
        if self._item is None:
            return
        for number, side in enumerate(self._sides):
            settings = QgsMapSettings(self.canvas().mapSettings())
            settings.setLayers(list(side.layers))
            if not side.in_time:
                settings.setIsTemporal(False)
            job = QgsMapRendererParallelJob(settings)
            job.setParent(self)  # or Python would delete it in the middle of its own signal
            # A slot that holds the job would keep it, and its picture.
            job.finished.connect(partial(self._take, number))
            self._jobs[number] = job
            job.start()

    def _take(self, number: int) -> None:
        job = self._jobs.pop(number)
        job.deleteLater()
        if self._item is not None:
            self._item.set_image(number, job.renderedImage(), job.mapSettings())

    def _cancel(self) -> None:
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            job.finished.disconnect()  # it ends at once, and nothing is to be taken
            job.cancel()
            job.deleteLater()

    def canvasPressEvent(self, event: QgsMapMouseEvent) -> None:
        """Take the divider to the mouse."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._dragging = True
            self._place(event.pos().x())

    def canvasMoveEvent(self, event: QgsMapMouseEvent) -> None:
        """Drag the divider."""
        if self._dragging:
            self._place(event.pos().x())

    def canvasReleaseEvent(self, event: QgsMapMouseEvent) -> None:
        """Let go of the divider."""
        if self._dragging and event.button() == Qt.MouseButton.LeftButton:
            self._dragging = False
            self._place(event.pos().x())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the divider, or leave on Esc; every other key goes to the canvas."""
        if event.key() == Qt.Key.Key_Escape:
            event.accept()
            self.abandoned.emit()
        elif event.key() in KEYS and self._item is not None:
            event.accept()
            self._item.set_divider(self._item.divider + KEYS[event.key()])
        else:
            event.ignore()

    def _place(self, x: float) -> None:
        if self._item is not None:
            self._item.set_divider(x / max(1.0, self._item.boundingRect().width()))


class SwipeItem(QgsMapCanvasItem):
    """Two pictures of the map side by side, and the line between them.

    Attributes:
        divider: place of the line, as a share 0..1 of the canvas's width from its left.
        titles: of the left and the right side.
    """

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self.divider = 0.5
        self.titles = ("", "")
        self._images: dict[int, tuple[QImage, QgsMapSettings]] = {}
        self.setZValue(ABOVE_ALL)

    def set_divider(self, share: float) -> None:
        """Move the line, within the canvas."""
        self.divider = min(max(share, 0.0), 1.0)
        self.update()

    def set_image(self, number: int, image: QImage, settings: QgsMapSettings) -> None:
        """Show a new picture on the left (0) or the right (1)."""
        self._images[number] = image, settings
        self.update()

    def updatePosition(self) -> None:
        """Stay where the canvas is; the pictures are placed when they are drawn."""
        self.prepareGeometryChange()
        self.setPos(QPointF(0, 0))

    def boundingRect(self) -> QRectF:
        """The map as the canvas shows it, without the canvas's frame."""
        return QRectF(QPointF(0, 0), QSizeF(self._canvas.mapSettings().outputSize()))

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem | None = None, widget: QWidget | None = None
    ) -> None:
        """Called by Qt."""
        whole = self.boundingRect()
        at = round(self.divider * whole.width())
        sides = (QRectF(0, 0, at, whole.height()), QRectF(at, 0, whole.width() - at, whole.height()))
        for number, side in enumerate(sides):
            if number in self._images:
                painter.save()
                painter.setClipRect(side)
                image, settings = self._images[number]
                painter.drawImage(self._place_of(settings), image)
                painter.restore()
                _write(painter, self.titles[number], side, number)
        _draw_divider(painter, at, whole.height())

    def _place_of(self, settings: QgsMapSettings) -> QRectF:
        """Where a picture lies on the canvas: until it is drawn anew, it moves along with the map."""
        extent = settings.visibleExtent()
        if settings.rotation() or extent == self._canvas.mapSettings().visibleExtent():
            return self.boundingRect()
        to_canvas = self._canvas.getCoordinateTransform()
        top_left = to_canvas.transform(extent.xMinimum(), extent.yMaximum())
        bottom_right = to_canvas.transform(extent.xMaximum(), extent.yMinimum())
        return QRectF(top_left.toQPointF(), bottom_right.toQPointF())


def _draw_divider(painter: QPainter, x: int, height: float) -> None:
    """A white line with dark edges, readable on any imagery, and a handle with two arrow heads."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    middle = height / 2
    for colour, width in (("#202020", 4), ("#ffffff", 2)):
        painter.setPen(QPen(QColor(colour), width))
        painter.drawLine(QPointF(x, 0), QPointF(x, height))
    painter.setPen(QPen(QColor("#202020"), 1))
    painter.setBrush(QColor("#ffffff"))
    painter.drawEllipse(QPointF(x, middle), GRIP, GRIP)
    painter.setPen(QPen(QColor("#202020"), 1.6))
    for way in (-1, 1):
        tip = QPointF(x + way * 6, middle)
        painter.drawLine(tip, QPointF(x + way * 2.5, middle - 3.5))
        painter.drawLine(tip, QPointF(x + way * 2.5, middle + 3.5))


def _write(painter: QPainter, title: str, side: QRectF, number: int) -> None:
    """A side's title in its outer top corner, where there is room for it."""
    words = painter.fontMetrics().boundingRect(title)
    box = QRectF(0, 0, words.width() + 12, words.height() + 6)
    if not title or box.width() + 2 * GRIP > side.width():
        return
    box.moveTop(6)
    if number == 0:
        box.moveLeft(6)
    else:
        box.moveRight(side.right() - 6)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(255, 255, 255, 215))
    painter.drawRoundedRect(box, 3, 3)
    painter.setPen(QColor("#202020"))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, title)
