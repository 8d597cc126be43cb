"""Draw two houses in the real QGIS, see them built, play, swipe, detect and assess: one QGIS, one scenario."""

import numpy as np
import pytest
from qgis.PyQt.QtGui import QImage

HOUSES = "748,328 568,748"
"""Columns and rows in the sample scene's image where nothing is built."""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("synthesis")


@pytest.fixture(scope="module")
def report(run_in_qgis, out):
    return run_in_qgis("synthesize_by_clicks.py", out, timeout=600, HOUSES=HOUSES)


def pixels(path):
    """A picture as [rows, columns, (red, green, blue)]."""
    image = QImage(str(path)).convertToFormat(QImage.Format.Format_RGB32)
    data = np.frombuffer(image.constBits().asstring(image.sizeInBytes()), np.uint8)
    return data.reshape(image.height(), image.width(), 4)[:, :, 2::-1].astype(int)


def test_the_sample_brings_an_image_and_its_labels(report):
    assert report["layers"] == ["Sample image", "Sample labels"]


def test_two_rectangles_are_two_new_buildings(report):
    assert [(event, step) for event, step, _ in report["events"]] == [("create", 1), ("create", 2)]
    assert {to_class for _, _, to_class in report["events"]} == {"building"}


def test_the_estimate_comes_before_the_run(report):
    assert "2 events" in report["estimate"]


def test_the_run_leaves_every_step(report):
    assert report["steps"] == [0, 1, 2, 3]
    wanted = {f"image_t{step}.tif" for step in (1, 2, 3)} | {"labels_t0.tif", "change_t0_t1.tif", "manifest.json"}
    assert wanted <= set(report["files"])
    assert any(stage.startswith("Drawing the change") for stage in report["stages"])


def test_the_map_changes_where_and_only_where_the_change_is(report, out):
    maps = [pixels(out / f"step_{step}.png") for step in report["steps"]]
    places = [np.s_[top - 2 : bottom + 3, left - 2 : right + 3] for left, top, right, bottom in report["on_map"]]
    for step, place in enumerate(places, 1):
        different = (maps[step - 1] != maps[step]).any(axis=2)
        assert different[place].mean() > 0.5
        different[place] = False
        assert not different.any()
    assert (maps[2] == maps[3]).all(), "nothing is drawn at step 3"


def test_play_runs_the_temporal_controller(report):
    assert report["playing"] and report["animated"]


def test_swipe_is_left_with_escape(report):
    assert report["swiping"] and report["left_on_escape"]


def test_the_pair_is_searched_and_assessed_in_words(report):
    assert report["pair"][0] != report["pair"][1]
    assert "known change" in report["words"] and "F1" in report["words"]


def test_nothing_is_cut_off(report):
    assert report["cut_off"] == []
