"""Outlines by another process are those that this one finds, and nothing else comes of it."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.errors import RasterioIOError

from changen2.errors import Cancelled, JobError
from changen2.raster import outlines as module
from changen2.raster.gdal import gdal_environment
from changen2.raster.outlines import outlines

PLACES = {
    "placed": {"crs": "EPSG:32633", "transform": Affine(0.3, 0, 500_000, 0, -0.3, 5_000_000)},
    "nowhere": {"transform": Affine.identity()},
}


@pytest.fixture
def write(tmp_path):
    def _write(name, values, place="placed"):
        profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, **PLACES[place]}
        with (
            gdal_environment(),
            rasterio.open(tmp_path / name, "w", width=values.shape[1], height=values.shape[0], **profile) as target,
        ):
            target.write(values, 1)
        return tmp_path / name

    return _write


@pytest.fixture
def change(write):
    """Change in a third of the pixels, and pixels of which nothing is known."""
    return write("change.tif", np.random.default_rng(5).choice([0, 0, 1, 255], (90, 70)).astype(np.uint8))


@pytest.fixture
def processes(monkeypatch):
    """Every raster is a large one; returns the processes that were started."""
    started = []

    class Kept(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(module, "HERE", 0)
    monkeypatch.setattr(module.subprocess, "Popen", Kept)
    return started


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("kind", "connectivity"), [(np.uint8, 4), (np.int32, 8)])
def test_another_process_finds_the_same(write, processes, kind, connectivity, place):
    random = np.random.default_rng(8)
    values = write("values.tif", random.integers(0, 5, (60, 80)).astype(kind) * 60, place)
    mask = values if kind == np.uint8 else write("mask.tif", random.integers(0, 2, (60, 80), np.uint8), place)
    here = list(module._trace(values, mask, connectivity))
    aside = list(outlines(values, mask, connectivity))
    assert len(processes) == 1
    assert here and [value for _, value in aside] == [value for _, value in here]
    assert all(shapely.equals_exact([a for a, _ in aside], [b for b, _ in here]))


def test_what_did_not_change_has_no_outline(change):
    """It would be one of as many holes as there are changes."""
    assert {value for _, value in outlines(change, change, 4)} == {1, 255}


def test_this_process_traces_no_large_raster(change, processes, monkeypatch):
    """No other thread of it would run meanwhile, such as the one that says that the worker is alive."""
    expected = len(list(outlines(change, change, 4)))
    monkeypatch.setattr(module, "shapes", None)
    assert len(list(outlines(change, change, 4))) == expected


def test_one_who_cancels_waits_for_nobody(change, processes, tmp_path):
    def check():
        if processes:
            raise Cancelled

    with pytest.raises(Cancelled):
        next(outlines(change, change, 4, check))
    assert processes[0].returncode is not None
    assert [path.name for path in tmp_path.iterdir()] == ["change.tif"]


def test_a_process_that_was_killed_is_missed(change, processes):
    with pytest.raises(JobError) as told:
        next(outlines(change, change, 4, lambda: processes[0].kill()))
    assert told.value.code == "worker_lost" and "change.tif" in told.value.message


def test_files_that_cannot_be_read_are_told_as_here(change, processes, tmp_path):
    mask = tmp_path / "mask.tif"
    mask.write_bytes(b"no raster")
    with pytest.raises(RasterioIOError, match=r"mask\.tif"):
        next(outlines(change, mask, 4))
    assert len(processes) == 1


def test_pipes_of_the_caller_are_its_own(change):
    """A worker speaks with its client through them."""
    code = f"""
import sys
from pathlib import Path
from changen2.raster import outlines
outlines.HERE, path = 0, Path({str(change)!r})
print(len(list(outlines.outlines(path, path, 4))) > 100, sys.stdin.read())
"""
    done = subprocess.run([sys.executable, "-c", code], input="all of it", capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True all of it\n", "")
