"""What may lie in an output folder before a run."""

import pytest

from changen2.errors import InputError
from changen2.raster.writing import INPUTS_FOLDER, OutputFolder


def test_inputs_that_a_caller_wrote_for_the_run_are_no_results(tmp_path):
    (tmp_path / INPUTS_FOLDER).mkdir()
    (tmp_path / INPUTS_FOLDER / "events.gpkg").write_text("drawn")
    with OutputFolder(tmp_path) as folder:
        (folder.work / "image_t1.tif").write_text("pixels")
        folder.publish(["image_t1.tif"])
    assert (tmp_path / "image_t1.tif").exists() and (tmp_path / INPUTS_FOLDER / "events.gpkg").exists()


def test_they_stay_for_the_run_to_go_on_with(tmp_path):
    (tmp_path / INPUTS_FOLDER).mkdir()

    def begun(work):
        return (work / "step").exists()

    with pytest.raises(OSError), OutputFolder(tmp_path, resumable=begun) as folder:
        (folder.work / "step").write_text("1")
        raise OSError("no space left")
    with OutputFolder(tmp_path, resume=True, resumable=begun) as folder:
        assert (folder.work / "step").read_text() == "1"


def test_results_beside_them_are_protected(tmp_path):
    (tmp_path / INPUTS_FOLDER).mkdir()
    (tmp_path / "image_t1.tif").write_text("precious")
    with pytest.raises(InputError) as caught:
        OutputFolder(tmp_path)
    assert caught.value.code == "not_empty"
