"""What a job may replace in its output folder, and what it must leave alone."""

import json

import pytest

from changen2.errors import InputError
from changen2.jobs.runs.folder import SERIES, check_apart, files_there, series_there


def test_inputs_are_never_written_over(tmp_path):
    inside, beside, far = tmp_path / "labels_t1.tif", tmp_path / "labels_town.tif", tmp_path / "deep/labels_t1.tif"
    far.parent.mkdir()
    for path in (inside, beside, far):
        path.write_text("labels")
    check_apart(str(tmp_path), SERIES, (str(beside), str(far), None, "a,b", str(tmp_path / "image_t9.tif")))
    for given in (str(inside), f"{inside}|layername=town"):
        with pytest.raises(InputError) as caught:
            check_apart(str(tmp_path / "deep" / ".."), SERIES, (given,))
        assert caught.value.code == "input_in_output" and given in caught.value.message


def test_a_folder_that_would_be_replaced_is_no_input(tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "images").mkdir()
    check_apart(str(tmp_path), "A|B|label", (str(tmp_path / "images"),))
    with pytest.raises(InputError):
        check_apart(str(tmp_path), "A|B|label", (str(tmp_path / "A"),))


def test_only_files_of_the_older_series_are_known_as_such(tmp_path):
    assert series_there(tmp_path) == set()  # nothing tells whose these are
    outputs = {"labels_t0": "labels_t0.tif", "labels_t1": "labels_t1.tif", "odd": "mine.tif", "up": "../labels_t0.tif"}
    (tmp_path / "manifest.json").write_text(json.dumps({"job": "simulate", "outputs": outputs}))
    assert series_there(tmp_path) == {"labels_t0.tif", "labels_t1.tif"}
    (tmp_path / "manifest.json").write_text(json.dumps({"job": "detect", "outputs": outputs}))
    assert series_there(tmp_path) == set()


def test_files_are_found_by_name_here_and_in_the_folders_inside(tmp_path):
    for name in ("a.tif", "b.tif", "in/a.tif", "in/b.tif", "in/deep/a.tif", "a.tif.d/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert files_there(tmp_path, r"(in/)?a\.tif(\.d)?") == {"a.tif", "in/a.tif"}
