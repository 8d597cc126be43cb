"""A raster that is written window by window has its place on the disk before the first pixel."""

import errno
import os

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from changen2.raster.grid import Grid
from changen2.raster.writing import CHUNK, WindowedRaster, lay_down

GRID = Grid(CRS.from_epsg(32633), Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000), 900, 700)


@pytest.fixture(autouse=True)
def disk_that_shows_holes(tmp_path):
    """Skip where a file's zeros take no place anyway."""
    zeros = tmp_path / "zeros"
    zeros.write_bytes(bytes(CHUNK))
    if on_disk(zeros) < CHUNK:
        pytest.skip("the file system does not tell, or compresses")


def on_disk(path):
    return getattr(path.stat(), "st_blocks", 0) * 512


@pytest.fixture(params=["fallocate", "refused", "unknown"])
def system(request, monkeypatch):
    """A system that lays files down, one whose file system refuses to, and one without a call for it."""

    def refuse(file, start, size):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if request.param == "refused":
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    if request.param == "unknown":
        monkeypatch.delattr(os, "posix_fallocate")


@pytest.mark.parametrize("nodata", [0, 255])
def test_the_disk_holds_room_for_every_pixel(system, tmp_path, nodata):
    raster = WindowedRaster(tmp_path / "map.tif", GRID, nodata)
    assert on_disk(tmp_path / "map.raw.tif") >= GRID.width * GRID.height
    assert (raster.read(GRID.window) == nodata).all()
    raster.write(GRID.window, np.full((GRID.height, GRID.width), 7, np.uint8))
    raster.finish()
    with rasterio.open(tmp_path / "map.tif") as made:
        assert (made.read(1) == 7).all()


@pytest.mark.parametrize("nodata", [0, 255])
def test_from_afar_classes_are_picked_and_probabilities_averaged(tmp_path, nodata):
    raster = WindowedRaster(tmp_path / "map.tif", GRID, nodata)
    classes = np.random.default_rng(0).choice(np.array([1, 9], np.uint8), (GRID.height, GRID.width))
    raster.write(GRID.window, classes)
    raster.finish()
    with rasterio.open(tmp_path / "map.tif", overview_level=0) as afar:
        assert set(np.unique(afar.read(1))) == ({1, 9} if nodata == 255 else {1, 3, 5, 7, 9})


def test_what_a_file_holds_stays_when_it_is_laid_down(system, tmp_path):
    path = tmp_path / "holes"
    with path.open("wb") as file:
        file.write(b"head")
        file.truncate(2 * CHUNK)
        file.seek(0, os.SEEK_END)
        file.write(b"tail")
    held = path.read_bytes()
    size = len(held) + 5000
    lay_down(path, size)
    assert path.read_bytes() == held.ljust(size, b"\0") and on_disk(path) >= size


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_no_matter_of_the_system(tmp_path, monkeypatch, number):
    def full(file, start, size):
        raise OSError(number, os.strerror(number))

    (tmp_path / "map").write_bytes(b"")
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=os.strerror(number)):
        lay_down(tmp_path / "map", 1)
