"""Changed blocks and the virtual raster over them."""

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from changen2.raster.patches import PatchWriter, write_copy, write_sparse_copy, write_virtual


def bands(path, window=None):
    with rasterio.open(path) as dataset:
        return dataset.read(window=window)


@pytest.fixture
def source(write_raster):
    values = np.random.default_rng(0).integers(0, 4000, (4, 600, 700)).astype(np.uint16)
    return write_raster("source.tif", values, nodata=7)


def painted(source, folder, name="patch.tif", value=5000):
    with rasterio.open(source) as base:
        with PatchWriter(folder / name, base) as writer:
            where = np.zeros((100, 300), bool)
            where[10:90, 20:280] = True
            writer.paint(Window(200, 200, 300, 100), np.full((4, 100, 300), value, np.uint16), where)
            writer.paint(Window(0, 590, 5, 10), np.full((4, 10, 5), value, np.uint16), np.ones((10, 5), bool))
            seen = writer.read(Window(150, 150, 400, 200))
        patch = writer.finish()
    expected = bands(source)
    expected[:, 210:290, 220:480] = value
    expected[:, 590:600, 0:5] = value
    assert np.array_equal(seen, expected[:, 150:350, 150:550])
    return patch, expected


def test_only_touched_blocks_are_stored(source, tmp_path):
    patch, _ = painted(source, tmp_path)
    assert patch.blocks == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert list(patch.windows(600, 700)) == [
        Window(0, 0, 512, 256), Window(0, 256, 512, 256), Window(0, 512, 256, 88),
    ]  # fmt: skip


def test_a_virtual_raster_shows_patches_over_the_source(source, tmp_path):
    patch, expected = painted(source, tmp_path)
    later, _ = painted(source, tmp_path, "later.tif", 6000)
    with rasterio.open(source) as base:
        write_virtual(tmp_path / "all.vrt", base, [patch])
        write_virtual(tmp_path / "both.vrt", base, [patch, later], Window(100, 150, 300, 200))
        given = base.profile
    assert np.array_equal(bands(tmp_path / "all.vrt"), expected)
    both = bands(tmp_path / "both.vrt")
    assert np.array_equal(both[:, 60:140, 120:300], np.full((4, 80, 180), 6000))
    with rasterio.open(tmp_path / "both.vrt") as shown:
        assert shown.nodata == 7 and shown.dtypes == ("uint16",) * 4 and shown.crs == given["crs"]
        assert shown.transform == given["transform"] @ rasterio.Affine.translation(100, 150)


def test_a_virtual_raster_keeps_scale_offset_and_tags(write_raster, tmp_path):
    path = write_raster("reflectance.tif", np.ones((2, 20, 30), np.uint16))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001, 0.5), (-0.1, 3.0)
        dataset.update_tags(SENSOR="camera")
    with rasterio.open(path) as base:
        write_virtual(tmp_path / "all.vrt", base, [])
    with rasterio.open(tmp_path / "all.vrt") as shown:
        assert (shown.scales, shown.offsets) == ((0.0001, 0.5), (-0.1, 3.0))
        assert shown.tags()["SENSOR"] == "camera"


def test_copies_are_lossless(source, tmp_path):
    patch, expected = painted(source, tmp_path)
    with rasterio.open(source) as base:
        write_virtual(tmp_path / "all.vrt", base, [patch])
    write_copy(tmp_path / "all.vrt", tmp_path / "copy.tif")
    assert np.array_equal(bands(tmp_path / "copy.tif"), expected)
    write_sparse_copy(patch.path, tmp_path / "sparse.tif")
    for window in patch.windows(600, 700):
        assert np.array_equal(bands(tmp_path / "sparse.tif", window), bands(patch.path, window))
    with rasterio.open(tmp_path / "sparse.tif") as sparse:
        assert sparse.compression.value == "DEFLATE"
    assert (tmp_path / "sparse.tif").stat().st_size < (tmp_path / "copy.tif").stat().st_size
