"""The dock in the real QGIS, driven by clicks and keys: one QGIS, one scenario, many looks at what it left."""

import numpy as np
import pytest
from qgis.PyQt.QtGui import QImage


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("clicks")


@pytest.fixture(scope="module")
def report(run_in_qgis, scene, out):
    return run_in_qgis("detect_by_clicks.py", out, (scene.before, scene.after))


def pixels(path):
    """A picture as [rows, columns, (red, green, blue)]."""
    image = QImage(str(path)).convertToFormat(QImage.Format.Format_RGB32)
    data = np.frombuffer(image.constBits().asstring(image.sizeInBytes()), np.uint8)
    return data.reshape(image.height(), image.width(), 4)[:, :, 2::-1].astype(int)


def test_the_two_images_are_chosen_in_their_order(report):
    assert report["chosen"] == ["before", "after"]


def test_the_estimate_comes_before_the_run(report):
    assert "768 × 768 px" in report["detect"]["estimate"]
    assert "memory" in report["detect"]["estimate"] and "disk" in report["detect"]["estimate"]


def test_progress_names_its_stages(report):
    assert any(stage.startswith("Looking for change") for stage in report["detect"]["stages"])


def test_the_result_is_a_group_of_valid_layers_beside_the_project(report):
    told = report["detect"]
    assert told["valid"]
    assert [role for _, _, role in told["layers"]][:3] == ["polygons", "change", "change_probability"]
    assert len(told["run_folders"]) == 1 and "detect before to after" in told["run_folders"][0]
    assert {"change_probability.tif", "change.tif", "change.gpkg", "manifest.json"} <= set(told["files"])


def test_the_group_and_the_message_say_what_was_found(report):
    told = report["detect"]
    assert told["polygons"] > 0
    assert f"{told['polygons']} changed place" in told["group"]
    assert any(f"{told['polygons']} changed place" in message for message in told["messages"])


def test_the_map_shows_the_change(report, out):
    before, after = pixels(out / "before_run.png"), pixels(out / "result.png")
    assert before.shape == after.shape
    touched = np.abs(before - after).sum(axis=2) > 30
    assert 0.001 < touched.mean() < 0.5
    red, green, blue = after[touched].T
    assert ((red > 150) & (green < 180) & (blue < 120)).mean() > 0.2  # the ramp's colours and the polygons' lines


def test_a_higher_threshold_shows_less_at_once(report, out):
    told = report["threshold"]
    assert told["shown"] == pytest.approx(0.8)
    assert told["polygons_kept_until_applied"]
    assert (pixels(out / "result.png") != pixels(out / "higher_threshold.png")).any()


def test_applying_it_remakes_the_polygons_in_the_same_run(report):
    told = report["threshold"]
    assert told["source_changed"] and "threshold 0.80" in told["source"]
    assert told["no_new_run"]
    assert ("no change found" if told["polygons"] == 0 else f"{told['polygons']} changed") in told["group"]


def test_review_zooms_marks_and_goes_on(report):
    told = report["review"]
    assert told["zoomed"]
    assert told["position"].startswith("1 of ")
    assert told["first"] == "confirmed"
    assert told["reviewed"] == ["confirmed", "rejected"]


def test_nothing_is_cut_off_in_a_window_of_1366_by_768(report):
    assert report["cut_off"] == []
    assert report["dock_width"] <= 420


def test_cancel_adds_nothing_and_leaves_no_folder(report):
    told = report["cancel"]
    assert told["no_group"] and told["new_folders"] == []
    assert any("Cancelled" in message for message in told["messages"])


def test_a_killed_worker_is_reported_and_replaced(report):
    told = report["killed"]
    assert told["no_group"]
    assert any("stopped unexpectedly" in message for message in told["messages"])
    assert told["runs_again"]


def test_unloading_leaves_no_process(report):
    assert report["unload"]["pid"] is not None
    assert report["unload"]["worker_left"] is False


def test_the_saved_project_opens_with_its_results(report):
    told = report["reopened"]
    assert told["valid"]
    assert report["threshold"]["group"] in told["groups"]
    assert told["threshold"] == pytest.approx(0.8)
