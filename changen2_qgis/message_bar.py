"""What is told in QGIS's message bar, over the map."""

from __future__ import annotations

from qgis.core import Qgis
from qgis.gui import QgisInterface


def tell(iface: QgisInterface, text: str, level: Qgis.MessageLevel = Qgis.MessageLevel.Info) -> None:
    """Show a message for some seconds; a warning stays until it is closed."""
    iface.messageBar().pushMessage("Changen2", text, level, 0 if level == Qgis.MessageLevel.Warning else 8)
