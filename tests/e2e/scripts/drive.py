"""What scripts inside QGIS share: clicks, waiting, pictures and the report."""

import json
import os
import sys
import traceback
from pathlib import Path

from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QDockWidget
from qgis.utils import iface, plugins

OUT = Path(os.environ["CHANGEN2_E2E_OUT"])
PLUGIN = "changen2_qgis"


class TooLongError(Exception):
    """Something that was waited for did not happen."""


def wait_until(condition, what, seconds=90):
    """Let QGIS live until the condition holds."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        QTest.qWait(50)
    picture("stuck")
    raise TooLongError(f"waited {seconds} s for: {what}")


def click(widget):
    """With the mouse, in the middle, as a user does; refuses what a user could not click."""
    if not widget.isVisible() or not widget.isEnabled():
        raise TooLongError(f"cannot click {widget.toolTip()!r}: visible {widget.isVisible()}, on {widget.isEnabled()}")
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def press(widget, key, times=1):
    """A key, as a user with the keyboard on that widget does."""
    widget.setFocus()
    for _ in range(times):
        QTest.keyClick(widget, key)


def look_at(extent):
    """Move the map; setting an extent alone draws nothing."""
    iface.mapCanvas().setExtent(extent)
    iface.mapCanvas().refresh()


def picture(name):
    """The whole window, once the map in it is drawn."""
    iface.mapCanvas().waitWhileRendering()
    iface.mainWindow().grab().save(str(OUT / f"{name}.png"))


def map_picture(name):
    """The map alone, when it is drawn."""
    QTest.qWait(300)
    iface.mapCanvas().waitWhileRendering()
    QTest.qWait(300)
    iface.mapCanvas().grab().save(str(OUT / f"{name}.png"))


def messages():
    """What the message bar says, newest first, and forget it."""
    bar = iface.messageBar()
    told = [item.text() for item in bar.items()]
    for item in bar.items():
        bar.popWidget(item)
    return told


def dock():
    """The plugin's dock, in a window of the size asked for."""
    wait_until(lambda: PLUGIN in plugins and plugins[PLUGIN].dock is not None, "the plugin")
    window = iface.mainWindow()
    width, height = (int(side) for side in os.environ["CHANGEN2_E2E_SIZE"].split("x"))
    window.showNormal()
    window.setGeometry(0, 0, width, height)
    window.findChild(QDockWidget, "Browser").hide()
    shown = plugins[PLUGIN].dock
    shown.setUserVisible(True)
    wait_until(lambda: shown.detect.form.model.card() != {}, "the backend's models")
    return shown


def main(scenario):
    """Run a scenario when QGIS is up, write its report and end QGIS at once."""

    def run():
        report = {}
        try:
            scenario(report)
        except Exception:
            report["error"] = traceback.format_exc()
        (OUT / "report.json").write_text(json.dumps(report, default=str), encoding="utf8")
        sys.stdout.flush()
        os._exit(0)  # no question about unsaved changes

    QTimer.singleShot(500, run)
