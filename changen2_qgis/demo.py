"""Shows a finished detect run in QGIS, saves the project and a picture of the window, and quits.

Run by QGIS itself: `qgis --code demo.py`, with the environment variables
CHANGEN2_DEMO_RUN (folder of a detect run), CHANGEN2_DEMO_PROJECT (the .qgz to write), CHANGEN2_DEMO_PICTURE (the PNG
to write), optionally CHANGEN2_DEMO_SIZE (window, default 1366x768) and CHANGEN2_DEMO_STAY (not empty: QGIS stays open).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from qgis.core import QgsProject, QgsRasterLayer, QgsSettings
from qgis.PyQt.QtCore import QEventLoop, QTimer
from qgis.PyQt.QtWidgets import QDockWidget
from qgis.utils import iface, loadPlugin, plugins, startPlugin

PLUGIN = "changen2_qgis"
PATIENCE_MS = 60_000
"""The backend takes seconds to start; a picture without its estimate is better than none."""
SETTLE_MS = 1500
"""The window's panels and previews are drawn a little after the map."""


def show() -> None:
    """Load, zoom, save, take the picture."""
    folder = Path(os.environ["CHANGEN2_DEMO_RUN"]).resolve()
    project = QgsProject.instance()
    for key in ("projections/promptWhenMultipleTransformsExist", "app/projections/promptWhenMultipleTransformsExist"):
        QgsSettings().setValue(key, False)  # a question that nobody would answer; the profile is the caller's own
    _arrange_window()
    dock = _open_plugin()
    before, after = _add_images(folder)
    add_run_folder = sys.modules[f"{PLUGIN}.results"].add_run_folder
    node = add_run_folder(project, str(folder), "Change")
    for layer, picker in ((before, dock.detect.form.before), (after, dock.detect.form.after)):
        picker.set_layer(layer)
    canvas = iface.mapCanvas()
    project.setCrs(before.crs())
    iface.setActiveLayer(before)
    iface.zoomToActiveLayer()
    iface.setActiveLayer(next(tree.layer() for tree in node.findLayers()))
    _wait_until(lambda: "tile" in dock.detect.bar.note.text())  # the estimate, the last thing to appear
    canvas.waitWhileRendering()
    _wait(SETTLE_MS)
    canvas.waitWhileRendering()
    iface.messageBar().clearWidgets()
    _save(project)


def _arrange_window() -> None:
    width, height = (int(side) for side in os.environ.get("CHANGEN2_DEMO_SIZE", "1366x768").split("x"))
    window = iface.mainWindow()
    window.showNormal()
    window.setGeometry(0, 0, width, height)
    browser = window.findChild(QDockWidget, "Browser")
    if browser is not None:
        browser.hide()


def _open_plugin():
    """The plugin's dock; the plugin is started where the profile has not switched it on."""
    if PLUGIN not in plugins and not (loadPlugin(PLUGIN) and startPlugin(PLUGIN)):
        raise RuntimeError(f"QGIS cannot start {PLUGIN}. Set QGIS_PLUGINPATH to the folder that holds it.")
    dock = plugins[PLUGIN].dock
    dock.show()
    return dock


def _add_images(folder: Path) -> tuple[QgsRasterLayer, QgsRasterLayer]:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf8"))
    layers = []
    for date in ("before", "after"):
        layer = QgsRasterLayer(os.path.abspath(manifest["inputs"][date]["path"]), f"Image {date}", "gdal")
        QgsProject.instance().addMapLayer(layer)
        layers.append(layer)
    return layers[0], layers[1]


def _save(project: QgsProject) -> None:
    target = Path(os.environ["CHANGEN2_DEMO_PROJECT"]).resolve()
    if not project.write(str(target)):
        raise OSError(f"The project cannot be written to {target}: {project.error()}")
    picture = os.environ["CHANGEN2_DEMO_PICTURE"]
    if not iface.mainWindow().grab().save(picture):
        raise OSError(f"The picture cannot be written to {picture}.")


def _wait(milliseconds: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(PATIENCE_MS // 100):
        if condition():
            return
        _wait(100)


def main() -> None:
    """Show and quit; the exit code says whether it worked."""
    code = 0
    try:
        show()
    except Exception:  # the edge of the process
        traceback.print_exc()
        code = 1
    if code or not os.environ.get("CHANGEN2_DEMO_STAY"):
        if PLUGIN in plugins:
            plugins[PLUGIN].backend.stop()
        sys.stdout.flush()
        os._exit(code)  # QGIS would ask about unsaved changes, and has no way to return a code


QTimer.singleShot(0, main)
