"""A button that shows only its icon."""

from __future__ import annotations

from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QToolButton, QWidget


def tool_button(parent: QWidget, icon: QIcon, tip: str) -> QToolButton:
    """A button that shows only its icon, with its words for the pointer and for screen readers."""
    button = QToolButton(parent)
    button.setIcon(icon)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    return button
