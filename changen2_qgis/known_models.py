"""Which models there are, as the backend last told: for lists that must not wait for it, and to keep them right."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from qgis.PyQt.QtCore import QObject, pyqtSignal

from .settings import Settings

EMBEDDED = (("detect", "tiny"), ("detect", "tiny-landcover"), ("synthesize", "tiny"))
"""Task and name of what comes with the plugin."""


class KnownModels(QObject):
    """Remembers the installed models, also when QGIS has been restarted.

    Signals:
        changed: the cards of all models, whenever the backend has told them; may come from any thread.
    """

    changed = pyqtSignal(list)

    def __init__(self) -> None:
        super().__init__()
        self._settings = Settings()

    def tell(self, cards: Iterable[dict[str, Any]]) -> None:
        """Remember what the backend told of all models, and pass it on. Callable from any thread."""
        told = list(cards)
        installed = [card for card in told if card.get("installed", True)]
        kept = [[card.get("task"), card["name"], bool(card.get("training_start"))] for card in installed]
        self._settings.known_models = json.dumps(kept)
        self.changed.emit(told)

    def own(self, task: str) -> list[str]:
        """Names of those among them that did not come with the plugin: only their cards can be changed."""
        return [name for name in self.names(task) if (task, name) not in EMBEDDED]

    def names(self, task: str, starts: bool = False) -> list[str]:
        """Names of the installed models of a task; those that only serve to begin a training with if `starts`."""
        try:
            stored = json.loads(self._settings.known_models)
            kept = [(str(each), str(name), bool(start)) for each, name, start in stored]
        except (TypeError, ValueError):  # somebody else wrote into the settings
            kept = []
        names = [name for each, name in EMBEDDED if each == task]
        return names + [
            name for each, name, start in kept if each == task and name not in names and (starts or not start)
        ]
