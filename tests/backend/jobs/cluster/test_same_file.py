"""A worker that has another raster under the path of an input does not work on it."""

import json
import os
import pickle
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import rasterio

from changen2.errors import JobError
from changen2.jobs.cluster import same_file
from changen2.jobs.cluster.detection import Date
from changen2.jobs.cluster.same_file import SeenFile
from changen2.raster.grid import Grid
from changen2.raster.reading import AlignedRaster, open_raster

MOVED = rasterio.Affine(0.5, 0, 500_001, 0, -0.5, 5_200_000)


@pytest.mark.parametrize(
    ("shape", "dtype", "transform"),
    [
        ((3, 20, 31), "uint8", None),
        ((3, 20, 30), "int16", None),
        ((3, 20, 30), "uint8", MOVED),
        ((1, 60, 30), "uint8", None),
    ],
)
def test_another_raster_of_as_many_bytes_is_none(write_raster, shape, dtype, transform):
    def write(values, **given):
        path = write_raster("image.tif", values, **given)
        path.write_bytes(path.read_bytes().ljust(20_000, b"\0"))
        return path

    path = write(np.zeros((3, 20, 30), np.uint8))
    seen = pickle.loads(pickle.dumps(SeenFile.at(str(path))))
    os.utime(path, (1, 1))  # clocks of file systems tick slowly
    seen.check()
    write(np.zeros(shape, dtype), **({"transform": transform} if transform else {}))
    assert path.stat().st_size == seen.bytes
    with pytest.raises(JobError, match=f"{path} on {socket.gethostname()}") as caught:
        seen.check()
    assert caught.value.code == "other_input"


def test_a_file_is_opened_again_only_where_it_has_changed(write_raster, monkeypatch):
    path = write_raster("image.tif", np.zeros((3, 20, 30), np.uint8))
    seen, opened = SeenFile.at(str(path)), []
    monkeypatch.setattr(same_file, "open_raster", lambda path: opened.append(path) or open_raster(path))
    for changed in (1, 2):
        os.utime(path, (changed, changed))
        seen.check()
        seen.check()
        assert len(opened) == changed


def test_a_folder_that_is_a_raster_is_the_same_where_it_takes_other_room(write_raster, tmp_path):
    for number, folder in enumerate(("here", "there")):
        (tmp_path / folder).mkdir()
        array = {"zarr_format": 2, "shape": [2, 2], "chunks": [2, 2], "dtype": "|u1", "fill_value": 0, "order": "C"}
        (tmp_path / folder / ".zarray").write_text(json.dumps(array | {"compressor": None, "filters": None}))
        (tmp_path / folder / "0.0").write_bytes(bytes(4))
        for name in range(number * 500):
            (tmp_path / folder / f"{name:0200}").touch()
    seen = SeenFile.at(str(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "gone")
    (tmp_path / "there").rename(tmp_path / "here")
    seen.check()


def test_a_copy_is_the_same_and_a_longer_file_is_not(write_raster, tmp_path):
    path = write_raster("image.tif", np.zeros((3, 20, 30), np.uint8))
    with open_raster(path) as dataset:
        grid = Grid.of(dataset)
    with AlignedRaster(path, grid) as raster:
        _ = raster.stretch
        date = Date.of(str(path), grid, raster)
    shutil.copyfile(path, copy := tmp_path / "copy.tif")
    path.unlink()
    Path(copy).rename(path)
    date.open().close()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(JobError, match="bytes"):
        date.open()
