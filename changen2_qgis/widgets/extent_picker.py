"""Where to look for change: everywhere, on the visible map, in a drawn rectangle or in polygons."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsMapLayerProxyModel,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
    QgsReferencedRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas, QgsMapLayerComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSizePolicy, QStackedWidget, QWidget

from ..icons import qgis_icon
from ..map_tools import ExtentDrawing

WHOLE, CANVAS, RECTANGLE, POLYGONS = range(4)


class ExtentPicker(QWidget):
    """A list of four ways to say where, and the control that the chosen way needs.

    Signals:
        changed: `parameters` may have changed.
    """

    changed = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self.drawing = ExtentDrawing(canvas, self)
        self.way = QComboBox(self)
        self.way.addItems(["Whole image", "Visible map", "Drawn rectangle", "Polygon layer"])
        self.way.setToolTip("Where to look for change")
        self.draw = QPushButton(qgis_icon("mActionRectangleExtent"), "Draw", self)
        self.draw.setCheckable(True)
        self.draw.setToolTip("Drag a rectangle on the map; Esc gives up")
        self.polygons = QgsMapLayerComboBox(self)
        self.polygons.setFilters(QgsMapLayerProxyModel.Filter.PolygonLayer)
        self.polygons.setAllowEmptyLayer(True)
        self.polygons.setToolTip("The layer whose polygons bound the search; selected ones only, if some are")
        self.polygons.setAccessibleName("Polygon layer to look in")
        self.polygons.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._detail = QStackedWidget(self)
        for widget in (QWidget(), QWidget(), self.draw, self.polygons):
            self._detail.addWidget(widget)
        self._detail.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.way, 1)
        row.addWidget(self._detail, 1)
        self.setFocusProxy(self.way)
        self._connect()
        self._show_way(WHOLE)

    def _connect(self) -> None:
        self.way.currentIndexChanged.connect(self._show_way)
        self.way.activated.connect(self._start_drawing_if_needed)
        self.draw.clicked.connect(self._toggle_drawing)
        self.drawing.changed.connect(self.changed)
        self.drawing.ended.connect(lambda: self.draw.setChecked(False))
        self.polygons.layerChanged.connect(self.changed)
        self._canvas.extentsChanged.connect(self._canvas_moved)
        QgsProject.instance().cleared.connect(self._leave_project)

    def parameters(self) -> dict[str, Any]:
        """EXTENT (a referenced rectangle) or AOI (a polygon layer) for the algorithm; empty for all."""
        way = self.way.currentIndex()
        if way == CANVAS:
            crs = self._canvas.mapSettings().destinationCrs()
            return {"EXTENT": QgsReferencedRectangle(self._canvas.extent(), crs)}
        if way == RECTANGLE and self.drawing.extent is not None:
            return {"EXTENT": self.drawing.extent}
        if way == POLYGONS and self.polygons.currentLayer() is not None:
            layer = self.polygons.currentLayer()
            return {"AOI": QgsProcessingFeatureSourceDefinition(layer.id(), layer.selectedFeatureCount() > 0)}
        return {}

    def show_whole(self) -> None:
        """Look everywhere."""
        self.way.setCurrentIndex(WHOLE)

    def show_rectangle(self, extent: QgsReferencedRectangle) -> None:
        """Look in a rectangle as if it had been drawn."""
        self.way.setCurrentIndex(RECTANGLE)
        self.drawing.show_extent(extent)

    def show_polygons(self, layer: QgsVectorLayer) -> None:
        """Look in the polygons of a layer of the project."""
        self.way.setCurrentIndex(POLYGONS)
        self.polygons.setLayer(layer)

    def problem(self) -> str:
        """What is missing, as the next step for the user; empty if nothing is."""
        way = self.way.currentIndex()
        if way == RECTANGLE and self.drawing.extent is None:
            return "Draw the rectangle to look in on the map."
        if way == POLYGONS and self.polygons.currentLayer() is None:
            return "Choose the polygon layer to look in."
        return ""

    def remove(self) -> None:
        """Leave nothing on the canvas; for the end of the plugin."""
        QgsProject.instance().cleared.disconnect(self._leave_project)
        self.drawing.remove()

    def _leave_project(self) -> None:
        """A place of the former project would bound the search in the next one, unnoticed where both lie there."""
        self.drawing.clear()
        if self.way.currentIndex() in (RECTANGLE, POLYGONS):
            self.show_whole()

    def _show_way(self, way: int) -> None:
        self._detail.setCurrentIndex(way)
        self._detail.setVisible(way in (RECTANGLE, POLYGONS))
        self.drawing.set_visible(way == RECTANGLE)
        self.changed.emit()

    def _start_drawing_if_needed(self, way: int) -> None:
        if way == RECTANGLE and self.drawing.extent is None:
            self._toggle_drawing(True)

    def _toggle_drawing(self, start: bool) -> None:
        if start:
            self.drawing.start()
            self.draw.setChecked(True)
        else:
            self.drawing.stop()

    def _canvas_moved(self) -> None:
        if self.way.currentIndex() == CANVAS:
            self.changed.emit()
