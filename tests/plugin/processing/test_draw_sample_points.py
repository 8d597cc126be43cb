"""Points to label: as many as wanted on each part of the map, always the same, and never over somebody's labels."""

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsProject, QgsVectorLayer


@pytest.fixture
def change(tmp_path, write_raster):
    """A map of 300 × 400 pixels with 1500 of change, its last ten columns without data."""
    values = np.zeros((1, 300, 400), np.uint8)
    values[0, 100:130, 200:250] = 1
    values[0, :, -10:] = 255
    return write_raster(tmp_path / "change.tif", values, nodata=255)


def points(made):
    layer = QgsVectorLayer(made.results["POINTS"], "points", "ogr")
    return [(f["number"], f["map"], f["reference"], f.geometry().asPoint()) for f in layer.getFeatures()]


def test_points_lie_where_their_stratum_is(run, change, tmp_path):
    made = run("samplepoints", {"CHANGE": change, "LEAST": 20, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert made.succeeded, made.error
    drawn = points(made)
    assert len(drawn) == made.results["ON_CHANGE"] + made.results["ON_NO_CHANGE"]
    assert sum(stratum for _, stratum, *_ in drawn) == made.results["ON_CHANGE"] == 20
    places = {(int((p.x() - 500000) / 0.5), int((5000000 - p.y()) / 0.5)): stratum for _, stratum, _, p in drawn}
    assert len(places) == len(drawn)
    for (column, row), stratum in places.items():
        assert column < 390 and stratum == (100 <= row < 130 and 200 <= column < 250)
    assert not any(isinstance(reference, int) for _, _, reference, _ in drawn)
    # In the order of their numbers, places of both strata are mixed.
    strata = [stratum for _, stratum, *_ in drawn]
    assert 1 in strata[: len(strata) // 2] and 1 in strata[len(strata) // 2 :]


@pytest.mark.parametrize("crs", [True, False])
def test_points_on_a_map_whose_rows_run_upwards_lie_where_their_stratum_is(run, change, write_raster, tmp_path, crs):
    """QGIS shows such a map turned, and of its own number of pixels where they are not square."""
    placed = write_raster(tmp_path / "upwards.tif", gdal.Open(change).ReadAsArray()[None], crs=None, nodata=255)
    dataset = gdal.Open(placed, gdal.GA_Update)
    dataset.SetGeoTransform((500000, 0.5, 0, 4999700, 0, 1))
    if crs:
        dataset.SetProjection(gdal.Open(change).GetProjection())
    dataset = None
    made = run("samplepoints", {"CHANGE": placed, "LEAST": 20, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert made.succeeded, made.error
    drawn = [(int((p.x() - 500000) / 0.5), int(p.y() - 4999700), stratum) for _, stratum, _, p in points(made)]
    assert {stratum for *_, stratum in drawn} == {0, 1}
    for column, row, stratum in drawn:
        assert column < 390 and stratum == (100 <= row < 130 and 200 <= column < 250)


def test_the_same_seed_draws_the_same_points(run, change, tmp_path):
    first, same, other = (
        points(run("samplepoints", {"CHANGE": change, "SEED": seed, "OUTPUT_FOLDER": str(tmp_path / name)}))
        for seed, name in ((3, "a"), (3, "b"), (4, "c"))
    )
    assert [p for *_, p in first] == [p for *_, p in same] != [p for *_, p in other]


def test_labels_that_are_there_are_kept(run, change, tmp_path):
    parameters = {"CHANGE": change, "OUTPUT_FOLDER": str(tmp_path / "r")}
    assert run("samplepoints", parameters).succeeded
    refused = run("samplepoints", parameters)
    assert not refused.succeeded and "somebody's labels" in refused.error
    assert run("samplepoints", {**parameters, "OVERWRITE": True}).succeeded


def test_a_map_without_change_cannot_be_sampled(run, tmp_path, write_raster):
    path = write_raster(tmp_path / "none.tif", np.zeros((1, 20, 20), np.uint8))
    made = run("samplepoints", {"CHANGE": path, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert not made.succeeded and "no pixel of change" in made.error and not (tmp_path / "r").exists()


def test_from_points_to_an_estimate_without_crs(run, tmp_path, write_raster):
    values = np.zeros((1, 100, 200), np.uint8)
    values[0, 10:40, 20:60] = 1
    change = write_raster(tmp_path / "change.tif", values, crs=None)
    made = run("samplepoints", {"CHANGE": change, "LEAST": 30, "OUTPUT_FOLDER": str(tmp_path / "points")})
    layer = QgsVectorLayer(made.results["POINTS"], "points", "ogr")
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    reference = layer.fields().indexFromName("reference")
    for feature in layer.getFeatures():  # a person who sees what the map says, y up
        point = feature.geometry().asPoint()
        layer.changeAttributeValue(feature.id(), reference, int(20 < point.x() < 60 and -40 < point.y() < -10))
    assessed = run("assessaccuracy", {"PREDICTION": change, "POINTS": layer, "OUTPUT_FOLDER": str(tmp_path / "r")})
    layer.rollBack()
    assert assessed.succeeded, assessed.error
    words = assessed.results["WORDS"]
    assert "100% of the map is right, and 1,200.00 pixels changed." in words and "interval" not in words
    assert "had changed: up to" in words, "labels that are all alike do not tell that nothing was missed"


def test_labels_serve_a_map_that_has_changed_since(run, tmp_path, write_raster):
    """Points drawn on one map tell the true area when another one is assessed with them."""
    drawn_on = np.zeros((1, 100, 200), np.uint8)
    drawn_on[0, 10:60, 20:120] = 1
    made = run(
        "samplepoints",
        {"CHANGE": write_raster(tmp_path / "a.tif", drawn_on), "LEAST": 150, "OUTPUT_FOLDER": str(tmp_path / "points")},
    )
    layer = QgsVectorLayer(made.results["POINTS"], "points", "ogr")
    assert {(f["map"], f["stratum_pixels"]) for f in layer.getFeatures()} == {(0, 15_000), (1, 5_000)}
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    reference = layer.fields().indexFromName("reference")
    for feature in list(layer.getFeatures()):  # what is true: the upper half of what was mapped
        row = (5_000_000 - feature.geometry().asPoint().y()) / 0.5
        layer.changeAttributeValue(feature.id(), reference, int(feature["map"] == 1 and row < 35))
    drawn_on[0, 10:60, 50:120] = 0  # a higher threshold
    moved = write_raster(tmp_path / "b.tif", drawn_on)
    assessed = run("assessaccuracy", {"PREDICTION": moved, "POINTS": layer, "OUTPUT_FOLDER": str(tmp_path / "r")})
    layer.rollBack()
    assert assessed.succeeded, assessed.error
    page = (tmp_path / "r" / "assessment.html").read_text(encoding="utf8")
    assert "Stehman 2014" in page
    hectares = float(assessed.results["WORDS"].split(" ha")[0].split(" ")[-1])
    assert abs(hectares - 2_500 * 0.25 / 10_000) < 0.02
