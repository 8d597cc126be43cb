"""Dragging an extent on the canvas, and what the dock makes of it."""

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas, QgsMapToolPan
from qgis.PyQt import sip
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest

from changen2_qgis.map_tools import ExtentDrawing
from changen2_qgis.widgets.extent_picker import CANVAS, POLYGONS, RECTANGLE, WHOLE, ExtentPicker

UTM = QgsCoordinateReferenceSystem("EPSG:32633")


@pytest.fixture
def canvas(qgis_app, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(400, 400)
    canvas.setDestinationCrs(UTM)
    canvas.setExtent(QgsRectangle(500000, 5000000, 500400, 5000400))
    pan = QgsMapToolPan(canvas)  # Python deletes it where nothing holds it
    canvas.setMapTool(pan)
    canvas.show()
    yield canvas
    canvas.unsetMapTool(canvas.mapTool())


@pytest.fixture
def picker(canvas):
    picker = ExtentPicker(canvas)
    yield picker
    picker.remove()


def drag(canvas, start, end):
    """With the real mouse events that a user causes; start and end in map coordinates."""
    transform = canvas.getCoordinateTransform()
    first, last = (transform.transform(QgsPointXY(*point)).toQPointF().toPoint() for point in (start, end))
    QTest.mousePress(canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, first)
    QTest.mouseMove(canvas.viewport(), (first + last) / 2)
    QTest.mouseMove(canvas.viewport(), last)
    QTest.mouseRelease(canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, last)


def test_a_dragged_rectangle_is_in_the_crs_of_the_canvas(canvas, qtbot):
    drawing = ExtentDrawing(canvas)
    drawing.start()
    with qtbot.waitSignal(drawing.changed):
        drag(canvas, (500100, 5000300), (500200, 5000100))
    extent = drawing.extent
    corners = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
    assert corners == pytest.approx((500100, 5000100, 500200, 5000300), abs=2)
    assert extent.crs() == UTM


def test_the_former_tool_comes_back_after_drawing(canvas):
    former = canvas.mapTool()
    drawing = ExtentDrawing(canvas)
    drawing.start()
    assert drawing.active
    drag(canvas, (500100, 5000300), (500200, 5000100))
    assert canvas.mapTool() is former


def test_escape_gives_up_and_keeps_the_earlier_rectangle(canvas):
    former = canvas.mapTool()
    drawing = ExtentDrawing(canvas)
    drawing.start()
    drag(canvas, (500100, 5000300), (500200, 5000100))
    earlier = drawing.extent
    drawing.start()
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert canvas.mapTool() is former
    assert drawing.extent == earlier


def test_a_former_tool_that_has_gone_does_not_come_back(canvas):
    """As that of an elevation profile that was closed meanwhile."""
    former = canvas.mapTool()
    drawing = ExtentDrawing(canvas)
    drawing.start()
    sip.delete(former)
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert canvas.mapTool() is None
    drawing.start()
    drawing.stop()
    assert canvas.mapTool() is None


def test_a_click_without_a_drag_is_no_rectangle(canvas):
    drawing = ExtentDrawing(canvas)
    drawing.start()
    drag(canvas, (500100, 5000100), (500100, 5000100))
    assert drawing.extent is None


def band_of(drawing):
    """Where the canvas shows the rectangle, in its own coordinates."""
    return drawing._band.asGeometry().boundingBox()


def test_the_rectangle_stays_on_its_place_in_another_crs(canvas):
    drawing = ExtentDrawing(canvas)
    rectangle = QgsReferencedRectangle(QgsRectangle(500100, 5000100, 500200, 5000300), UTM)
    drawing.show_extent(rectangle)
    for epsg in ("EPSG:4326", "EPSG:3857", "EPSG:32633"):
        canvas.setDestinationCrs(QgsCoordinateReferenceSystem(epsg))
        to_map = QgsCoordinateTransform(UTM, canvas.mapSettings().destinationCrs(), QgsProject.instance())
        drawn, wanted = band_of(drawing), to_map.transformBoundingBox(rectangle)
        assert drawn.xMinimum() == pytest.approx(wanted.xMinimum(), rel=1e-6)
        assert drawn.yMaximum() == pytest.approx(wanted.yMaximum(), rel=1e-6)
    assert drawing.extent == rectangle and drawing.extent.crs() == UTM


def test_another_crs_does_not_show_a_rectangle_that_is_not_used(canvas, picker):
    picker.show_rectangle(QgsReferencedRectangle(QgsRectangle(500100, 5000100, 500200, 5000300), UTM))
    picker.way.setCurrentIndex(CANVAS)
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    assert not picker.drawing._band.isVisible()
    picker.way.setCurrentIndex(RECTANGLE)
    assert picker.drawing._band.isVisible()
    assert band_of(picker.drawing).xMinimum() == pytest.approx(15.00127, abs=1e-4)


def test_another_project_is_looked_at_everywhere(picker, qgis_new_project, qtbot):
    picker.show_rectangle(QgsReferencedRectangle(QgsRectangle(500100, 5000100, 500200, 5000300), UTM))
    with qtbot.waitSignal(picker.changed):
        QgsProject.instance().clear()
    assert picker.way.currentIndex() == WHOLE and picker.parameters() == {}
    picker.way.setCurrentIndex(RECTANGLE)
    assert "Draw the rectangle" in picker.problem() and band_of(picker.drawing).isEmpty()


def test_another_project_leaves_the_visible_map(picker, qgis_new_project):
    picker.way.setCurrentIndex(CANVAS)
    QgsProject.instance().clear()
    assert picker.way.currentIndex() == CANVAS


def test_removing_leaves_nothing_on_the_canvas(canvas):
    items = len(canvas.scene().items())
    drawing = ExtentDrawing(canvas)
    drawing.start()
    drag(canvas, (500100, 5000300), (500200, 5000100))
    drawing.remove()
    assert len([item for item in canvas.scene().items() if item.isVisible()]) <= items


def test_the_whole_image_needs_no_parameter(picker):
    assert picker.way.currentIndex() == WHOLE
    assert picker.parameters() == {} and picker.problem() == ""


def test_the_visible_map_follows_the_canvas(canvas, picker, qtbot):
    picker.way.setCurrentIndex(CANVAS)
    with qtbot.waitSignal(picker.changed):
        canvas.setExtent(QgsRectangle(500100, 5000100, 500150, 5000150))
    extent = picker.parameters()["EXTENT"]
    assert extent.crs() == UTM
    assert extent.center() == QgsPointXY(500125, 5000125)


def test_a_rectangle_that_is_not_drawn_yet_is_asked_for(canvas, picker):
    picker.way.setCurrentIndex(RECTANGLE)
    assert "Draw the rectangle" in picker.problem()
    picker.draw.click()
    assert picker.draw.isChecked()
    drag(canvas, (500100, 5000300), (500200, 5000100))
    assert picker.problem() == ""
    assert not picker.draw.isChecked()
    assert picker.parameters()["EXTENT"] == picker.drawing.extent


def test_polygons_are_asked_for_and_passed_on_with_their_selection(picker, qgis_new_project):
    picker.way.setCurrentIndex(POLYGONS)
    assert "Choose the polygon layer" in picker.problem()
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "parcels", "memory")
    QgsProject.instance().addMapLayer(layer)
    picker.polygons.setLayer(layer)
    aoi = picker.parameters()["AOI"]
    assert aoi.source.staticValue() == layer.id()
    assert aoi.selectedFeaturesOnly is False
