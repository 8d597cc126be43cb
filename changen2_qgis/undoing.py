"""Taking back what was set up, when the plugin or its dock ends."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any

from qgis.core import Qgis, QgsMessageLog


def take_all(steps: Iterable[Callable[[], Any]]) -> None:
    """Take every step; of one that fails the log tells, and the next are taken all the same."""
    for step in steps:
        try:
            step()
        except Exception:  # whatever it is: what is left behind stands in the way of the plugin's next start
            QgsMessageLog.logMessage(traceback.format_exc(), "Changen2", Qgis.MessageLevel.Warning)
