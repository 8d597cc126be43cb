"""Draw change events: what happens, to which class, when, and the tools that draw it on the map."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsFeatureRequest, QgsMapLayer, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QSize, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from ..errors import InputError
from ..icons import own_icon, qgis_icon
from ..widgets.tool_button import tool_button
from ..widgets.undo_buttons import UndoButtons
from .choice import EventChoice
from .drawing import EventDrawing
from .layer import set_classes

TOOLS = (
    # name, icon, tooltip, what to do with it on the map
    (
        "polygon",
        "mActionCapturePolygon",
        "Draw a polygon: click its corners, right-click to finish",
        "Click the corners on the map, right-click to finish.",
    ),
    (
        "rectangle",
        "mActionAddBasicRectangle",
        "Drag a rectangle",
        "Drag rectangles on the map.",
    ),
    (
        "object",
        "event_object",
        "Take an object of the labels as it is, to remove or edit it",
        "Click an object of the labels to take it as it is.",
    ),
    (
        "stamp",
        "event_stamp",
        "Copy the outline of an object and place it elsewhere, turned as you like",
        "Click the object whose outline to copy.",
    ),
)

PLACE_HINT = "Click to place it. R or Ctrl + wheel turns it, a right click takes another."


class EventBar(QWidget):
    """A choice of event, class and step, and the tools that draw with it.

    Signals:
        changed: events were added, removed or edited, or another layer is drawn on; one signal for a burst.
        noted: something about a drawing that the user should know; carries the message.
        failed: nothing came of an action; carries the message.
    """

    changed = pyqtSignal()
    noted = pyqtSignal(str)
    failed = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choice = EventChoice(self)
        self.drawing = EventDrawing(canvas, self.choice, self)
        self.buttons = {name: self._tool_button(name, icon, tip) for name, icon, tip, _ in TOOLS}
        self.count = QLabel(self)
        self.undo = UndoButtons(self)
        self.hint = QLabel(self)
        self._lay_out()
        self.drawing.layer_changed.connect(lambda: self.undo.set_layer(self.layer()))
        self.drawing.changed.connect(self._events_changed)
        self.drawing.tool_changed.connect(self._show_tool)
        self.drawing.placing.connect(self._show_placing)
        self.drawing.noted.connect(self.noted)
        self.drawing.failed.connect(self.failed)
        self._show_tool()

    def _tool_button(self, name: str, icon: str, tip: str) -> QToolButton:
        button = tool_button(self, own_icon(icon) if icon.startswith("event_") else qgis_icon(icon), tip)
        button.setIconSize(QSize(18, 18))
        button.setCheckable(True)
        button.clicked.connect(lambda checked: self.start(name) if checked else self.stop())
        return button

    def _lay_out(self) -> None:
        first = self.buttons["polygon"]
        first.setText("Draw")
        first.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.count.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.count.setIndent(6)
        self.count.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.hint.setWordWrap(True)
        tools = QHBoxLayout()
        tools.setSpacing(3)
        for button in self.buttons.values():
            tools.addWidget(button)
        tools.addWidget(self.count, 1)
        tools.addWidget(self.undo)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.choice)
        column.addLayout(tools)
        column.addWidget(self.hint)
        self.setFocusProxy(self.choice)

    def layer(self) -> QgsVectorLayer | None:
        """The layer that is drawn on; None before the first drawing on an image."""
        return self.drawing.layer

    def totals(self) -> tuple[int, int]:
        """The number of events and their largest step; 0, 0 where there is none."""
        layer = self.layer()
        if layer is None:
            return 0, 0
        request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
        request.setSubsetOfAttributes(["step"], layer.fields())
        steps = [feature["step"] for feature in layer.getFeatures(request)]
        return len(steps), max((step if isinstance(step, int) else 1 for step in steps), default=0)

    def set_image(self, image: QgsRasterLayer | None) -> None:
        """Draw on this image: with the events that it has in the project, or none yet."""
        self.drawing.set_image(image)

    def set_layer(self, layer: QgsVectorLayer | None) -> None:
        """Draw on a certain layer of change events, such as one with simulated events."""
        self.drawing.set_layer(layer)

    def set_labels(self, labels: QgsMapLayer | None) -> None:
        """Let objects of this raster of classes, or polygon layer, be taken and copied."""
        self.drawing.labels = labels

    def set_classes(self, classes: list[dict[str, Any]]) -> None:
        """Offer these classes, ``{"index", "name", "color"}`` of each."""
        if classes == self.choice.classes():
            return
        self.choice.set_classes(classes)
        if self.layer() is not None:
            set_classes(self.layer(), classes)

    def start(self, name: str) -> None:
        """Draw with one of `TOOLS`."""
        try:
            self.drawing.start(name)
        except InputError as error:
            self.failed.emit(str(error))
        self._show_tool()

    def stop(self) -> None:
        """Give the canvas its former tool back."""
        self.drawing.stop()

    def remove(self) -> None:
        """Leave nothing on the canvas; for the end of the plugin."""
        self.drawing.remove()

    def _events_changed(self) -> None:
        count, last = self.totals()
        self.count.setText(f"{count} event{'s' * (count > 1)}" if count else "")
        self.count.setToolTip(f"The last one at step {last}" if count else "")
        self.changed.emit()

    def _show_tool(self) -> None:
        active = self.drawing.active()
        self.choice.suit_tool(active)
        for name, button in self.buttons.items():
            button.setChecked(name == active)
        hints = {name: hint for name, _, _, hint in TOOLS}
        self.hint.setText(hints.get(active, ""))
        self.hint.setVisible(bool(active))

    def _show_placing(self, placing: bool) -> None:
        if placing:
            self.hint.setText(PLACE_HINT)
        else:
            self._show_tool()
