"""The plugin's own icons, and those of QGIS for what QGIS already has a picture of."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtGui import QIcon

from .paths import resources_dir


def own_icon(name: str) -> QIcon:
    """An icon of `resources/icons`, by its name without ending."""
    return QIcon(str(resources_dir() / "icons" / f"{name}.svg"))


def qgis_icon(name: str) -> QIcon:
    """An icon of the user's QGIS theme, such as `mActionFileOpen`."""
    return QgsApplication.getThemeIcon(f"/{name}.svg")
