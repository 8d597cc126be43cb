"""The journal of an unfinished run says why another job cannot go on with it, and what can be done."""

import os
from pathlib import Path

import numpy as np
import pytest

from changen2.errors import InputError
from changen2.jobs.runs.journal import NAME, Journal, has_finished_blocks, stamps
from changen2.jobs.runs.manifest import describe_input

JOB = {"edition": 2, "versions": {"torch": "2.9.0"}, "parameters": {"seed": 0}}


@pytest.mark.parametrize(
    ("other", "helps", "does_not"),
    [
        ({"parameters": {"seed": 1}}, "same inputs and settings", "another version"),
        ({"edition": 3}, "begun by another version", "same inputs"),
        ({"versions": {"torch": "2.9.1"}}, "begun by another version", "same inputs"),
        ({"edition": 3, "parameters": {"seed": 1}}, "begun by another version", "same inputs"),
    ],
)
def test_a_run_of_another_job_is_told_what_helps(tmp_path, other, helps, does_not):
    Journal(tmp_path, JOB).add(i=0, j=0)
    assert Journal(tmp_path, JOB).done == {(0, 0)}
    with pytest.raises(InputError, match=f"differs from this one in: {', '.join(other)}") as caught:
        Journal(tmp_path, JOB | other)
    assert helps in caught.value.hint and does_not not in caught.value.hint and "--overwrite" in caught.value.hint
    assert caught.value.code == "other_job"


def test_layers_and_what_lies_in_an_archive_are_stamped_as_their_files(tmp_path):
    file = tmp_path / "aoi.zip"
    file.write_bytes(b"abc")
    sources = [str(file), f"{file}|layername=a", f"/vsizip/{file}/aoi.shp"]
    known = [3, file.stat().st_mtime]
    assert stamps([*sources, None, "auto", str(tmp_path / "missing.gpkg")]) == dict.fromkeys(sources, known)


def mosaic_of(path, parts):
    """A virtual raster that shows one file after the other."""
    sources = "".join(
        f"<SimpleSource><SourceFilename>{part}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        for part in parts
    )
    path.write_text(
        f'<VRTDataset rasterXSize="30" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1">{sources}'
        "</VRTRasterBand></VRTDataset>"
    )
    return path


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("change", ["pixels", "names", "mask", "statistics"])
def test_a_mosaic_is_another_where_its_parts_are(tmp_path, write_raster, nested, change):
    parts = [write_raster(f"part_{number}.tif", np.zeros((1, 20, 30), np.uint8)) for number in range(3)]
    mosaic = mosaic_of(tmp_path / "mosaic.vrt", parts[:2])
    if nested:
        mosaic = mosaic_of(tmp_path / "whole.vrt", [mosaic])

    def known():
        told = describe_input(mosaic)
        return stamps([str(mosaic)]), {key: told[key] for key in ("bytes", "behind")}

    before = known()
    assert known() == before and before[1]["behind"]["files"] == 2 + nested
    if change == "pixels":
        os.utime(parts[1], (1, 1))
    elif change == "names":
        stat = mosaic.stat()
        inner = mosaic_of(tmp_path / "mosaic.vrt", parts[1:])
        os.utime(inner, (stat.st_mtime, stat.st_mtime))
    elif change == "mask":
        write_raster(f"{mosaic.name}.msk", np.zeros((1, 20, 30), np.uint8)).rename(f"{mosaic}.msk")
    else:
        Path(f"{mosaic}.aux.xml").write_text("<PAMDataset/>")
    assert (known() == before) is (change == "statistics")


def test_mosaics_that_name_each_other_come_to_an_end(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        mosaic_of(tmp_path / name / "m.vrt", [f"{tmp_path}/{name}/../{other}/m.vrt"])
    assert describe_input(tmp_path / "a" / "m.vrt")["behind"]["files"] > 0


def test_a_journal_cut_anywhere_loses_the_cut_line_alone_and_grows_again(tmp_path):
    whole = Journal(tmp_path, JOB)
    for i in range(3):
        whole.add(i=i, j=0)
    written = (tmp_path / NAME).read_bytes()
    for length in range(len(written)):
        (tmp_path / NAME).write_bytes(written[:length])
        left = max(0, written[:length].count(b"\n") - 1)
        assert has_finished_blocks(tmp_path) == (left > 0)
        cut = Journal(tmp_path, JOB)
        assert cut.done == {(i, 0) for i in range(left)}
        for i in range(left, 3):
            cut.add(i=i, j=0)
        assert Journal(tmp_path, JOB).done == whole.done
        assert (tmp_path / NAME).read_bytes() == written


def test_a_refused_job_leaves_a_cut_journal_as_it_is(tmp_path):
    Journal(tmp_path, JOB).add(i=0, j=0)
    (tmp_path / NAME).write_bytes(cut := (tmp_path / NAME).read_bytes()[:-3])
    with pytest.raises(InputError):
        Journal(tmp_path, JOB | {"edition": 3})
    assert (tmp_path / NAME).read_bytes() == cut
