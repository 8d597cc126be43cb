"""Puts what is drawn on the map into the layer of change events, and makes that layer when it is first needed."""

from __future__ import annotations

from datetime import datetime

from qgis.core import (
    QgsFeatureRequest,
    QgsGeometry,
    QgsMapLayer,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.gui import QgsAdvancedDigitizingDockWidget, QgsMapCanvas, QgsMapTool
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from ..errors import InputError
from ..map_tools import give_back, take_over
from ..run_folders import new_run_folder
from .choice import EventChoice
from .layer import add_event, create_event_layer, find_event_layers, set_classes
from .objects import MapObject, find_object, transformed
from .style import event_colour
from .tools import ObjectTool, PolygonTool, RectangleTool, StampTool


class EventDrawing(QObject):
    """The map's tools for events and the layer they draw on.

    Args:
        canvas: the map.
        choice: says what a drawing means.

    Attributes:
        layer: drawn on; None before the first drawing on an image.
        labels: raster of classes, or polygon layer, whose objects can be taken; None without.

    Signals:
        changed: events were added, removed or edited, or another layer is drawn on; one signal for a burst.
        layer_changed: another layer is drawn on, or none; at once, before a removed layer is gone.
        tool_changed: another tool is at work, or none of these; see `active`.
        placing: the stamp has an outline to place, or no longer.
        noted: something about a drawing that the user should know; carries the message.
        failed: nothing came of an action; carries the message.
    """

    changed = pyqtSignal()
    layer_changed = pyqtSignal()
    tool_changed = pyqtSignal()
    placing = pyqtSignal(bool)
    noted = pyqtSignal(str)
    failed = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, choice: EventChoice, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.layer: QgsVectorLayer | None = None
        self.labels: QgsMapLayer | None = None
        self._canvas = canvas
        self._choice = choice
        self._image: QgsRasterLayer | None = None
        self._tools: dict[str, QgsMapTool] = {}  # made when first used, for the dock to open fast
        self._own_measures: QgsAdvancedDigitizingDockWidget | None = None
        self._burst = QTimer(self)
        self._burst.setSingleShot(True)
        self._burst.setInterval(0)
        self._burst.timeout.connect(self.changed)
        choice.changed.connect(self._colour_stamp)
        canvas.mapToolSet.connect(self._tool_set)
        # Not the layer's own signal: when that comes, a layer made in Python is out of reach already.
        QgsProject.instance().layerWillBeRemoved[str].connect(self._layer_goes)

    def set_image(self, image: QgsRasterLayer | None) -> None:
        """Draw on this image: with the events that it has in the project, or none yet."""
        self._image = image
        made = find_event_layers(QgsProject.instance(), image) if image is not None else []
        if self.layer not in made:
            self.set_layer(made[0] if made else None)

    def set_layer(self, layer: QgsVectorLayer | None) -> None:
        """Draw on a certain layer of change events."""
        if layer is self.layer:
            return
        self.stop()
        self._watch(False)
        self.layer = layer
        self._watch(True)
        if "polygon" in self._tools:
            self._tools["polygon"].setLayer(layer)  # or it would keep one that is gone
        if layer is not None and self._choice.classes():
            set_classes(layer, self._choice.classes())
        self.layer_changed.emit()
        self._burst.start()

    def active(self) -> str:
        """The name of the tool that draws now: polygon, rectangle, object or stamp; empty if none does."""
        current = self._canvas.mapTool()
        return next((name for name, tool in self._tools.items() if tool is current), "")

    def start(self, name: str) -> None:
        """Take the canvas over with a tool, and make the layer if there is none.

        Raises:
            InputError: something has to be chosen first, or the layer cannot be made.
        """
        layer = self._layer_to_draw_on(name)
        if not layer.isEditable():
            layer.startEditing()  # where it cannot, drawing says so
        _make_current(layer, self._canvas)
        tool = self._tool(name)
        if name == "polygon":
            tool.setLayer(layer)
        take_over(self._canvas, tool)

    def stop(self) -> None:
        """Give the canvas its former tool back."""
        if self.active():
            give_back(self._canvas)

    def remove(self) -> None:
        """Leave nothing on the canvas; for the end of the plugin."""
        self.stop()
        self._watch(False)
        self._canvas.mapToolSet.disconnect(self._tool_set)
        QgsProject.instance().layerWillBeRemoved[str].disconnect(self._layer_goes)
        if "stamp" in self._tools:
            self._tools["stamp"].remove()
        for tool in self._tools.values():
            tool.deleteLater()
        self._tools = {}
        if self._own_measures is not None:
            self._own_measures.deleteLater()  # after the tool that uses it, and before the canvas it draws on

    def _layer_to_draw_on(self, name: str) -> QgsVectorLayer:
        """The layer; made beside the runs of the project if the image has none yet."""
        if self._image is None and self.layer is None:
            raise InputError("There is no image to draw on.", "Choose the image first.", "no_image")
        if not self._choice.classes():
            raise InputError(
                "The classes are not known yet.", "Choose labels, or wait until the model is there.", "no_classes"
            )
        if name == "object" and self.labels is None:
            raise InputError("There are no labels to take an object of.", "Choose the labels first.", "no_labels")
        if self.layer is not None:
            return self.layer
        project = QgsProject.instance()
        folder = new_run_folder(project, f"events on {self._image.name()}", datetime.now())
        layer = create_event_layer(project, self._image, self._choice.classes(), folder)
        self.set_layer(layer)
        return layer

    def _tool(self, name: str) -> QgsMapTool:
        if name not in self._tools:
            tool = self._make_tool(name)
            tool.drawn.connect(self._take)
            tool.abandoned.connect(self.stop)
            tool.failed.connect(self.failed)
            self._tools[name] = tool
            self._colour_stamp()
        return self._tools[name]

    def _make_tool(self, name: str) -> QgsMapTool:
        if name == "polygon":
            return PolygonTool(self._canvas, self._measures())
        if name == "rectangle":
            return RectangleTool(self._canvas)
        if name == "object":
            return ObjectTool(self._canvas, lambda point: self._find([self.labels], point))
        stamp = StampTool(self._canvas, lambda point: self._find([self.layer, self.labels], point))
        stamp.taken.connect(self.placing)
        return stamp

    def _measures(self) -> QgsAdvancedDigitizingDockWidget:
        """QGIS's panel of exact lengths and angles, which digitizing works with; one of our own on a bare canvas."""
        from qgis import utils

        panel = utils.iface.cadDockWidget() if utils.iface is not None else None
        if isinstance(panel, QgsAdvancedDigitizingDockWidget):
            return panel
        self._own_measures = QgsAdvancedDigitizingDockWidget(self._canvas)
        return self._own_measures

    def _find(self, layers: list[QgsMapLayer | None], point: QgsPointXY) -> MapObject:
        crs = self._canvas.mapSettings().destinationCrs()
        return find_object([layer for layer in layers if layer is not None], point, crs)

    def _take(self, drawn: MapObject) -> None:
        layer = self.layer
        if layer is None:
            return
        event, to_class, step = self._choice.value()
        try:
            outline = transformed(drawn.geometry, drawn.crs, layer.crs())
            if _is_there(layer, outline, step):
                self.noted.emit(f"The same outline already has an event at step {step}.")
                return
            note = add_event(layer, outline, event, to_class, step)
        except InputError as error:
            self.failed.emit(str(error))
            return
        said = " ".join(text for text in (drawn.note, note) if text)
        if said:
            self.noted.emit(said)

    def _watch(self, on: bool) -> None:
        layer = self.layer
        if layer is None:
            return
        act = "connect" if on else "disconnect"
        edits = (layer.featureAdded, layer.featureDeleted, layer.geometryChanged, layer.attributeValueChanged)
        for signal in (*edits, layer.afterRollBack):
            getattr(signal, act)(self._edited)
        getattr(layer.editingStopped, act)(self.stop)

    def _edited(self, *_: object) -> None:
        self._burst.start()

    def _layer_goes(self, layer_id: str) -> None:
        if self.layer is not None and self.layer.id() == layer_id:
            self.set_layer(None)

    def _tool_set(self, *_: object) -> None:
        self.tool_changed.emit()

    def _colour_stamp(self) -> None:
        if "stamp" in self._tools:
            self._tools["stamp"].set_colour(event_colour(self._choice.value()[0]))


def _is_there(layer: QgsVectorLayer, outline: QgsGeometry, step: int) -> bool:
    """Whether a second click, of a double click say, brings the same object again."""
    near = QgsFeatureRequest(outline.boundingBox())
    return any(f["step"] == step and f.geometry().isGeosEqual(outline) for f in layer.getFeatures(near))


def _make_current(layer: QgsVectorLayer, canvas: QgsMapCanvas) -> None:
    """So that QGIS's own keys for undo, delete and save act on the events."""
    from qgis import utils  # its iface is set when QGIS is up

    canvas.setCurrentLayer(layer)
    if utils.iface is not None:
        utils.iface.setActiveLayer(layer)
