"""Drawing change events on a real canvas, by the mouse and keys that a user has."""

import math

import numpy as np
import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas, QgsMapToolPan
from qgis.PyQt.QtCore import QPoint, QPointF, Qt
from qgis.PyQt.QtGui import QWheelEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication

from changen2_qgis.events.bar import EventBar
from changen2_qgis.events.layer import LARGEST_STEP, find_event_layers, is_event_layer

UTM = QgsCoordinateReferenceSystem("EPSG:32633")
CLASSES = [
    {"index": 0, "name": "background", "color": "#bebebe"},
    {"index": 1, "name": "water", "color": "#4285c8"},
    {"index": 4, "name": "building", "color": "#cc3c34"},
]
SQUARE = [(500100, 4999900), (500150, 4999900), (500150, 4999850), (500100, 4999850)]
BOW_TIE = [(500100, 4999900), (500150, 4999850), (500150, 4999900), (500100, 4999850)]


@pytest.fixture
def canvas(qgis_app, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(400, 400)
    canvas.setMapTool(QgsMapToolPan(canvas))
    canvas.show()
    yield canvas
    canvas.unsetMapTool(canvas.mapTool())


@pytest.fixture
def look_at(canvas):
    """A function that shows an extent in a CRS on the canvas."""

    def look(extent, crs=UTM):
        canvas.setDestinationCrs(crs)
        canvas.setExtent(extent)

    return look


@pytest.fixture
def project(qgis_new_project, tmp_path):
    """An empty project, saved, so that drawn layers go beside it."""
    project = QgsProject.instance()
    project.write(str(tmp_path / "work.qgz"))
    return project


@pytest.fixture
def image(project, write_raster, tmp_path):
    """A layer of 400 x 400 pixels of 0.5 m, upper left corner at 500000, 5000000."""
    path = write_raster(tmp_path / "town.tif", np.zeros((3, 400, 400), np.uint8))
    return project.addMapLayer(QgsRasterLayer(path, "town"))


@pytest.fixture
def bar(canvas, image, look_at, qtbot):
    look_at(image.extent())
    bar = EventBar(canvas)
    qtbot.addWidget(bar)
    bar.set_image(image)
    bar.set_classes(CLASSES)
    yield bar
    bar.remove()


def at(canvas, point):
    return canvas.getCoordinateTransform().transform(QgsPointXY(*point)).toQPointF().toPoint()


def click(canvas, point, button=Qt.MouseButton.LeftButton):
    QTest.mouseMove(canvas.viewport(), at(canvas, point))
    QTest.mouseClick(canvas.viewport(), button, Qt.KeyboardModifier.NoModifier, at(canvas, point))


def draw_polygon(canvas, corners):
    for corner in corners:
        click(canvas, corner)
    click(canvas, corners[-1], Qt.MouseButton.RightButton)


def drag(canvas, start, end):
    first, last = at(canvas, start), at(canvas, end)
    viewport = canvas.viewport()
    QTest.mousePress(viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, first)
    QTest.mouseMove(viewport, (first + last) / 2)
    QTest.mouseMove(viewport, last)
    QTest.mouseRelease(viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, last)


def turn_wheel(canvas, point, notches, modifier):
    position = QPointF(at(canvas, point))
    event = QWheelEvent(
        position,
        QPointF(canvas.viewport().mapToGlobal(position.toPoint())),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        modifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(canvas.viewport(), event)


def events(bar):
    return list(bar.layer().getFeatures())


def box(geometry):
    extent = geometry.boundingBox()
    return [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()]


def labels_with_house(write_raster, project, path, value=4, **kwargs):
    """A label raster of 400 x 400 with a house of 20 rows x 40 columns, its upper left pixel (100, 200)."""
    pixels = np.zeros((1, 400, 400), np.uint8)
    pixels[0, 100:120, 200:240] = value
    return project.addMapLayer(QgsRasterLayer(write_raster(path, pixels, **kwargs), "labels"))


def test_one_click_makes_the_layer_and_the_first_polygon_is_an_event(bar, canvas, project, qtbot):
    bar.buttons["polygon"].click()
    layer = bar.layer()
    assert is_event_layer(layer) and find_event_layers(project) == [layer]
    assert layer.isEditable() and canvas.currentLayer() is layer
    with qtbot.waitSignal(bar.changed):
        draw_polygon(canvas, SQUARE)
    (event,) = events(bar)
    assert (event["event"], event["to_class"], event["step"]) == ("create", "building", 1)
    assert box(event.geometry()) == pytest.approx([500100, 4999850, 500150, 4999900], abs=1)
    assert bar.totals() == (1, 1)
    qtbot.waitUntil(lambda: bar.count.text() == "1 event")


def test_the_choice_in_the_bar_is_what_the_drawing_means(bar, canvas):
    bar.choice.set_event("edit")
    bar.choice.to_class.setCurrentIndex(bar.choice.to_class.findData("water"))
    bar.choice.step.setValue(LARGEST_STEP)
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    (event,) = events(bar)
    assert (event["event"], event["to_class"], event["step"]) == ("edit", "water", LARGEST_STEP)
    assert box(event.geometry()) == pytest.approx([500020, 4999960, 500060, 4999980], abs=1)


def test_undo_and_redo_are_those_of_the_layer(bar, canvas, qtbot):
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    drag(canvas, (500100, 4999980), (500140, 4999960))
    stack = bar.layer().undoStack()
    assert stack.count() == 2 and stack.undoText() == "Create building"
    with qtbot.waitSignal(bar.changed):
        bar.undo.undo.click()
    assert bar.totals()[0] == 1
    stack.undo()  # as QGIS's Edit > Undo does
    assert bar.totals()[0] == 0
    assert not bar.undo.undo.isEnabled() and bar.undo.redo.isEnabled()
    bar.undo.redo.click()
    stack.redo()
    assert bar.totals()[0] == 2
    assert not bar.undo.redo.isEnabled()


def test_saved_events_are_in_the_file(bar, canvas):
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    assert bar.layer().commitChanges()
    path = bar.layer().source().split("|")[0]
    (event,) = QgsVectorLayer(f"{path}|layername=change_events", "again", "ogr").getFeatures()
    assert (event["event"], event["to_class"], event["step"]) == ("create", "building", 1)


def test_a_polygon_drawn_on_a_map_in_another_crs_lies_in_that_of_the_image(bar, canvas, look_at, image):
    degrees = QgsCoordinateReferenceSystem("EPSG:4326")
    to_degrees = QgsCoordinateTransform(UTM, degrees, QgsProject.instance())
    look_at(to_degrees.transformBoundingBox(image.extent()), degrees)
    for name, draw in (("polygon", draw_polygon), ("rectangle", lambda c, p: drag(c, p[0], p[2]))):
        bar.buttons[name].click()
        draw(canvas, [(p.x(), p.y()) for p in (to_degrees.transform(QgsPointXY(*corner)) for corner in SQUARE)])
    assert bar.layer().crs() == UTM
    for event in events(bar):
        assert box(event.geometry()) == pytest.approx([500100, 4999850, 500150, 4999900], abs=2)


def test_a_raster_without_crs_is_drawn_on_where_qgis_shows_it(project, canvas, look_at, write_raster, tmp_path, qtbot):
    path = write_raster(tmp_path / "picture.tif", np.zeros((3, 400, 400), np.uint8), crs=None)
    picture = project.addMapLayer(QgsRasterLayer(path, "picture"))
    look_at(picture.extent(), QgsCoordinateReferenceSystem())
    bar = EventBar(canvas)
    qtbot.addWidget(bar)
    bar.set_image(picture)
    bar.set_classes(CLASSES)
    bar.buttons["rectangle"].click()
    drag(canvas, (100, -50), (150, -90))
    (event,) = events(bar)
    assert not bar.layer().crs().isValid()
    assert box(event.geometry()) == pytest.approx([100, -90, 150, -50], abs=2)
    bar.remove()


def test_a_polygon_that_crosses_itself_is_repaired_with_a_note(bar, canvas, qtbot):
    bar.buttons["polygon"].click()
    with qtbot.waitSignal(bar.noted) as noted:
        draw_polygon(canvas, BOW_TIE)
    assert "crossed itself and was repaired" in noted.args[0]
    (event,) = events(bar)
    assert event.geometry().isGeosValid()
    assert event.geometry().area() == pytest.approx(1250, rel=0.1)  # two triangles of 50 m x 25 m / 2


def test_a_polygon_without_area_is_refused(bar, canvas, qtbot):
    bar.buttons["polygon"].click()
    with qtbot.waitSignal(bar.failed) as failed:
        draw_polygon(canvas, [(500100, 4999900), (500150, 4999900), (500120, 4999900)])
    assert "encloses no area" in failed.args[0]
    assert bar.totals()[0] == 0


def test_an_object_of_a_label_raster_is_removed(bar, canvas, project, write_raster, tmp_path):
    bar.set_labels(labels_with_house(write_raster, project, tmp_path / "labels.tif"))
    bar.buttons["object"].click()
    assert bar.choice.value() == ("remove", "background", 1)
    click(canvas, (500110, 4999945))
    click(canvas, (500110, 4999945))  # a double click takes it once
    (event,) = events(bar)
    assert (event["event"], event["to_class"]) == ("remove", "background")
    assert box(event.geometry()) == pytest.approx([500100, 4999940, 500120, 4999950])
    assert event.geometry().area() == pytest.approx(200)


def test_after_the_object_tool_drawing_creates_again(bar, canvas, project, write_raster, tmp_path):
    bar.set_labels(labels_with_house(write_raster, project, tmp_path / "labels.tif"))
    bar.buttons["object"].click()
    bar.buttons["polygon"].click()
    assert bar.choice.value()[0] == "create"
    bar.choice.set_event("remove")
    bar.buttons["stamp"].click()
    assert bar.choice.value()[0] == "create"


def test_a_click_beside_the_objects_says_so(bar, canvas, project, write_raster, tmp_path, qtbot):
    bar.set_labels(labels_with_house(write_raster, project, tmp_path / "labels.tif"))
    bar.buttons["object"].click()
    with qtbot.waitSignal(bar.failed) as failed:
        click(canvas, (500010, 4999990))
    assert "no object of “labels” here" in failed.args[0]
    assert bar.totals()[0] == 0


def test_an_object_of_a_label_polygon_layer_is_changed(bar, canvas, project):
    labels = project.addMapLayer(QgsVectorLayer("Polygon?crs=EPSG:3857", "houses", "memory"))
    house = QgsGeometry.fromRect(QgsRectangle(500100, 4999940, 500120, 4999950))
    outline = QgsGeometry(house)
    outline.transform(QgsCoordinateTransform(UTM, labels.crs(), project))
    feature = QgsFeature()
    feature.setGeometry(outline)
    labels.dataProvider().addFeature(feature)
    bar.set_labels(labels)
    bar.choice.set_event("edit")
    bar.buttons["object"].click()
    click(canvas, (500110, 4999945))
    (event,) = events(bar)
    assert (event["event"], event["to_class"]) == ("edit", "building")
    assert box(event.geometry()) == pytest.approx(box(house), abs=0.01)


def test_a_stamp_is_a_copy_of_the_outline_where_one_clicks(bar, canvas, project, write_raster, tmp_path):
    bar.set_labels(labels_with_house(write_raster, project, tmp_path / "labels.tif"))
    bar.buttons["stamp"].click()
    click(canvas, (500110, 4999945))
    assert bar.totals()[0] == 0 and "Click to place" in bar.hint.text()
    click(canvas, (500050, 4999850))
    click(canvas, (500150, 4999850))
    first, second = (event.geometry() for event in events(bar))
    assert box(first) == pytest.approx([500040, 4999845, 500060, 4999855], abs=0.6)
    assert box(second) == pytest.approx([500140, 4999845, 500160, 4999855], abs=0.6)


def test_r_and_the_wheel_turn_a_stamp(bar, canvas, project, write_raster, tmp_path):
    bar.set_labels(labels_with_house(write_raster, project, tmp_path / "labels.tif"))
    bar.buttons["stamp"].click()
    click(canvas, (500110, 4999945))
    for _ in range(6):  # of 15 degrees
        QTest.keyClick(canvas, Qt.Key.Key_R)
    click(canvas, (500050, 4999850))
    upright = events(bar)[0].geometry()
    assert box(upright) == pytest.approx([500045, 4999840, 500055, 4999860], abs=0.6)
    scale = canvas.scale()
    turn_wheel(canvas, (500150, 4999850), 12, Qt.KeyboardModifier.ControlModifier)  # of 5 degrees, anticlockwise
    assert canvas.scale() == scale  # turned, not zoomed
    click(canvas, (500150, 4999850))
    turned = events(bar)[1].geometry()
    assert turned.area() == pytest.approx(200, rel=1e-6)
    along = 20 * math.cos(math.radians(30)) + 10 * math.sin(math.radians(30))
    assert turned.boundingBox().width() == pytest.approx(along, abs=0.1)
    # Turned clockwise by 90 - 60 degrees: the long side falls towards the east.
    easternmost = max(turned.vertices(), key=lambda vertex: vertex.x())
    assert easternmost.y() < turned.boundingBox().center().y()


def test_a_stamp_on_a_map_in_degrees_keeps_its_shape(bar, canvas, look_at, image, project, write_raster, tmp_path):
    degrees = QgsCoordinateReferenceSystem("EPSG:4326")
    to_degrees = QgsCoordinateTransform(UTM, degrees, QgsProject.instance())
    look_at(to_degrees.transformBoundingBox(image.extent()), degrees)
    bar.set_labels(labels_with_house(write_raster, project, tmp_path / "labels.tif"))
    bar.buttons["stamp"].click()
    for point in ((500110, 4999945), (500050, 4999850)):
        place = to_degrees.transform(QgsPointXY(*point))
        click(canvas, (place.x(), place.y()))
        for _ in range(6):
            QTest.keyClick(canvas, Qt.Key.Key_R)
    place = to_degrees.transform(QgsPointXY(500150, 4999850))
    click(canvas, (place.x(), place.y()))
    for event in events(bar):
        assert event.geometry().area() == pytest.approx(200, rel=0.01)
        sides = sorted((event.geometry().boundingBox().width(), event.geometry().boundingBox().height()))
        assert sides == pytest.approx([10, 20], rel=0.02)


def test_a_drawn_polygon_can_be_stamped_without_labels(bar, canvas):
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    bar.buttons["stamp"].click()
    click(canvas, (500040, 4999970))
    click(canvas, (500150, 4999850))
    assert box(events(bar)[1].geometry()) == pytest.approx([500130, 4999840, 500170, 4999860], abs=1.5)


def test_a_right_click_lets_go_of_the_outline(bar, canvas, project, write_raster, tmp_path, qtbot):
    bar.set_labels(labels_with_house(write_raster, project, tmp_path / "labels.tif"))
    bar.buttons["stamp"].click()
    click(canvas, (500110, 4999945))
    click(canvas, (500150, 4999850), Qt.MouseButton.RightButton)
    assert "Click the object" in bar.hint.text()
    with qtbot.waitSignal(bar.failed):
        click(canvas, (500150, 4999850))
    assert bar.totals()[0] == 0


@pytest.mark.parametrize("name", ["polygon", "rectangle", "object", "stamp"])
def test_escape_gives_the_former_tool_back(bar, canvas, project, write_raster, tmp_path, name):
    bar.set_labels(labels_with_house(write_raster, project, tmp_path / "labels.tif"))
    former = canvas.mapTool()
    bar.buttons[name].click()
    assert bar.buttons[name].isChecked() and canvas.mapTool() is not former
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert canvas.mapTool() is former
    assert not bar.buttons[name].isChecked() and bar.hint.text() == ""


def test_escape_gives_up_a_polygon_before_the_tool(bar, canvas):
    bar.buttons["polygon"].click()
    click(canvas, SQUARE[0])
    click(canvas, SQUARE[1])
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert bar.drawing.active() == "polygon"
    draw_polygon(canvas, SQUARE)
    assert bar.totals()[0] == 1


def test_switching_tools_still_ends_at_the_former_one(bar, canvas):
    former = canvas.mapTool()
    bar.buttons["polygon"].click()
    bar.buttons["rectangle"].click()
    bar.buttons["rectangle"].click()
    assert canvas.mapTool() is former


def test_without_an_image_the_next_step_is_said(canvas, project, qtbot):
    bar = EventBar(canvas)
    qtbot.addWidget(bar)
    with qtbot.waitSignal(bar.failed) as failed:
        bar.buttons["polygon"].click()
    assert "Choose the image first" in failed.args[0]
    assert not bar.buttons["polygon"].isChecked() and bar.layer() is None
    bar.remove()


def test_without_labels_there_is_no_object_to_take(bar, qtbot):
    with qtbot.waitSignal(bar.failed) as failed:
        bar.buttons["object"].click()
    assert "Choose the labels first" in failed.args[0]
    assert bar.layer() is None and not bar.buttons["object"].isChecked()


def test_each_image_has_its_events(bar, canvas, project, image, write_raster, tmp_path):
    bar.buttons["rectangle"].click()
    layer = bar.layer()
    other = project.addMapLayer(
        QgsRasterLayer(write_raster(tmp_path / "other.tif", np.zeros((3, 9, 9), np.uint8)), "other")
    )
    bar.set_image(other)
    assert bar.layer() is None and bar.drawing.active() == ""
    bar.set_image(image)
    assert bar.layer() is layer


def test_a_removed_layer_is_let_go_of_and_a_new_one_is_made(bar, canvas, project, qtbot):
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    with qtbot.waitSignal(bar.changed):
        project.removeMapLayer(bar.layer())
    assert bar.layer() is None and bar.totals() == (0, 0)
    assert bar.drawing.active() == "" and not bar.undo.undo.isEnabled()
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    assert bar.totals()[0] == 1


def test_a_cleared_project_ends_drawing_amid_a_polygon(bar, canvas, project, qtbot):
    bar.buttons["polygon"].click()
    click(canvas, SQUARE[0])
    click(canvas, SQUARE[1])
    bar.set_image(None)  # as the list of images does when its image goes
    project.clear()
    assert bar.layer() is None and bar.drawing.active() == ""
    qtbot.waitUntil(lambda: bar.count.text() == "")


def test_a_tool_that_comes_back_after_its_layer_went_does_nothing(bar, canvas, project):
    bar.buttons["polygon"].click()
    tool = canvas.mapTool()
    other = QgsMapToolPan(canvas)
    canvas.setMapTool(other)
    project.removeMapLayer(bar.layer())
    canvas.setMapTool(tool)  # as a tool does that gives the canvas back to the one before it
    draw_polygon(canvas, SQUARE)
    assert bar.layer() is None
    bar.stop()
    bar.buttons["polygon"].click()
    draw_polygon(canvas, SQUARE)
    assert bar.totals()[0] == 1


def test_ending_the_edits_ends_drawing(bar, canvas):
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    bar.layer().commitChanges()
    assert bar.drawing.active() == ""
    bar.buttons["rectangle"].click()
    drag(canvas, (500100, 4999980), (500140, 4999960))
    assert bar.totals()[0] == 2


def test_edits_made_elsewhere_are_told(bar, canvas, qtbot):
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    layer = bar.layer()
    (event,) = events(bar)
    with qtbot.waitSignal(bar.changed):
        layer.changeAttributeValue(event.id(), layer.fields().indexFromName("step"), 4)
    assert bar.totals() == (1, 4)
    with qtbot.waitSignal(bar.changed):
        layer.rollBack()
    assert bar.totals() == (0, 0)


def test_removing_the_bar_leaves_nothing_on_the_canvas(canvas, image, look_at, qtbot):
    look_at(image.extent())
    visible = len([item for item in canvas.scene().items() if item.isVisible()])
    former = canvas.mapTool()
    bar = EventBar(canvas)
    qtbot.addWidget(bar)
    bar.set_image(image)
    bar.set_classes(CLASSES)
    bar.buttons["rectangle"].click()
    drag(canvas, (500020, 4999980), (500060, 4999960))
    bar.buttons["stamp"].click()
    click(canvas, (500040, 4999970))
    bar.remove()
    assert canvas.mapTool() is former
    assert len([item for item in canvas.scene().items() if item.isVisible()]) <= visible
