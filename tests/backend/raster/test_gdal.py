"""GDAL's cache: a row of blocks stays in it, and it is the job's own."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.env import get_gdal_config
from rasterio.windows import Window

from changen2.raster import gdal
from changen2.raster.gdal import GDAL_CACHE_MOST_MB, gdal_environment, gdal_thread
from changen2.raster.grid import Grid
from changen2.raster.reading import AlignedRaster, open_raster

UTM = Affine(1, 0, 500_000, 0, -1, 5_000_000)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads")
@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 256}, {}])
def test_blocks_are_not_read_again_for_each_row_however_wide_the_raster(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(gdal, "GDAL_CACHE_MB", 1)
    path, values = tmp_path / "wide.tif", np.zeros((3, 1024, 4096), np.uint16)
    profile = {"driver": "GTiff", "width": 4096, "height": 1024, "count": 3, "dtype": "uint16", "interleave": "pixel"}
    with rasterio.open(path, "w", **profile, **layout, blockysize=256, crs="EPSG:32631", transform=UTM) as target:
        target.write(values)

    def bytes_read():
        return int(Path("/proc/self/io").read_text().split()[1])

    def read_all(before, after):
        with gdal_thread():
            for column in range(0, 4096, 2048):
                for raster in (before, after):
                    raster.read(Window(column, 0, 2048, 1024))

    with gdal_environment(), open_raster(path) as dataset, ThreadPoolExecutor(1) as reader:
        grid, began = Grid.of(dataset), bytes_read()
        with AlignedRaster(path, grid) as before, AlignedRaster(path, grid) as after:
            reader.submit(read_all, before, after).result()
        # Both once to measure their radiometry, and once to be read.
        assert bytes_read() - began < 4.2 * values.nbytes


def test_the_cache_is_the_jobs_own_and_bounded(tmp_path):
    path, size = tmp_path / "wide.tif", lambda: get_gdal_config("GDAL_CACHEMAX")
    profile = {"driver": "GTiff", "width": 400_000, "height": 2000, "count": 3, "dtype": "uint16", "tiled": True}
    rasterio.open(path, "w", **profile, blockxsize=512, blockysize=512, sparse_ok=True).close()
    usual = size()
    with gdal_environment():
        small = size()
        open_raster(path).close()
        assert small < size() == GDAL_CACHE_MOST_MB * 2**20
    assert size() == usual
