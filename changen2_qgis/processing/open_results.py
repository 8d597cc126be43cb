"""Results that QGIS holds open: Windows lets nobody replace a file that a program has open, not even QGIS itself."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from qgis.core import QgsMapLayer, QgsProject, QgsProviderRegistry

from ..errors import InputError


def refuse_open_results(folder: Path, names: str, project: QgsProject | None) -> None:
    """Refuse to replace results that layers of the project show, where that would fail, and only after all the work.

    Args:
        folder: the output folder.
        names: pattern of the names of the files that would be replaced.
        project: whose layers are looked at; None: there is none.

    Raises:
        InputError: ``busy``; names the layers.
    """
    if sys.platform != "win32" or project is None:
        return
    layers = [layer for layer in project.mapLayers().values() if layer.isValid() and _lies_in(layer, folder, names)]
    if layers:
        shown = ", ".join(sorted(f"“{layer.name()}”" for layer in layers))
        raise InputError(
            f"Layers of the project show results in {folder}, and Windows replaces no open file: {shown}.",
            "Remove them from the project, or choose another output folder.",
            "busy",
        )


def _lies_in(layer: QgsMapLayer, folder: Path, names: str) -> bool:
    """Whether the layer's file is one of these names right in the folder."""
    path = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source()).get("path")
    if not path:
        return False
    where, name = os.path.split(os.path.realpath(path))
    same = os.path.normcase(where) == os.path.normcase(os.path.realpath(folder))
    return same and re.fullmatch(names, name, re.IGNORECASE) is not None
