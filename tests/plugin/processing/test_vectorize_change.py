"""Another threshold on a probability that is written by hand, through the real worker."""

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import QgsCoordinateReferenceSystem, QgsRasterLayer


@pytest.fixture
def probability(tmp_path, write_raster):
    """Two places: 4 × 4 pixels of 0.5 m at p = 0.6, and 2 × 2 at p = 0.9; the rest p = 0, the last column nodata."""
    values = np.ones((1, 20, 30), np.uint8)
    values[0, 2:6, 3:7] = 1 + round(0.6 * 254)
    values[0, 10:12, 20:22] = 1 + round(0.9 * 254)
    values[0, :, -1] = 0
    return write_raster(tmp_path / "change_probability.tif", values, nodata=0)


def polygons(path):
    dataset = ogr.Open(path)
    return sorted(round(feature.GetField("area_m2"), 1) for feature in dataset.GetLayerByName("change"))


@pytest.mark.parametrize(
    ("threshold", "min_area", "areas", "changed"),
    [(0.5, 0, [1.0, 4.0], 20), (0.7, 0, [1.0], 4), (0.5, 2, [4.0], 20), (0.95, 0, [], 0)],
)
def test_threshold_and_smallest_area(run, probability, tmp_path, threshold, min_area, areas, changed):
    made = run(
        "vectorizechange",
        {
            "PROBABILITY": probability,
            "THRESHOLD": threshold,
            "MIN_AREA": min_area,
            "OUTPUT_FOLDER": str(tmp_path / "r"),
        },
    )
    assert made.succeeded, made.error
    assert polygons(made.results["POLYGONS"]) == areas
    change = gdal.Open(made.results["CHANGE"]).ReadAsArray()
    assert (change == 1).sum() == changed and (change[:, -1] == 255).all()
    assert made.results["POLYGON_COUNT"] == len(areas)


def test_results_are_refused_in_a_folder_that_has_some_unless_overwritten(run, probability, tmp_path):
    parameters = {"PROBABILITY": probability, "THRESHOLD": 0.5, "OUTPUT_FOLDER": str(tmp_path)}
    assert run("vectorizechange", parameters).succeeded
    refused = run("vectorizechange", parameters)
    assert not refused.succeeded and "already holds" in refused.error
    again = run("vectorizechange", {**parameters, "THRESHOLD": 0.7, "OVERWRITE": True})
    assert again.succeeded and polygons(again.results["POLYGONS"]) == [1.0]


def test_a_map_that_was_given_another_crs_is_refused(run, probability, tmp_path):
    layer = QgsRasterLayer(probability, "p")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32634"))
    made = run("vectorizechange", {"PROBABILITY": layer, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert not made.succeeded and "another CRS than its file has" in made.error


def test_a_raster_that_is_no_probability_is_refused(run, tmp_path, write_raster):
    path = write_raster(tmp_path / "rgb.tif", np.ones((3, 5, 5), np.uint16))
    made = run("vectorizechange", {"PROBABILITY": path, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert not made.succeeded and "rgb.tif" in made.error
