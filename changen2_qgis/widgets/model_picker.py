"""Choose a model: those of one kind, as the backend last told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from qgis.PyQt.QtCore import QSignalBlocker, Qt
from qgis.PyQt.QtWidgets import QComboBox, QSizePolicy, QWidget

from .form_rows import choose, fill

Card = dict[str, Any]


class ModelPicker(QComboBox):
    """A list of models, each with its summary as tooltip.

    Args:
        tip: tooltip of the list until a model's card is known.
        chosen: name of the model that is offered until the backend has told its models.
        suits: which cards are offered.
        parent: form that it is in.
    """

    def __init__(self, tip: str, chosen: str, suits: Callable[[Card], bool], parent: QWidget) -> None:
        super().__init__(parent)
        self.setToolTip(tip)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.addItem(chosen, chosen)
        self._suits = suits
        self._cards: dict[str, Card] = {}

    def offer(self, models: Iterable[Card]) -> None:
        """Offer the models that suit, without a signal; what is chosen stays chosen where it still is among them."""
        chosen = self.currentData()
        self._cards = {card["name"]: card for card in models if self._suits(card)}
        blocker = QSignalBlocker(self)
        fill(self, [(card.get("title") or name, name) for name, card in self._cards.items()])
        for row, card in enumerate(self._cards.values()):
            self.setItemData(row, card.get("summary", ""), Qt.ItemDataRole.ToolTipRole)
        choose(self, chosen)
        blocker.unblock()

    def card(self) -> Card:
        """The card of the chosen model; empty until the backend has told its models."""
        return self._cards.get(self.currentData(), {})

    def show_card(self) -> None:
        """Tell of the chosen model in the tooltip, if its card is known."""
        if card := self.card():
            self.setToolTip(describe(card))


def describe(card: Card) -> str:
    """A model's card as a tooltip."""
    classes = ", ".join(entry["name"] for entry in card.get("classes", ()))
    lines = [
        f"<b>{card.get('title', card['name'])}</b>",
        card.get("summary", ""),
        f"Knows: {classes}" if classes else "",
        f"Pixel size: {card.get('gsd_min')}–{card.get('gsd_max')} m",
        f"Licence: {card.get('licence', 'not stated')}",
    ]
    return "<br>".join(line for line in lines if line)
