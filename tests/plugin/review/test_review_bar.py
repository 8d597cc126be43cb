"""Going through changed places: what is shown of one, and what stays of it when its layer goes."""

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.gui import QgsHighlight, QgsMapCanvas
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest

from changen2_qgis.result_groups import ROLE
from changen2_qgis.results import DetectionGroup
from changen2_qgis.review import walk_bar
from changen2_qgis.review.review_bar import ReviewBar


@pytest.fixture
def places(qgis_new_project):
    """Two changed places, the second the larger one."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=area_px:integer&field=review:string", "places", "memory")
    for left, side in ((0, 10), (100, 30)):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, 0, left + side, side)))
        feature.setAttributes([side * side, "unreviewed"])
        layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer, False)
    return layer


@pytest.fixture
def canvas(qtbot, places):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    canvas.setDestinationCrs(places.crs())
    return canvas


@pytest.fixture
def bar(canvas, places, qtbot):
    bar = ReviewBar(canvas)
    qtbot.addWidget(bar)
    node = QgsProject.instance().layerTreeRoot().addGroup("Change")
    node.setCustomProperty("changen2/detection", "one")
    places.setCustomProperty(ROLE, "polygons")
    node.addLayer(places)
    bar.show_result(DetectionGroup(node))
    return bar


def highlights(canvas):
    return [item for item in canvas.scene().items() if isinstance(item, QgsHighlight)]


def test_the_largest_place_comes_first_and_is_outlined(bar, canvas):
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    assert canvas.extent().contains(QgsRectangle(100, 0, 130, 30))
    assert bar.position.text() == "1 of 2"
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    assert canvas.extent().contains(QgsRectangle(0, 0, 10, 10))
    assert len(highlights(canvas)) == 1


def test_a_place_on_the_other_side_of_the_globe_that_the_map_shows_is_told(bar, canvas, places, qtbot):
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem.fromProj("+proj=ortho +lat_0=0 +lon_0=-165"))
    before = canvas.extent()
    with qtbot.waitSignal(bar.refused) as signal:
        QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    assert "outside the project's CRS" in signal.args[0] and canvas.extent() == before
    assert bar.position.text() == "1 of 2" and highlights(canvas) == []
    canvas.setDestinationCrs(places.crs())
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    assert bar.position.text() == "2 of 2" and len(highlights(canvas)) == 1


def test_the_outline_goes_with_its_layer(bar, canvas, places):
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    assert highlights(canvas)
    QgsProject.instance().clear()  # an outline left behind would be painted from a layer that is no more
    assert not highlights(canvas)


def test_another_result_takes_the_outline_away(bar, canvas, places):
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    bar.show_result(None)
    assert not highlights(canvas)
    assert bar.position.text() == "Nothing to review"


def spied_requests(layer, monkeypatch):
    """Every request for features that is made of a layer from here on."""
    asked, read = [], layer.getFeatures
    monkeypatch.setattr(layer, "getFeatures", lambda request: (asked.append(request), read(request))[1])
    return asked


@pytest.mark.parametrize("answered", [{1}, {1, 2, 3}, {1, 2, 3, 4, 5, 6, 7}, {5, 6, 7, 8, 9}, set(range(10)) - {0}])
def test_the_next_open_place_is_found_near_and_far(bar, places, answered, monkeypatch):
    monkeypatch.setattr(walk_bar, "NEAR", 3)
    for left in range(200, 1000, 100):
        feature = QgsFeature(places.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, 0, left + 5, 5)))
        feature.setAttributes([25, "unreviewed"])
        places.dataProvider().addFeature(feature)
    bar.show_result(bar._group)
    for _ in range(5):
        bar.next.click()
    review = places.fields().indexFromName("review")
    marks = {bar._ids[index]: {review: "rejected"} for index in answered}
    assert places.dataProvider().changeAttributeValues(marks)
    asked = spied_requests(places, monkeypatch)
    bar.confirm.click()
    open_after = [(4 + step) % 10 for step in range(1, 10) if (4 + step) % 10 not in answered]
    assert bar._at == open_after[0]
    whole = [request for request in asked if request.filterType() == QgsFeatureRequest.FilterType.FilterExpression]
    assert bool(whole) == ((open_after[0] - 4) % 10 > 3)  # of a million places only where none near is open


def test_a_result_that_was_removed_from_the_layers_panel_has_nothing_to_review(bar, canvas):
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    QgsProject.instance().layerTreeRoot().removeAllChildren()
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    assert bar.position.text() == "Nothing to review"


@pytest.fixture
def drawn(places):
    """A change that the detection missed, drawn by the user: it has a shape and no attributes."""
    feature = QgsFeature(places.fields())
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(200, 0, 220, 20)))
    places.dataProvider().addFeature(feature)
    return places


def test_a_place_drawn_by_hand_comes_last_and_is_to_review(bar, drawn, canvas):
    bar.show_result(bar._group)
    QTest.mouseClick(bar.previous, Qt.MouseButton.LeftButton)
    assert bar.position.text() == "3 of 3"
    assert canvas.extent().contains(QgsRectangle(200, 0, 220, 20))
    for _ in range(3):
        QTest.mouseClick(bar.confirm, Qt.MouseButton.LeftButton)
    assert bar.position.text() == "All 3 reviewed"
    assert {feature["review"] for feature in drawn.getFeatures()} == {"confirmed"}


@pytest.fixture
def session(bar, tmp_path):
    """An edit session of a GeoPackage with places of 10 and 30 m, to which one of 20 m was drawn; it has no number."""
    node = bar._group.node
    places = bar._layer()
    options = QgsVectorFileWriter.SaveVectorOptions()
    path = str(tmp_path / "change.gpkg")
    QgsVectorFileWriter.writeAsVectorFormatV3(places, path, QgsProject.instance().transformContext(), options)
    node.removeAllChildren()
    layer = QgsVectorLayer(path, "places", "ogr")
    layer.setCustomProperty(ROLE, "polygons")
    QgsProject.instance().addMapLayer(layer, False)
    node.addLayer(layer)
    layer.startEditing()
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(200, 0, 220, 20)))
    layer.addFeature(feature)
    bar.show_result(DetectionGroup(node))
    yield layer
    layer.rollBack()


def test_a_drawn_place_stays_the_shown_one_when_saving_numbers_it(bar, session):
    QTest.mouseClick(bar.previous, Qt.MouseButton.LeftButton)
    assert bar.position.text() == "3 of 3"
    assert session.commitChanges()
    QTest.mouseClick(bar.confirm, Qt.MouseButton.LeftButton)
    marks = {round(place.geometry().area()): place["review"] for place in session.getFeatures()}
    assert marks == {100: "unreviewed", 900: "unreviewed", 400: "confirmed"}
    assert bar.position.text() == "1 of 3"


def test_going_on_after_saving_shows_what_is_there(bar, session, canvas):
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    small = next(place.id() for place in session.getFeatures() if place.geometry().area() == 100)
    session.deleteFeature(small)
    another = QgsFeature(session.fields())
    another.setGeometry(QgsGeometry.fromRect(QgsRectangle(300, 0, 320, 20)))
    session.addFeature(another)  # as many as before
    assert session.commitChanges()
    shown = []
    for _ in range(3):
        QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
        shown.append((bar.position.text(), round(canvas.extent().center().x())))
    assert shown == [("2 of 3", 210), ("3 of 3", 310), ("1 of 3", 115)]


@pytest.mark.parametrize(("arrow", "position", "x"), [("next", "2 of 2", 210), ("previous", "1 of 2", 115)])
def test_from_a_place_that_was_deleted_one_goes_on_to_its_neighbours(bar, session, canvas, arrow, position, x):
    for _ in range(2):
        QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    assert bar.position.text() == "2 of 3"
    session.deleteFeature(bar._ids[1])
    QTest.mouseClick(getattr(bar, arrow), Qt.MouseButton.LeftButton)
    assert bar.position.text() == position
    assert round(canvas.extent().center().x()) == x


def test_an_answer_about_a_place_that_was_deleted_goes_to_no_other(bar, session, qtbot):
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    session.deleteFeature(bar._ids[0])
    with qtbot.waitSignal(bar.refused) as refused:
        QTest.mouseClick(bar.confirm, Qt.MouseButton.LeftButton)
    assert refused.args == ["This changed place was deleted; the answer was not saved. Look at the next one."]
    assert bar.position.text() == "1 of 2"
    assert "confirmed" not in {place["review"] for place in session.getFeatures()}
