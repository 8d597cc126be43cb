"""Tools that act on the map canvas."""

from __future__ import annotations

from qgis.core import QgsGeometry, QgsRectangle, QgsReferencedRectangle, QgsWkbTypes
from qgis.gui import QgsMapCanvas, QgsMapTool, QgsMapToolExtent, QgsRubberBand
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QKeyEvent


def take_over(canvas: QgsMapCanvas, tool: QgsMapTool) -> None:
    """Let a tool have the canvas for a while; `give_back` ends that.

    A tool that has taken the canvas over itself has ended now: what it would give back is given back later.
    """
    current = canvas.mapTool()
    if current is not tool:
        tool.former_tool = getattr(current, "former_tool", current)
        canvas.setMapTool(tool)


def give_back(canvas: QgsMapCanvas) -> None:
    """End the tool that has taken the canvas over: the one that the user had before is active again.

    It is remembered, for QGIS may choose the ended tool again by itself; unless it has gone, as that of an elevation
    profile that was closed, or of a plugin that was unloaded.
    """
    tool = canvas.mapTool()
    if tool.former_tool is not None and sip.isdeleted(tool.former_tool):
        tool.former_tool = None
    if tool.former_tool is not None:
        canvas.setMapTool(tool.former_tool)
    else:
        canvas.unsetMapTool(tool)


class ExtentTool(QgsMapToolExtent):
    """Drag a rectangle; Esc gives it up."""

    abandoned = pyqtSignal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leave the tool on Esc, and every other key to the canvas."""
        if event.key() == Qt.Key.Key_Escape:
            event.accept()
            self.abandoned.emit()
        else:
            event.ignore()


class ExtentDrawing(QObject):
    """Lets the user drag one rectangle, shows it, and gives the canvas its former tool back.

    Signals:
        changed: a rectangle was drawn, or cleared; see `extent`.
        ended: drawing is over, with or without a rectangle.
    """

    changed = pyqtSignal()
    ended = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.extent: QgsReferencedRectangle | None = None
        self._canvas = canvas
        self._tool = ExtentTool(canvas)
        self._tool.extentChanged.connect(self._take)
        self._tool.abandoned.connect(self.stop)
        self._tool.deactivated.connect(self.ended)
        self._band = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._band.setStrokeColor(QColor("#ff7a00"))
        self._band.setFillColor(QColor(0, 0, 0, 0))
        self._band.setWidth(2)
        self._band.setLineStyle(Qt.PenStyle.DashLine)
        canvas.destinationCrsChanged.connect(self._follow_crs)

    @property
    def active(self) -> bool:
        """Whether the canvas is waiting for the rectangle."""
        return self._canvas.mapTool() is self._tool

    def start(self) -> None:
        """Take the canvas over until a rectangle is drawn or another tool is chosen."""
        take_over(self._canvas, self._tool)

    def clear(self) -> None:
        """Forget the rectangle."""
        self.stop()
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        if self.extent is not None:
            self.extent = None
            self.changed.emit()

    def remove(self) -> None:
        """Leave nothing on the canvas; for the end of the plugin."""
        self.stop()
        self._canvas.destinationCrsChanged.disconnect(self._follow_crs)
        self._canvas.scene().removeItem(self._band)

    def set_visible(self, visible: bool) -> None:
        """Show or hide the rectangle on the canvas, without forgetting it."""
        self._band.setVisible(visible)

    def show_extent(self, extent: QgsReferencedRectangle) -> None:
        """Take a rectangle as if it had been drawn."""
        self.stop()
        self.extent = extent
        self._show_band()
        self.changed.emit()

    def _take(self, rectangle: QgsRectangle) -> None:
        if rectangle.isEmpty():  # a click without a drag
            return
        self.extent = QgsReferencedRectangle(rectangle, self._canvas.mapSettings().destinationCrs())
        self._show_band()
        self._tool.clearRubberBand()
        self.stop()
        self.changed.emit()

    def _show_band(self) -> None:
        self._band.setToGeometry(QgsGeometry.fromRect(self.extent), self.extent.crs())

    def _follow_crs(self) -> None:
        """The rectangle stays on its place; the band knows only coordinates of the map."""
        if self.extent is not None:
            visible = self._band.isVisible()
            self._show_band()
            self._band.setVisible(visible)

    def stop(self) -> None:
        """Give the canvas its former tool back."""
        if self.active:
            give_back(self._canvas)
