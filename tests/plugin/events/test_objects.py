"""Finding the outline of an object under a click."""

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)

from changen2_qgis.errors import InputError
from changen2_qgis.events.objects import WINDOW, find_object, object_at

UTM = QgsCoordinateReferenceSystem("EPSG:32633")


def raster(write_raster, path, pixels, **kwargs):
    return QgsRasterLayer(write_raster(path, pixels[None].astype(np.uint8), **kwargs), "labels")


def polygons(crs, *shapes):
    layer = QgsVectorLayer(f"Polygon?crs={crs}", "houses", "memory")
    for wkt in shapes:
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromWkt(wkt))
        layer.dataProvider().addFeature(feature)
    return layer


def box(geometry):
    extent = geometry.boundingBox()
    return [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()]


def test_an_object_is_the_connected_pixels_of_its_class(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((50, 60))
    pixels[10:20, 5:15] = 4
    pixels[10:20, 15:25] = 3  # a neighbour of another class
    pixels[30:35, 5:15] = 4  # another object of the class
    layer = raster(write_raster, tmp_path / "a.tif", pixels)
    found = object_at(layer, QgsPointXY(500004, 4999993))
    assert box(found.geometry) == [500002.5, 4999990, 500007.5, 4999995]
    assert found.crs == UTM and found.note == ""


def test_pixels_that_touch_by_a_corner_are_one_sound_object(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((20, 20))
    pixels[5:10, 5:10] = pixels[10:15, 10:15] = 4
    layer = raster(write_raster, tmp_path / "a.tif", pixels)
    found = object_at(layer, QgsPointXY(500003, 4999997))
    assert found.geometry.isGeosValid()
    assert found.geometry.area() == pytest.approx(50 * 0.25)


def test_a_court_stays_open(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((30, 30))
    pixels[5:25, 5:25] = 4
    pixels[10:20, 10:20] = 0
    layer = raster(write_raster, tmp_path / "a.tif", pixels)
    found = object_at(layer, QgsPointXY(500003, 4999997))
    assert found.geometry.area() == pytest.approx(300 * 0.25)
    assert object_at(layer, QgsPointXY(500007.5, 4999992.5)) is None


def test_background_nodata_and_the_outside_are_no_objects(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((20, 20))
    pixels[:, 10:] = 255
    layer = raster(write_raster, tmp_path / "a.tif", pixels, nodata=255)
    for x in (500001, 500008, 499990):
        assert object_at(layer, QgsPointXY(x, 4999995)) is None


def test_a_raster_without_crs_is_read_where_qgis_shows_it(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((50, 60))
    pixels[10:20, 5:15] = 4
    layer = raster(write_raster, tmp_path / "a.tif", pixels, crs=None)
    found = object_at(layer, QgsPointXY(7, -12))
    assert box(found.geometry) == [5, -20, 15, -10]
    assert not found.crs.isValid()


def test_an_object_larger_than_the_window_is_cut_and_said_so(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((40, 3 * WINDOW))
    pixels[10:20] = 6
    layer = raster(write_raster, tmp_path / "road.tif", pixels)
    middle = 500000 + 3 * WINDOW * 0.25
    found = object_at(layer, QgsPointXY(middle, 4999993))
    assert found.geometry.boundingBox().width() == WINDOW * 0.5
    assert f"larger than {WINDOW} pixels" in found.note
    small = object_at(raster(write_raster, tmp_path / "b.tif", pixels[:, :500]), QgsPointXY(500010, 4999993))
    assert small.note == ""


def test_a_window_of_a_large_raster_in_degrees_is_not_shifted(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((1500, 2600))
    pixels[1203:1208, 2101:2111] = 4
    place = {"crs": 4326, "origin": (9.98765, 48.12345), "pixel_size": 1e-5}
    layer = raster(write_raster, tmp_path / "a.tif", pixels, **place)
    found = object_at(layer, QgsPointXY(9.98765 + 2105.5e-5, 48.12345 - 1205.5e-5))
    expected = [9.98765 + 2101e-5, 48.12345 - 1208e-5, 9.98765 + 2111e-5, 48.12345 - 1203e-5]
    assert box(found.geometry) == pytest.approx(expected, abs=1e-9)


def test_a_rotated_raster_gives_its_objects_where_qgis_draws_them(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((60, 60))
    pixels[20:40, 20:40] = 4
    path = write_raster(tmp_path / "turned.tif", pixels[None].astype(np.uint8))
    gdal.Open(path, gdal.GA_Update).SetGeoTransform((500000, 0.4, 0.3, 5000000, 0.3, -0.4))
    layer = QgsRasterLayer(path, "turned")
    middle = QgsPointXY(500000 + 30 * 0.7, 5000000 - 30 * 0.1)
    found = object_at(layer, middle)
    assert found.geometry.area() == pytest.approx(400 * 0.25, rel=0.05)
    assert found.geometry.centroid().asPoint().distance(middle) < 0.5


def test_of_polygons_over_each_other_the_smallest_is_meant(qgis_app):
    layer = polygons(
        "EPSG:32633",
        "Polygon ((0 0, 100 0, 100 100, 0 100, 0 0))",
        "Polygon ((10 10, 20 10, 20 20, 10 20, 10 10))",
    )
    assert box(object_at(layer, QgsPointXY(15, 15)).geometry) == [10, 10, 20, 20]
    assert box(object_at(layer, QgsPointXY(50, 50)).geometry) == [0, 0, 100, 100]
    assert object_at(layer, QgsPointXY(150, 50)) is None


def test_a_point_of_the_map_is_brought_to_the_crs_of_each_layer(qgis_app, write_raster, tmp_path):
    pixels = np.zeros((50, 60))
    pixels[10:20, 5:15] = 4
    labels = raster(write_raster, tmp_path / "a.tif", pixels)
    drawn = polygons("EPSG:32633", "Polygon ((0 0, 1 0, 1 1, 0 1, 0 0))")
    mercator = QgsCoordinateReferenceSystem("EPSG:3857")
    to_map = QgsCoordinateTransform(UTM, mercator, QgsProject.instance())
    found = find_object([drawn, labels], to_map.transform(QgsPointXY(500004, 4999993)), mercator)
    assert box(found.geometry) == [500002.5, 4999990, 500007.5, 4999995] and found.crs == UTM
    with pytest.raises(InputError, match="“houses” or “labels”"):
        find_object([drawn, labels], to_map.transform(QgsPointXY(500020, 4999993)), mercator)
