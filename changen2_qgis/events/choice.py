"""What the next drawing means: "create building at step 1"."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtCore import QSignalBlocker, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon, QPixmap
from qgis.PyQt.QtWidgets import QHBoxLayout, QSizePolicy, QSpinBox, QWidget

from ..widgets.form_rows import list_of
from .layer import LARGEST_STEP, usual_class
from .style import EVENTS, event_colour

SUITS = {"object": ("create", "remove"), "stamp": ("remove", "create")}
"""What a tool does not do, and what it does instead unless told: an object that is there is not created."""

TIPS = {
    "create": "Something new is built here",
    "remove": "What is here goes away",
    "edit": "What is here turns into another class",
}


class EventChoice(QWidget):
    """Three controls in a row: event, class, step.

    The class is remembered for each event.

    Signals:
        changed: `value` may have changed.
    """

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes: list[dict[str, Any]] = []
        self._chosen: dict[str, str | None] = {}
        self._tool = ""
        self._switched_from = ""
        self.event = list_of("What happens to the places drawn next", self)
        self.event.setAccessibleName("Event of the next drawing")
        for value, label, *_ in EVENTS:
            self.event.addItem(_swatch(event_colour(value)), label, value)
            self.event.setItemData(self.event.count() - 1, TIPS[value], Qt.ItemDataRole.ToolTipRole)
        self.to_class = list_of("The class that the places drawn next become", self)
        self.to_class.setAccessibleName("Class of the next drawing")
        self.step = QSpinBox(self)
        self.step.setRange(1, LARGEST_STEP)
        self.step.setPrefix("step ")
        self.step.setToolTip("When it happens: the first image that shows it")
        self.step.setAccessibleName("Step of the next drawing")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        self.step.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        row.addWidget(self.event, 5)
        row.addWidget(self.to_class, 6)
        row.addWidget(self.step)
        self.setFocusProxy(self.event)
        self.event.currentIndexChanged.connect(self._offer_classes)
        self.event.activated.connect(self._forget_switch)
        self.to_class.activated.connect(self._remember_class)
        self.step.valueChanged.connect(lambda _: self.changed.emit())
        self._offer_classes()

    def value(self) -> tuple[str, str | None, int]:
        """Event, class name and step of the next drawing."""
        return self.event.currentData(), self.to_class.currentData(), self.step.value()

    def classes(self) -> list[dict[str, Any]]:
        """The classes on offer."""
        return self._classes

    def set_classes(self, classes: list[dict[str, Any]]) -> None:
        """Offer these classes; a choice that is still among them stays."""
        self._classes = list(classes)
        names = {str(entry["name"]) for entry in classes}
        self._chosen = {event: name for event, name in self._chosen.items() if name in names}
        self._offer_classes()

    def set_event(self, event: str) -> None:
        """Choose what happens."""
        self.event.setCurrentIndex(self.event.findData(event))

    def suit_tool(self, name: str) -> None:
        """Switch to what a tool can do, and back when another tool, or none, is taken up."""
        if name == self._tool:
            return
        self._tool = name
        if self._switched_from:
            self.set_event(self._switched_from)
            self._switched_from = ""
        unsuited, instead = SUITS.get(name, ("", ""))
        if self.event.currentData() == unsuited:
            self._switched_from = unsuited
            self.set_event(instead)

    def _forget_switch(self) -> None:
        self._switched_from = ""  # the user has chosen

    def _remember_class(self) -> None:
        self._chosen[self.event.currentData()] = self.to_class.currentData()
        self.changed.emit()

    def _offer_classes(self, _index: int = 0) -> None:
        event = self.event.currentData()
        wanted = self._chosen.get(event) or usual_class(self._classes, event)
        blocker = QSignalBlocker(self.to_class)
        self.to_class.clear()
        for entry in self._classes:
            name = str(entry["name"])
            self.to_class.addItem(_swatch(QColor(entry.get("color") or "#808080")), name, name)
        if self._classes and wanted is None:  # removal where no class is the background
            self.to_class.insertItem(0, "(background)", None)
        self.to_class.setCurrentIndex(max(0, self.to_class.findData(wanted)) if self._classes else -1)
        self.to_class.setEnabled(bool(self._classes))
        blocker.unblock()
        self.changed.emit()


def _swatch(colour: QColor) -> QIcon:
    picture = QPixmap(12, 12)
    picture.fill(colour)
    return QIcon(picture)
