"""Sample sizes by the published rule, and the look of the layer."""

from pathlib import Path

import pytest
from qgis.core import NULL, QgsRasterLayer, QgsVectorLayer

from changen2_qgis.review.sample_points import (
    TABLE,
    count_strata,
    draw_places,
    sample_sizes,
    style_points,
    write_points,
)


def test_the_size_of_the_published_example():
    # Olofsson et al. 2014, section 5.1.1: S(O) = 0.01 with their four strata gives 641 points; joined to two strata
    # of the same sum of W S the total is the same.
    spread = 0.02 * 0.458 + 0.015 * 0.49 + 0.32 * 0.3 + 0.645 * 0.218
    assert (spread / 0.01) ** 2 == pytest.approx(641, rel=0.02)
    no_change, change = sample_sizes((96_500, 3_500), (0.95, 0.7), 0.01, 2)
    spread = 0.965 * (0.95 * 0.05) ** 0.5 + 0.035 * (0.7 * 0.3) ** 0.5
    assert no_change + change == pytest.approx((spread / 0.01) ** 2, abs=2)
    assert change / (no_change + change) == pytest.approx(0.035, abs=0.003)


def test_rare_change_gets_the_least_number_and_never_more_than_there_is():
    assert sample_sizes((10**9, 5_000), (0.95, 0.7), 0.02, 50)[1] == 50
    assert sample_sizes((10**6, 12), (0.95, 0.7), 0.02, 50)[1] == 12


@pytest.mark.parametrize(("nodata", "no_change"), [(None, 90), (0, 90), (1, 90), (255, 80)])
def test_zero_is_no_change_though_it_be_nodata(tmp_path, write_raster, nodata, no_change):
    """As of a mask of drawn polygons, and as the backend assesses it."""
    import numpy as np

    values = np.zeros((1, 10, 10), np.uint8)
    values[0, 0], values[0, 1] = 1, 0 if nodata != 255 else 255
    path = write_raster(tmp_path / "map.tif", values, **({} if nodata is None else {"nodata": nodata}))
    change = 0 if nodata == 1 else 10
    assert count_strata(path) == (no_change, change)
    places = draw_places(path, (no_change, change), (no_change, change), 0, lambda done, total: None)
    assert len({(column, row) for column, row, _ in places}) == no_change + change
    assert all(stratum == (row == 0) for _, row, stratum in places)


def test_the_form_asks_and_does_not_tell(qgis_new_project, tmp_path, write_raster):
    import numpy as np

    raster = QgsRasterLayer(write_raster(tmp_path / "map.tif", np.zeros((1, 10, 10), np.uint8)), "map")
    path = Path(tmp_path / "points.gpkg")
    write_points([(2, 3, 1), (4, 5, 0)], (97, 3), raster, path)
    layer = QgsVectorLayer(f"{path}|layername={TABLE}", "points", "ogr")
    style_points(layer)
    setups = {field.name(): layer.editorWidgetSetup(index) for index, field in enumerate(layer.fields())}
    assert setups["map"].type() == setups["stratum_pixels"].type() == "Hidden"
    assert setups["reference"].type() == "ValueMap"
    assert setups["reference"].config()["map"] == [{"Changed": 1}, {"Not changed": 0}]
    labels = [category.label() for category in layer.renderer().categories()]
    assert labels == ["To label", "Changed", "Not changed"]
    assert [feature["reference"] for feature in layer.getFeatures()] == [NULL, NULL]
    assert [(feature["map"], feature["stratum_pixels"]) for feature in layer.getFeatures()] == [(1, 3), (0, 97)]
