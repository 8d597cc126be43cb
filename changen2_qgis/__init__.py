"""Changen2 for QGIS: find what changed between two rasters."""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:
    """Called by QGIS to load the plugin."""
    from .plugin import Changen2Plugin

    return Changen2Plugin(iface)
