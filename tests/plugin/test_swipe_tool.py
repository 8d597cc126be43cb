"""Swiping between two layers with the real mouse and keys: what is drawn on which side of the divider."""

import gc
import weakref

import numpy as np
import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsMapRendererParallelJob, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.gui import QgsMapCanvas, QgsMapToolPan
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtTest import QTest

from changen2_qgis import swipe_tool
from changen2_qgis.map_tools import ExtentDrawing
from changen2_qgis.swipe_tool import Side, Swipe

RED, BLUE, GREEN = "#dc3228", "#2850dc", "#28a03c"
Y = 100
"""A row of the canvas with neither titles nor the handle."""


@pytest.fixture
def layers(qgis_new_project, tmp_path, write_raster):
    """Three plain images of the same place: red, blue, green."""
    made = []
    for name, colour in (("red", RED), ("blue", BLUE), ("green", GREEN)):
        levels = QColor(colour).getRgb()[:3]
        pixels = np.repeat(np.array(levels, np.uint8)[:, None, None], 400, axis=1).repeat(400, axis=2)
        path = write_raster(tmp_path / f"{name}.tif", pixels)
        made.append(QgsRasterLayer(path, name, "gdal"))
    QgsProject.instance().addMapLayers(made)
    return made


@pytest.fixture
def canvas(layers, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(400, 400)
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    canvas.setExtent(QgsRectangle(500010, 4999810, 500190, 4999990))
    canvas.setLayers([layers[2]])
    pan = QgsMapToolPan(canvas)  # Python deletes it where nothing holds it
    canvas.setMapTool(pan)
    canvas.show()
    yield canvas
    canvas.unsetMapTool(canvas.mapTool())


@pytest.fixture
def swipe(canvas):
    return Swipe(canvas)


def drawn(canvas, qtbot, swipe, x, y=Y):
    """The colour of the canvas at a pixel, once all is drawn."""
    canvas.waitWhileRendering()
    qtbot.waitUntil(lambda: not swipe.tool.rendering)
    return canvas.grab().toImage().pixelColor(x, y).name()


def colours(canvas, qtbot, swipe):
    """The colours of a row outside the line itself, from left to right, each once where it begins."""
    drawn(canvas, qtbot, swipe, 0)
    image = canvas.grab().toImage()
    row = [image.pixelColor(x, Y).name() for x in range(image.width())]
    plain = [(x, colour) for x, colour in enumerate(row) if colour in (RED, BLUE, GREEN)]
    return [(x, colour) for at, (x, colour) in enumerate(plain) if at == 0 or plain[at - 1][1] != colour]


def press(canvas, start, end=None):
    QTest.mousePress(canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(*start))
    end = end or start
    QTest.mouseMove(canvas.viewport(), QPoint((start[0] + end[0]) // 2, start[1]))
    QTest.mouseMove(canvas.viewport(), QPoint(*end))
    QTest.mouseRelease(canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(*end))


def test_keys_move_the_divider_within_the_canvas(canvas, layers, swipe, qtbot):
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    QTest.keyClick(canvas, Qt.Key.Key_Comma)
    assert swipe.tool.item.divider == pytest.approx(0.45)
    assert colours(canvas, qtbot, swipe)[1][0] == pytest.approx(0.45 * canvas.width(), abs=3)
    for _ in range(30):
        QTest.keyClick(canvas, Qt.Key.Key_Period)
    assert swipe.tool.item.divider == 1


def test_each_layer_is_drawn_on_its_side_only(canvas, layers, swipe, qtbot):
    assert drawn(canvas, qtbot, swipe, 50) == GREEN
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    (_, first), (right, second) = colours(canvas, qtbot, swipe)
    assert (first, second) == (RED, BLUE)
    assert right == pytest.approx(canvas.width() / 2, abs=3)


def test_dragging_moves_the_divider(canvas, layers, swipe, qtbot):
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    press(canvas, (200, 200), (100, 200))
    (_, first), (right, second) = colours(canvas, qtbot, swipe)
    assert (first, second) == (RED, BLUE) and right == pytest.approx(100, abs=3)
    press(canvas, (100, 200), (-30, 200))
    assert [colour for _, colour in colours(canvas, qtbot, swipe)] == [BLUE]


def test_escape_leaves_the_map_and_the_tool_as_they_were(canvas, layers, swipe, qtbot):
    former = canvas.mapTool()
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    assert swipe.active
    with qtbot.waitSignal(swipe.ended):
        QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert not swipe.active and canvas.mapTool() is former
    assert swipe.tool.item is None
    assert [colour for _, colour in colours(canvas, qtbot, swipe)] == [GREEN]


def test_escape_leaves_also_after_swipes_over_each_other(canvas, layers, swipe):
    former, other = canvas.mapTool(), Swipe(canvas)
    for one in (swipe, other, swipe):
        one.start(Side.of(layers[0]), Side.of(layers[1]))
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert canvas.mapTool() is former


def test_a_swipe_over_a_drawing_does_not_bring_the_drawing_back(canvas, layers, swipe):
    former, drawing = canvas.mapTool(), ExtentDrawing(canvas)
    drawing.start()
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    swipe.stop()
    assert canvas.mapTool() is former


def test_another_project_ends_swipes_over_each_other(canvas, layers, swipe):
    former, other = canvas.mapTool(), Swipe(canvas)
    for one in (other, swipe):
        one.start(Side.of(layers[0]), Side.of(layers[1]))
    QgsProject.instance().clear()
    assert canvas.mapTool() is former


def test_a_tool_that_comes_back_with_nothing_to_compare_leaves(canvas, layers, swipe, qtbot):
    """As QGIS makes it: the tool of before an editing tool is active again when editing ends."""
    former = canvas.mapTool()
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    swipe.stop()
    QgsProject.instance().clear()
    canvas.setMapTool(swipe.tool)
    qtbot.waitUntil(lambda: canvas.mapTool() is former)
    assert swipe.tool.item is None


def test_another_tool_ends_the_swipe(canvas, layers, swipe, qtbot):
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    other = QgsMapToolPan(canvas)
    with qtbot.waitSignal(swipe.ended):
        canvas.setMapTool(other)
    assert canvas.mapTool() is other and swipe.tool.item is None


def test_the_sides_follow_the_map(canvas, layers, swipe, qtbot):
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    drawn(canvas, qtbot, swipe, 0)
    canvas.setExtent(QgsRectangle(500100, 4999810, 500280, 4999990))  # the images end at 500200
    drawn(canvas, qtbot, swipe, 0)
    image = canvas.grab().toImage()
    assert image.pixelColor(100, Y).name() == RED
    assert image.pixelColor(210, Y).name() == BLUE
    assert image.pixelColor(300, Y).name() == "#ffffff"


def test_another_pair_takes_the_place(canvas, layers, swipe, qtbot):
    former = canvas.mapTool()
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    swipe.start(Side.of(layers[1]), Side.of(layers[2]))
    assert [colour for _, colour in colours(canvas, qtbot, swipe)] == [BLUE, GREEN]
    swipe.stop()
    assert canvas.mapTool() is former


def test_a_side_may_be_several_layers(canvas, layers, swipe, qtbot):
    layers[0].setOpacity(0.0)
    swipe.start(Side((layers[0], layers[1]), "both"), Side.of(layers[2]))
    assert [colour for _, colour in colours(canvas, qtbot, swipe)] == [BLUE, GREEN]


def test_a_restyled_layer_is_drawn_again(canvas, layers, swipe, qtbot):
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    drawn(canvas, qtbot, swipe, 0)
    layers[0].setOpacity(0.0)
    layers[0].triggerRepaint()
    assert drawn(canvas, qtbot, swipe, 50) == "#ffffff"


def test_a_removed_layer_ends_the_swipe(canvas, layers, swipe, qtbot):
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    drawn(canvas, qtbot, swipe, 0)
    with qtbot.waitSignal(swipe.ended):
        QgsProject.instance().removeMapLayer(layers[1])
    assert not swipe.active


def test_drawn_pictures_are_freed_at_once(canvas, layers, swipe, qtbot, monkeypatch):
    jobs = []

    class Job(QgsMapRendererParallelJob):
        def __init__(self, settings):
            super().__init__(settings)
            jobs.append(weakref.ref(self))

    monkeypatch.setattr(swipe_tool, "QgsMapRendererParallelJob", Job)
    gc.disable()  # a picture is as large as the canvas: memory would be full before Python looks for cycles
    try:
        swipe.start(Side.of(layers[0]), Side.of(layers[1]))
        swipe.tool.render()  # the first two are given up
        drawn(canvas, qtbot, swipe, 0)
        qtbot.waitUntil(lambda: [job() for job in jobs] == [None] * 4)
    finally:
        gc.enable()


def test_titles_name_the_sides(canvas, layers, swipe, qtbot):
    swipe.start(Side.of(layers[0]), Side.of(layers[1]))
    drawn(canvas, qtbot, swipe, 0)
    assert swipe.tool.item.titles == ("red", "blue")
    image = canvas.grab().toImage()
    assert image.pixelColor(9, 9).name() not in (RED, BLUE)
    assert image.pixelColor(canvas.width() - 12, 9).name() not in (RED, BLUE)


def test_the_pictures_lie_exactly_over_the_map(canvas, layers, swipe, qtbot):
    canvas.setExtent(QgsRectangle(499950, 4999750, 500250, 5000050))  # the images and a margin all around
    canvas.setLayers([layers[0]])
    canvas.waitWhileRendering()
    without = canvas.grab().toImage()
    swipe.start(Side.of(layers[0]), Side.of(layers[0]))
    drawn(canvas, qtbot, swipe, 0)
    press(canvas, (3, 200))
    image = canvas.grab().toImage()
    for y in (60, Y, 300):
        rows = [[picture.pixelColor(x, y).name() for x in range(20, 380)] for picture in (without, image)]
        assert rows[0] == rows[1]
    columns = [[picture.pixelColor(150, y).name() for y in range(40, 380)] for picture in (without, image)]
    assert columns[0] == columns[1] and len(set(columns[0])) == 2
