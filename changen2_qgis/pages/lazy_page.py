"""A page whose content is made when it is first looked at, so that opening the dock stays quick."""

from __future__ import annotations

from collections.abc import Callable

from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import QVBoxLayout, QWidget


class LazyPage(QWidget):
    """Stands in for its content until it is shown.

    Args:
        make: makes the content; called once, with this page as the parent.
    """

    def __init__(self, make: Callable[[QWidget], QWidget], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._make = make
        self.content: QWidget | None = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def get(self) -> QWidget:
        """The content, made now if it was not yet."""
        if self.content is None:
            self.content = self._make(self)
            self._column.addWidget(self.content)
        return self.content

    def showEvent(self, event: QShowEvent) -> None:
        """Make the content, the first time."""
        self.get()
        super().showEvent(event)
