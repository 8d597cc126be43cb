"""Which models there are, as the backend last told: for lists that must not wait for it, and to keep them right."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from qgis.PyQt.QtCore import QObject, pyqtSignal

from .settings import Settings

KEPT = ("task", "name", "training_start", "embedded")
"""What is remembered of an installed model's card."""
BUILT_IN = (("detect", "tiny"), ("detect", "tiny-anything"), ("detect", "tiny-landcover"), ("synthesize", "tiny"))
"""Task and name of what comes with the plugin, for as long as the backend has told nothing."""
LISTED = 8
"""Names that a parameter's title lists at most."""


class KnownModels(QObject):
    """Remembers the installed models, also when QGIS has been restarted.

    Signals:
        changed: the cards of all models, whenever the backend has told them; may come from any thread.

    Attributes:
        cards: as the backend last told them; empty before it has.
    """

    changed = pyqtSignal(list)

    def __init__(self) -> None:
        super().__init__()
        self._settings = Settings()
        self.cards: list[dict[str, Any]] = []

    def tell(self, cards: Iterable[dict[str, Any]]) -> None:
        """Remember what the backend told of all models, and pass it on. Callable from any thread."""
        self.cards = list(cards)
        installed = [card for card in self.cards if card.get("installed", True)]
        self._settings.known_models = json.dumps([{key: card.get(key) for key in KEPT} for card in installed])
        self.changed.emit(self.cards)

    def names(self, task: str, starts: bool = False, own: bool = False) -> list[str]:
        """Names of the installed models of a task.

        Args:
            task: ``detect`` or ``synthesize``.
            starts: also those that only serve to begin a training with.
            own: only those that did not come with the plugin.
        """
        return [
            str(card["name"])
            for card in self._remembered()
            if card["task"] == task and (starts or not card["training_start"]) and not (own and card["embedded"])
        ]

    def listed(self, task: str, starts: bool = False, own: bool = False) -> str:
        """The names for a title, ``tiny, tiny-landcover``; shortened where they are many."""
        names = self.names(task, starts, own)
        return ", ".join(names[:LISTED] + ["…"] * (len(names) > LISTED))

    def _remembered(self) -> list[dict[str, Any]]:
        try:
            kept = [{key: card[key] for key in KEPT} for card in json.loads(self._settings.known_models)]
        except (TypeError, KeyError, ValueError):  # nothing yet, or somebody else wrote into the settings
            kept = []
        built_in = [dict(zip(KEPT, (task, name, False, True))) for task, name in BUILT_IN]
        return kept or built_in
