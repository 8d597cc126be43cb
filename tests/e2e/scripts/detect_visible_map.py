"""With keys alone: look for change on the visible part of a map of two real images."""

import os
import sys

sys.path.insert(0, os.environ["CHANGEN2_E2E"])

from drive import OUT, click, dock, look_at, main, map_picture, messages, picture, press, wait_until
from qgis.core import QgsProject, QgsRectangle
from qgis.PyQt.QtCore import Qt
from qgis.utils import iface

PROJECT = QgsProject.instance()


def scenario(report):
    PROJECT.write(str(OUT / "field.qgz"))
    page = dock().detect
    wait_until(lambda: page.form.after.layer() is not None, "the two images")
    before = page.form.before.layer()
    report["chosen"] = [before.name(), page.form.after.layer().name()]
    canvas = iface.mapCanvas()
    centre, pixel = before.extent().center(), before.rasterUnitsPerPixelX()
    look_at(QgsRectangle.fromCenterAndSize(centre, 100 * pixel, 80 * pixel))
    press(page.form.extent.way, Qt.Key.Key_Down)  # from the whole image to the visible map
    report["way"] = page.form.extent.way.currentText()
    report["bands"] = page.form.bands_before.bands()
    page.form.threshold.setFocus()
    page.form.threshold.selectAll()
    for key in (Qt.Key.Key_0, Qt.Key.Key_Period, Qt.Key.Key_0, Qt.Key.Key_2):
        press(page.form.threshold, key)
    wait_until(lambda: "tile" in page.bar.note.text(), "the estimate")
    report["estimate"] = page.bar.note.text()
    visible = canvas.extent()
    press(page.bar.run, Qt.Key.Key_Space)
    wait_until(lambda: not page.bar.running and page.results.isVisible(), "the result")
    group = page.results.current()
    result = group.layer("change_probability")
    report["messages"] = messages()
    report["threshold"] = group.threshold
    report["size"] = [result.width(), result.height()]
    report["offset"] = [
        (result.extent().xMinimum() - before.extent().xMinimum()) / pixel,
        (before.extent().yMaximum() - result.extent().yMaximum()) / before.rasterUnitsPerPixelY(),
    ]
    report["covers"] = result.extent().buffered(pixel).contains(visible)
    report["crs"] = result.crs() == before.crs()
    map_picture("result")
    picture("window")
    report["places"] = group.count
    if group.count:
        click(page.results.review.next)
    report["position"] = page.results.review.position.text()


main(scenario)
