"""Going through the points of a sample."""

from qgis.core import QgsFeature, QgsGeometry, QgsPointXY, QgsProject, QgsVectorLayer
from qgis.gui import QgsMapCanvas

from changen2_qgis.review.label_bar import LabelBar


def test_points_come_by_number_and_one_that_was_added_by_hand_last(qgis_new_project, qtbot):
    layer = QgsVectorLayer("Point?crs=EPSG:32633&field=number:integer&field=reference:integer", "points", "memory")
    for number in (None, 2, 1):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromPointXY(QgsPointXY(5, 5)))
        feature.setAttributes([number, None])
        layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    bar = LabelBar(canvas)
    qtbot.addWidget(bar)
    assert bar.in_order(layer) == [3, 2, 1]
