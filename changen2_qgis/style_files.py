"""Style files beside results: a QGIS without the plugin shows them with their colours and legends.

QGIS reads ``change.qml`` whenever it opens ``change.gpkg`` anew; the plugin itself does not.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from qgis.core import QgsMapLayer, QgsRasterLayer
from qgis.PyQt.QtXml import QDomDocument

_MARK = "<!-- Changen2 "
"""Begins the last line, a digest of all that is above it: by it a file is known that nobody has changed."""

_LOOK = (
    QgsMapLayer.StyleCategory.Symbology
    | QgsMapLayer.StyleCategory.Labeling
    | QgsMapLayer.StyleCategory.Fields
    | QgsMapLayer.StyleCategory.Forms
    | QgsMapLayer.StyleCategory.MapTips
)


def keep_style(layer: QgsMapLayer, folder: str | Path) -> None:
    """Write how a layer of a result looks beside its file, for others to see it so.

    A style that the user has written or changed is left alone, and where nothing can be written nothing is.

    Args:
        layer: styled.
        folder: of the run; what does not lie in it or in a folder of it, as an input may, gets no file.
    """
    path = Path(os.path.abspath(layer.styleURI()))
    run = Path(os.path.abspath(folder))
    if path.suffix != ".qml" or run not in (path.parent, path.parent.parent):
        return
    if isinstance(layer, QgsRasterLayer) and path.with_suffix(".gpkg").exists():
        return  # change.tif has colours of its own, and change.qml belongs to change.gpkg
    document = QDomDocument()
    layer.exportNamedStyle(document, categories=_LOOK)
    style = document.toString(2)
    aside = path.with_suffix(".qml.unfinished")
    with suppress(OSError):  # a read-only folder, a full disk
        if path.exists() and not _is_ours(path):
            return
        aside.write_text(style + _signature(style), encoding="utf8")
        aside.replace(path)
    with suppress(OSError):
        aside.unlink()


def _is_ours(path: Path) -> bool:
    """Whether a style file is as `keep_style` wrote it."""
    try:
        style, mark, digest = path.read_text(encoding="utf8").rpartition(_MARK)
    except UnicodeDecodeError:
        return False
    return mark + digest == _signature(style)


def _signature(style: str) -> str:
    return f"{_MARK}{hashlib.sha256(style.encode()).hexdigest()} -->\n"
