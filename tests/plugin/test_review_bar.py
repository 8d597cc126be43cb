"""Going through changed places: what is shown of one, and what stays of it when its layer goes."""

import pytest
from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsRectangle, QgsVectorLayer
from qgis.gui import QgsHighlight, QgsMapCanvas
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest

from changen2_qgis.results import ROLE, DetectionGroup
from changen2_qgis.review_bar import ReviewBar


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


def test_a_result_that_was_removed_from_the_layers_panel_has_nothing_to_review(bar, canvas):
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    QgsProject.instance().layerTreeRoot().removeAllChildren()
    QTest.mouseClick(bar.next, Qt.MouseButton.LeftButton)
    assert bar.position.text() == "Nothing to review"
