"""Undo and redo of a layer's edits, where one draws: the same stack that QGIS's Edit menu works on."""

from __future__ import annotations

from collections.abc import Callable

from qgis.core import QgsVectorLayer
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtWidgets import QHBoxLayout, QToolButton, QWidget

from ..icons import qgis_icon


class UndoButtons(QWidget):
    """Two buttons, which say in their tooltips what they take back or bring again."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layer: QgsVectorLayer | None = None
        self.undo = self._button("mActionUndo", self._take_back)
        self.redo = self._button("mActionRedo", self._bring_again)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        row.addWidget(self.undo)
        row.addWidget(self.redo)
        self._show()

    def _button(self, icon: str, act: Callable[[], None]) -> QToolButton:
        button = QToolButton(self)
        button.setIcon(qgis_icon(icon))
        button.setIconSize(QSize(18, 18))
        button.clicked.connect(act)
        return button

    def set_layer(self, layer: QgsVectorLayer | None) -> None:
        """Act on this layer's edits; on None the buttons rest."""
        if self._layer is not None:
            self._layer.undoStack().indexChanged.disconnect(self._edits_changed)
        self._layer = layer
        if layer is not None:
            layer.undoStack().indexChanged.connect(self._edits_changed)
        self._show()

    def _take_back(self) -> None:
        if self._layer is not None:
            self._layer.undoStack().undo()

    def _bring_again(self) -> None:
        if self._layer is not None:
            self._layer.undoStack().redo()

    def _edits_changed(self, _index: int) -> None:
        if self._layer is not None:
            self._layer.triggerRepaint()  # taking back an edit does not repaint the map by itself
        self._show()

    def _show(self) -> None:
        stack = self._layer.undoStack() if self._layer is not None else None
        for button, word, text, can in (
            (self.undo, "Undo", stack.undoText() if stack else "", stack is not None and stack.canUndo()),
            (self.redo, "Redo", stack.redoText() if stack else "", stack is not None and stack.canRedo()),
        ):
            tip = f"{word}: {text}" if text else f"{word} the last drawing"
            button.setToolTip(tip)
            button.setAccessibleName(tip)
            button.setEnabled(can)
