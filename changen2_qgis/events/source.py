"""Where the change events come from: drawn on the map, simulated on labels, or read from a polygon layer."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingFeatureSourceDefinition, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ..icons import qgis_icon
from ..processing.event_files import mapping_parameters
from .bar import EventBar
from .field_mapping import FieldMapping
from .style import EVENTS

DRAW, SIMULATE, LAYER = range(3)

TIPS = {
    "create": "Copies of objects of the labels are put where nothing stands",
    "remove": "Objects of the labels become background",
    "edit": "Objects of the labels turn into another class",
}


class EventSource(QWidget):
    """The controls of one of three ways to say what changes.

    Attributes:
        way: the choice of the way; it is placed by the form, above this widget.

    Signals:
        changed: `parameters` or `problem` may have changed.
        preview_clicked: the simulated events are wanted on the map, before any image is drawn.
        noted, failed: something about a drawing that the user should know; carry the message.
    """

    changed = pyqtSignal()
    preview_clicked = pyqtSignal()
    noted = pyqtSignal(str)
    failed = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._labels: QgsRasterLayer | None = None
        self.way = QComboBox(self)
        self.way.addItems(["Draw on the map", "Simulate on the labels", "Use a polygon layer"])
        self.way.setToolTip("Where it is said what changes")
        self.way.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.bar = EventBar(canvas, self)
        self.simulation = self._simulation()
        self.mapping = FieldMapping(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.bar, self.simulation, self.mapping):
            column.addWidget(widget)
        self._connect()
        self.set_labels(None)
        self._show_way()

    def _simulation(self) -> QWidget:
        panel = QWidget(self)
        self.kinds = {}
        row = QHBoxLayout()
        for kind, label, *_ in EVENTS:
            box = QCheckBox(label, panel)
            box.setChecked(True)
            box.setToolTip(TIPS[kind])
            box.toggled.connect(lambda _: self.changed.emit())
            row.addWidget(box)
            self.kinds[kind] = box
        row.addStretch(1)
        self.preview = QPushButton(qgis_icon("mActionShowAllLayers"), "Show these events on the map", panel)
        self.preview.setToolTip("Simulate now, without images: the events become polygons that you can edit before Run")
        column = QVBoxLayout(panel)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.preview)
        return panel

    def _connect(self) -> None:
        self.way.currentIndexChanged.connect(self._show_way)
        self.bar.changed.connect(self.changed)
        self.bar.noted.connect(self.noted)
        self.bar.failed.connect(self.failed)
        self.mapping.changed.connect(self.changed)
        self.preview.clicked.connect(self.preview_clicked)

    def set_image(self, image: QgsRasterLayer | None) -> None:
        """The image that changes."""
        self.bar.set_image(image)

    def set_labels(self, labels: QgsRasterLayer | None) -> None:
        """The classes at the first date; without them there is only removal to simulate."""
        self._labels = labels
        self.bar.set_labels(labels)
        for kind, box in self.kinds.items():
            box.setEnabled(labels is not None or kind == "remove")
        self.changed.emit()

    def set_classes(self, classes: list[dict[str, Any]]) -> None:
        """Offer these classes, ``{"index", "name", "color"}`` of each."""
        self.bar.set_classes(classes)
        self.mapping.set_classes(classes)

    def show_drawn(self, layer: QgsVectorLayer) -> None:
        """Go on drawing on a layer of change events."""
        self.bar.set_layer(layer)
        self.way.setCurrentIndex(DRAW)

    def show_simulated(self, kinds: list[str]) -> None:
        """Simulate these kinds of events."""
        for kind, box in self.kinds.items():
            box.setChecked(kind in kinds)
        self.way.setCurrentIndex(SIMULATE)

    def simulated(self) -> list[str]:
        """The kinds of events to simulate that can be."""
        return [kind for kind, box in self.kinds.items() if box.isChecked() and box.isEnabled()]

    def problem(self) -> str:
        """What is missing, as the next step for the user; empty if nothing is."""
        way = self.way.currentIndex()
        if way == LAYER:
            return self.mapping.problem()
        if way == SIMULATE:
            if self.simulated():
                return ""
            return "Choose what is to happen." if self._labels is not None else "Tick Remove, or choose labels."
        if self.bar.totals()[0] == 0:
            return "Draw what changes: choose a tool above, then draw on the map."
        return ""

    def parameters(self) -> dict[str, Any]:
        """EVENTS with how its fields are read, or SIMULATE, for `changen2:synthesizechange`."""
        way = self.way.currentIndex()
        if way == SIMULATE:
            return {"SIMULATE": self.simulated()}
        if way == LAYER:
            layer = self.mapping.layer()
            selected = layer.selectedFeatureCount() > 0
            source = QgsProcessingFeatureSourceDefinition(layer.id(), selected)
            return {"EVENTS": source, **mapping_parameters(self.mapping.mapping())}
        return {"EVENTS": self.bar.layer().id()}

    def _show_way(self) -> None:
        way = self.way.currentIndex()
        for number, widget in ((DRAW, self.bar), (SIMULATE, self.simulation), (LAYER, self.mapping)):
            widget.setVisible(way == number)
        if way != DRAW:
            self.bar.stop()
        self.changed.emit()
