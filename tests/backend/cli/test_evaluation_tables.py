"""Tables of an evaluation: everything that was found, and nothing that was not."""

import io

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rich.console import Console

from changen2.cli.evaluation_tables import show
from changen2.jobs.evaluate import evaluate


def told(result):
    text = io.StringIO()
    show(result, Console(file=text, width=120, markup=False))
    return " ".join(word for word in text.getvalue().split() if word not in "│┃")


@pytest.fixture
def probability(write_raster):
    """Said and so: 100 pixels found, 100 missed; the rest is said not to change and does not."""
    values = np.full((1, 100, 100), 1, np.uint8)
    values[:, 20:30, 20:30] = 231
    path = write_raster("probability.tif", values, nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "Change probability")
    true = np.zeros((1, 100, 100), np.uint8)
    true[:, 20:30, 20:40] = 1
    return path, write_raster("true.tif", true), write_raster("none.tif", true * 0)


def test_scores_places_and_calibration(probability):
    result = evaluate(*probability[:2])
    text = told(result)
    assert "10,000 pixels, taken for: change probability" in text and "recall 0.500" in text
    assert "known and found 1 of 1 1.000" in text
    scaled, platt = result["calibration"]["ece_scaled"], result["calibration"]["platt"]
    assert f"after Platt's scaling {scaled:.3f}" in text and f"a = {platt['a']:.3f}, b = {platt['b']:.3f}" in text
    for part in result["calibration"]["reliability"]:
        assert f"{part['pixels']:,} {part['predicted']:.3f} {part['observed']:.3f}" in text


def test_one_block_tells_no_interval(probability, write_raster):
    text = told(evaluate(*probability[:2]))
    assert "recall 0.500 interval not known" in text and "A single block" in text
    rng = np.random.default_rng(0)
    many = (write_raster(f"{name}.tif", rng.integers(0, 2, (1, 1024, 1024)).astype(np.uint8)) for name in "ab")
    text = told(evaluate(*many))
    assert "not known" not in text and "too narrow" not in text and "single block" not in text


def test_without_a_scaling_none_is_told(probability):
    text = told(evaluate(probability[0], probability[2]))
    assert "no scaling" in text and "after Platt's scaling" not in text


def test_a_yes_or_no_map_has_no_calibration(probability):
    assert "alibration" not in told(evaluate(*probability[1:]))


def test_classes_are_named_whatever_their_names(write_raster):
    change = np.zeros((1, 60, 60), np.uint8)
    change[:, 10:30, 10:30] = 1
    path = write_raster("change.tif", change)
    values = {"before": 2, "after": 4}
    maps = {date: write_raster(f"semantic_{date}.tif", change * 0 + value) for date, value in values.items()}
    for map_path in maps.values():
        with rasterio.open(map_path, "r+") as dataset:
            dataset.update_tags(CLASS_2="bare [soil]", CLASS_4="building")
    text = told(evaluate(path, path, classes_before=maps["before"], classes_after=maps["after"]))
    assert "bare [soil] → building 400 400 400" in text and "SeK" in text


def test_points_have_their_matrix_and_intervals(tmp_path, write_raster):
    change = np.zeros((1, 60, 60), np.uint8)
    change[:, 30:] = 1
    points = shapely.points(500_000 + np.array([3, 9, 12, 20]), 5_200_000 - np.array([2, 9, 20, 25]))
    pyogrio.raw.write(
        tmp_path / "points.gpkg", shapely.to_wkb(points), field_data=[np.array([0, 0, 0, 0])], fields=["reference"],
        geometry_type="Point", crs="EPSG:32633",
    )  # fmt: skip
    text = told(evaluate(write_raster("map.tif", change), None, points=tmp_path / "points.gpkg"))
    assert "4 labelled points" in text and "user's accuracy of change 0.000" in text
    assert "producer's accuracy of change not known no point tells" in text and "(m²)" in text
    assert "Olofsson et al. 2014, with finite population correction" in text
    assert "overall accuracy 0.500 interval not known" in text, "all labels of a stratum are alike"


def test_a_score_that_is_not_defined_is_no_number(probability):
    text = told(evaluate(probability[2], probability[2]))
    assert "F1 – not defined" in text and "known and found 0 of 0 – not defined" in text
