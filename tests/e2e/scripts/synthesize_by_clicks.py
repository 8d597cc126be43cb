"""From an empty project to a series that plays, is swiped and assessed: by clicks and keys alone."""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["CHANGEN2_E2E"])

from drive import OUT, click, dock, look_at, main, map_picture, picture, wait_until
from qgis.core import QgsPointXY, QgsProject, QgsRectangle, QgsTemporalNavigationObject
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QPushButton
from qgis.utils import iface

PROJECT = QgsProject.instance()
HOUSE = 44
"""Side of a drawn house in pixels of the image."""


def place_on_map(layer, column, row):
    """Where a pixel of an image is on the screen."""
    extent, size = layer.extent(), layer.rasterUnitsPerPixelX()
    point = QgsPointXY(extent.xMinimum() + column * size, extent.yMaximum() - row * size)
    canvas = iface.mapCanvas()
    point = canvas.mapSettings().layerToMapCoordinates(layer, point)
    on_screen = canvas.getCoordinateTransform().transform(point)
    return QPoint(round(on_screen.x()), round(on_screen.y()))


def image_box(layer, left, top, right, bottom):
    """Pixels of an image as a rectangle on the map."""
    extent, size = layer.extent(), layer.rasterUnitsPerPixelX()
    return QgsRectangle(
        extent.xMinimum() + left * size,
        extent.yMaximum() - bottom * size,
        extent.xMinimum() + right * size,
        extent.yMaximum() - top * size,
    )


def round_first_house(page, report):
    """The first house and its neighbours."""
    column, row = report["houses"][0]
    return image_box(page.form.image.layer(), column - 160, row - 120, column + HOUSE + 160, row + HOUSE + 120)


def drag(start, end):
    """With the mouse over the map."""
    viewport = iface.mapCanvas().viewport()
    QTest.mouseMove(viewport, start)
    QTest.mousePress(viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    for share in (0.3, 0.7, 1):
        QTest.mouseMove(viewport, start + (end - start) * share)
        QTest.qWait(30)
    QTest.mouseRelease(viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, end)


def groups(mark):
    return [node for node in PROJECT.layerTreeRoot().findGroups() if node.customProperty(mark)]


def open_sample(shown, report):
    shown.pages.tabBar().setFocus()
    tab = shown.pages.tabBar().tabRect(shown.pages.indexOf(shown.synthesize)).center()
    QTest.mouseClick(shown.pages.tabBar(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, tab)
    wait_until(lambda: shown.synthesize.content is not None, "the page")
    page = shown.synthesize.content
    wait_until(lambda: page.form.model.card(), "the generator")
    picture("empty")
    click(page.sample)
    wait_until(lambda: page.form.image.layer() is not None, "the sample scene")
    report["layers"] = sorted(layer.name() for layer in PROJECT.mapLayers().values())
    return page


def draw(page, report):
    """Two houses on open ground, one after the other."""
    image = page.form.image.layer()
    look_at(image.extent())
    map_picture("before")
    click(page.form.events.bar.buttons["rectangle"])
    for step, (column, row) in enumerate(report["houses"], 1):
        page.form.events.bar.choice.step.setValue(step)
        drag(place_on_map(image, column, row), place_on_map(image, column + HOUSE, row + HOUSE))
        QTest.qWait(100)
    wait_until(lambda: page.form.events.bar.layer() is not None, "the events")
    report["events"] = [
        (each["event"], each["step"], each["to_class"]) for each in page.form.events.bar.layer().getFeatures()
    ]
    page.form.steps.setValue(3)
    wait_until(lambda: "tile" in page.bar.note.text() or "event" in page.bar.note.text(), "the estimate", 120)
    report["estimate"] = page.bar.note.text()
    map_picture("drawn")
    picture("drawing")


def synthesize(page, report):
    click(page.bar.run)
    stages = [page.bar.note.text()]
    while page.bar.running:
        wait_until(lambda: not page.bar.running or page.bar.note.text() != stages[-1], "progress", 240)
        stages.append(page.bar.note.text())
    wait_until(lambda: groups("changen2/series"), "the series")
    report["stages"] = stages
    group = page.results.current()
    report["steps"] = group.image_steps
    report["files"] = sorted(path.name for path in Path(group.folder).iterdir())
    report["folder"] = group.folder


def play(page, report):
    """Each step as the temporal controller shows it, then the playing itself."""
    events = page.form.events.bar.layer()
    PROJECT.layerTreeRoot().findLayer(events.id()).setItemVisibilityChecked(False)
    image = page.form.image.layer()
    # So near that every pixel is read: further out the results show their overviews, and the input has none.
    columns, rows = ([place[axis] for place in report["houses"]] for axis in (0, 1))
    near = image_box(image, min(columns) - 20, min(rows) - 20, max(columns) + HOUSE + 20, max(rows) + HOUSE + 20)
    look_at(near)
    map_picture("near")
    report["on_map"] = []
    for column, row in report["houses"]:
        corners = place_on_map(image, column, row), place_on_map(image, column + HOUSE, row + HOUSE)
        report["on_map"].append([side for corner in corners for side in (corner.x(), corner.y())])
    for step in page.results.current().image_steps:
        click(page.results.forward)
        wait_until(lambda step=step: page.results.player.step == step, f"step {step}")
        map_picture(f"step_{step}")
    click(page.results.play)
    report["playing"] = page.results.player.playing
    controller = iface.mapCanvas().temporalController()
    report["animated"] = controller.navigationMode() == QgsTemporalNavigationObject.NavigationMode.Animated
    QTest.qWait(1200)
    picture("playing")
    if page.results.player.playing:
        click(page.results.play)


def swipe(page, report):
    click(page.results.back) if page.results.back.isEnabled() else None
    while page.results.back.isEnabled():
        click(page.results.back)
    look_at(round_first_house(page, report))
    click(page.results.swipe)
    QTest.qWait(1500)
    viewport = iface.mapCanvas().viewport()
    middle = QPoint(viewport.width() // 2, viewport.height() // 2)
    column, row = report["houses"][0]
    drag(middle, place_on_map(page.form.image.layer(), column + HOUSE // 3, row + HOUSE // 2))
    QTest.qWait(800)
    picture("swiping")
    report["swiping"] = page.results.swipe.isChecked()
    QTest.keyClick(iface.mapCanvas(), Qt.Key.Key_Escape)
    report["left_on_escape"] = not page.results.swipe.isChecked()


def detect(shown, page, report):
    click(page.results.detect)
    wait_until(lambda: shown.pages.currentWidget() is shown.detect, "the Detect page")
    form = shown.detect.form
    report["pair"] = [form.before.layer().name(), form.after.layer().name()]
    wait_until(lambda: "tile" in shown.detect.bar.note.text(), "the estimate")
    click(shown.detect.bar.run)
    wait_until(lambda: not shown.detect.bar.running, "the detection", 240)
    wait_until(lambda: groups("changen2/detection"), "the result")
    wait_until(lambda: shown.detect.results.assess.words.text().startswith("Against"), "the assessment", 120)
    look_at(round_first_house(page, report))
    report["words"] = shown.detect.results.assess.words.text()
    map_picture("assessed")
    picture("assessment")


def scenario(report):
    report["houses"] = [[int(side) for side in place.split(",")] for place in os.environ["HOUSES"].split()]
    PROJECT.write(str(OUT / "town.qgz"))
    shown = dock()
    page = open_sample(shown, report)
    for step in (draw, synthesize, play, swipe):
        step(page, report)
    detect(shown, page, report)
    report["cut_off"] = [
        button.toolTip()
        for button in page.findChildren(QPushButton)
        if button.isVisible() and button.visibleRegion().boundingRect().size() != button.size()
    ]


main(scenario)
