"""The list of models, by what they do, with whether each is here."""

from __future__ import annotations

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget

from .model_description import Card, task_of

_CARD = Qt.ItemDataRole.UserRole


class ModelList(QTreeWidget):
    """Groups of models under the name of their task; only models can be chosen.

    Signals:
        chosen: another model, or other facts about it.
    """

    chosen = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTip("Choose a model to read about it; the arrow keys move through the list")
        self.setHeaderLabels(["Model", "Installed"])
        self.setRootIsDecorated(False)
        self.setItemsExpandable(False)
        self.setIndentation(8)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionsMovable(False)
        self.currentItemChanged.connect(lambda *_: self.chosen.emit())

    def card(self) -> Card:
        """The chosen model; empty where none is."""
        item = self.currentItem()
        return (item.data(0, _CARD) if item is not None else None) or {}

    def show_cards(self, cards: list[Card]) -> None:
        """List these models; the chosen one stays chosen, else the first one is."""
        chosen = _identity(self.card())
        self.blockSignals(True)
        self.clear()
        groups: dict[str, QTreeWidgetItem] = {}
        current = None
        for card in cards:
            task = task_of(card)
            if task not in groups:
                groups[task] = self._add_group(task)
            item = self._add_model(groups[task], card)
            if current is None or _identity(card) == chosen:
                current = item
        self.setCurrentItem(current)
        self.blockSignals(False)

    def _add_group(self, task: str) -> QTreeWidgetItem:
        group = QTreeWidgetItem(self, [task])
        group.setFlags(Qt.ItemFlag.ItemIsEnabled)  # a heading: read, not chosen
        font = group.font(0)
        font.setBold(True)
        group.setFont(0, font)
        group.setFirstColumnSpanned(True)
        return group

    def _add_model(self, group: QTreeWidgetItem, card: Card) -> QTreeWidgetItem:
        title = str(card.get("title") or card["name"])
        item = QTreeWidgetItem(group, [title, _installed(card)])
        item.setData(0, _CARD, card)
        item.setToolTip(0, f"{title}: {card.get('summary', '')}")
        group.setExpanded(True)
        return item


def _installed(card: Card) -> str:
    if card.get("embedded"):
        return "built in"
    return "yes" if card.get("installed") else "no"


def _identity(card: Card) -> tuple[str, str]:
    """Names are unique among the models of one task."""
    return str(card.get("task", "")), str(card.get("name", ""))
