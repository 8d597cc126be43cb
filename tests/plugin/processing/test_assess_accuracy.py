"""A change map against a mask, polygons and labelled points, through the real worker."""

from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)


@pytest.fixture
def reported():
    """Two places of 10 × 10 pixels, and a third in vain."""
    values = np.zeros((1, 80, 120), np.uint8)
    for row, column in ((10, 10), (40, 60), (60, 100)):
        values[0, row : row + 10, column : column + 10] = 1
    return values


@pytest.fixture
def known():
    """The first two places, and one that is not reported."""
    values = np.zeros((1, 80, 120), np.uint8)
    for row, column in ((10, 10), (40, 60), (5, 80)):
        values[0, row : row + 10, column : column + 10] = 1
    return values


def test_against_a_mask(run, tmp_path, write_raster, reported, known):
    maps = {"PREDICTION": reported, "REFERENCE": known}
    paths = {name: write_raster(tmp_path / f"{name}.tif", values) for name, values in maps.items()}
    made = run("assessaccuracy", {**paths, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert made.succeeded, made.error
    found = made.results
    assert (found["KNOWN"], found["FOUND"], found["FALSE"]) == (3, 2, 1)
    assert found["F1"] == found["PRECISION"] == found["RECALL"] == pytest.approx(2 / 3)
    assert found["IOU"] == pytest.approx(0.5) and found["KAPPA"] > 0.6
    assert found["WORDS"].startswith("2 of 3 known changes were found; 1 place was reported that did not change.")
    values = gdal.Open(found["ASSESSMENT"]).ReadAsArray()
    assert [values[place] for place in ((15, 15), (10, 85), (65, 105), (0, 0))] == [1, 2, 3, 0]
    page = Path(found["REPORT"]).read_text(encoding="utf8")
    assert "2 of 3 known changes" in page and "Recall" in page and "REFERENCE" in page
    assert found["ASSESSMENT"] in made.context.layersToLoadOnCompletion()


def test_against_unsaved_polygons_over_a_raster_without_crs(run, tmp_path, write_raster, reported):
    prediction = QgsRasterLayer(write_raster(tmp_path / "map.tif", reported, crs=None), "map")
    layer = QgsVectorLayer("Polygon", "drawn", "memory")
    layer.startEditing()
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(10, -20, 20, -10)))  # y goes up in QGIS
    layer.addFeature(feature)
    QgsProject.instance().addMapLayers([prediction, layer])
    made = run("assessaccuracy", {"PREDICTION": prediction, "REFERENCE": layer, "OUTPUT_FOLDER": str(tmp_path / "r")})
    layer.rollBack()
    assert made.succeeded, made.error
    assert (made.results["KNOWN"], made.results["FOUND"], made.results["FALSE"]) == (1, 1, 2)
    assert made.results["RECALL"] == 1


@pytest.fixture
def points(qgis_app):
    """Six labelled points and one that is not, in the project."""
    points = QgsVectorLayer("Point?crs=EPSG:32633&field=reference:integer", "points", "memory")
    places = [(15, 15, 1), (62, 45, 1), (105, 65, 0), (1, 1, 0), (50, 5, 0), (90, 60, 0), (30, 30, None)]
    for column, row, label in places:
        feature = QgsFeature(points.fields())
        feature.setGeometry(QgsGeometry.fromWkt(f"POINT({500000 + column / 2} {5000000 - row / 2})"))
        feature.setAttributes([label])
        points.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(points)
    yield points
    QgsProject.instance().removeMapLayer(points)


def test_against_labelled_points_alone(run, tmp_path, write_raster, reported, points):
    prediction = write_raster(tmp_path / "map.tif", reported)
    made = run("assessaccuracy", {"PREDICTION": prediction, "POINTS": points, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert made.succeeded, made.error
    assert "6 labelled points" in made.results["WORDS"] and "ASSESSMENT" not in made.results
    # Two of three points on change are right, and all on no change: so much of the map is.
    assert "99% of the map is right" in made.results["WORDS"]
    assert "Olofsson" in Path(made.results["REPORT"]).read_text(encoding="utf8")


def test_against_selected_points(run, tmp_path, write_raster, reported, points):
    points.selectByIds([1, 2, 4, 5])
    given = {
        "PREDICTION": write_raster(tmp_path / "map.tif", reported),
        "POINTS": QgsProcessingFeatureSourceDefinition(points.id(), True),
    }
    made = run("assessaccuracy", {**given, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert made.succeeded, made.error
    assert "4 labelled points" in made.results["WORDS"]
    assert "points" in Path(made.results["REPORT"]).read_text(encoding="utf8")


def test_something_to_compare_with_is_asked_for(run, tmp_path, write_raster, reported):
    made = run("assessaccuracy", {"PREDICTION": write_raster(tmp_path / "map.tif", reported)})
    assert not made.succeeded and "Nothing is given to compare with" in made.error


def test_a_reference_elsewhere_is_refused_and_leaves_nothing(run, tmp_path, write_raster, reported):
    here = write_raster(tmp_path / "map.tif", reported)
    elsewhere = write_raster(tmp_path / "far.tif", reported, origin=(700000.0, 5000000.0))
    made = run("assessaccuracy", {"PREDICTION": here, "REFERENCE": elsewhere, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert not made.succeeded and "overlap" in made.error
    assert not (tmp_path / "r").exists()


def test_the_probability_and_the_classes_are_assessed_too(run, tmp_path, write_raster, reported, known):
    (tmp_path / "d").mkdir()
    prediction = write_raster(tmp_path / "d/change_probability.tif", reported * 200 + 20, nodata=0)
    dataset = gdal.Open(prediction, gdal.GA_Update)
    dataset.GetRasterBand(1).SetDescription("Change probability")
    del dataset
    given = {"PREDICTION": prediction, "REFERENCE": write_raster(tmp_path / "known.tif", known)}
    for date, value in {"before": 2, "after": 4}.items():
        classes = write_raster(tmp_path / f"d/semantic_{date}.tif", known * 0 + value)
        given[f"CLASSES_{date.upper()}"] = classes
    made = run("assessaccuracy", {**given, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert made.succeeded, made.error
    page = Path(made.results["REPORT"]).read_text(encoding="utf8")
    assert "Calibration error" in page and "2 → 4</td><td>300</td><td>300</td><td>200</td>" in page
    assert "<td>2 of 3</td>" in page
    del given["CLASSES_AFTER"]
    refused = run("assessaccuracy", {**given, "OUTPUT_FOLDER": str(tmp_path / "s")})
    assert not refused.succeeded and "both dates" in refused.error and not (tmp_path / "s").exists()
