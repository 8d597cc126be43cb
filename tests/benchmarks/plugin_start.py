"""What the plugin adds to a running QGIS: importing it, making and showing its dock; medians in milliseconds.

    QT_QPA_PLATFORM=offscreen .venv-qgis/bin/python tests/benchmarks/plugin_start.py

Each start is a process of its own that has QGIS's libraries loaded already, as QGIS has. Prints one JSON object.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STARTS = 5
ALLOWED_MS = {"import": 50, "dock": 150}

START = """
import json, os, sys, time
from types import SimpleNamespace

# QGIS has loaded these long before any plugin.
from osgeo import gdal, ogr, osr
from qgis import analysis, core, gui
from qgis.core import QgsApplication
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt import QtGui, QtSvg, QtWidgets, QtXml

app = QgsApplication([], True)
app.initQgis()
sys.path.append(app.pkgDataPath() + "/python/plugins")
import processing.core.Processing
window = QtWidgets.QMainWindow()
canvas, bar = QgsMapCanvas(window), QgsMessageBar(window)
iface = SimpleNamespace(mainWindow=lambda: window, mapCanvas=lambda: canvas, messageBar=lambda: bar)
window.show()
app.processEvents()

began = time.perf_counter()
from changen2_qgis.plugin import Changen2Plugin
plugin = Changen2Plugin(iface)
imported = time.perf_counter()
from changen2_qgis.dock import ChangeDock
dock = ChangeDock(iface, plugin.backend)
window.addDockWidget(2, dock)
dock.show()
app.processEvents()
shown = time.perf_counter()
print(json.dumps({"import": 1e3 * (imported - began), "dock": 1e3 * (shown - imported)}), flush=True)
os._exit(0)  # without waiting for the backend, which the dock has begun to start
"""


def main() -> None:
    """Start several times and print the medians."""
    found: list[dict[str, float]] = []
    for _ in range(STARTS):
        done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True, cwd=ROOT)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    medians = {part: round(statistics.median(start[part] for start in found), 1) for part in ALLOWED_MS}
    print(json.dumps({"date": date.today().isoformat(), "milliseconds": medians, "allowed": ALLOWED_MS}, indent=2))


if __name__ == "__main__":
    main()
