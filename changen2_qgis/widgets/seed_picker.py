"""Choose the seed of a random process: a number, or a throw of the dice."""

from __future__ import annotations

import random

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QHBoxLayout, QSpinBox, QWidget

from ..icons import own_icon
from ..processing.event_rules import LARGEST_SEED
from .tool_button import tool_button


class SeedPicker(QWidget):
    """A number with a button that draws another one.

    Signals:
        changed: another seed is chosen.
    """

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.number = QSpinBox(self)
        self.number.setRange(0, LARGEST_SEED)
        self.number.setToolTip("The same seed with the same settings gives the same result")
        self.number.valueChanged.connect(self.changed)
        self.dice = tool_button(self, own_icon("dice"), "Throw the dice: another seed, another result")
        self.dice.clicked.connect(self.throw)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.number, 1)
        row.addWidget(self.dice)
        self.setFocusProxy(self.number)

    def throw(self) -> None:
        """Choose a seed by chance, short enough to be read out."""
        self.number.setValue(random.randrange(10_000))

    def seed(self) -> int:
        """The chosen seed."""
        return self.number.value()
