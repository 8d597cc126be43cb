"""The embedded detector in the engine: what must hold for a real network, in whatever precision it runs."""

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from changen2.jobs.detect import detect

NAIP = ("geo/naip/m_4709963_se_14_1_20090818.tif", "geo/naip/m_4709963_se_14_1_20200831.tif")


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


TILES = {"tile_size": 128, "overlap": 32}


@pytest.fixture
def naip(shared_data, tmp_path):
    """The north-west of both dates; their grids differ."""
    paths = []
    for name in NAIP:
        with rasterio.open(shared_data / name) as source:
            profile = {**source.profile, "width": 420, "height": 330, "tiled": False}
            paths.append(tmp_path / source.name.rsplit("/", 1)[-1])
            with rasterio.open(paths[-1], "w", **profile) as target:
                target.write(source.read(window=Window(0, 0, 420, 330)))
    return paths


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_part_gives_what_the_whole_gives_there(naip, tmp_path, precision):
    whole = detect(*naip, tmp_path / "whole", precision=precision, **TILES)["outputs"]
    with rasterio.open(naip[0]) as before:
        bounds = before.window_bounds(Window(133, 57, 167, 200))
        grid = before.transform, before.shape, before.crs
    part = detect(*naip, tmp_path / "part", precision=precision, **TILES, bounds=bounds)["outputs"]
    for name in ("change_probability", "change", "semantic_before", "semantic_after"):
        with rasterio.open(whole[name]) as output:
            assert (output.transform, output.shape, output.crs) == grid
        assert (read(whole[name])[57:257, 133:300] == read(part[name])).all(), name


def test_a_batch_gives_what_single_tiles_give_up_to_the_last_bits(naip, tmp_path):
    maps = [
        read(
            detect(*naip, tmp_path / str(size), batch_size=size, precision="fp32", **TILES)["outputs"][
                "change_probability"
            ]
        )
        for size in (1, 3)
    ]
    assert np.abs(maps[0].astype(int) - maps[1]).max() <= 3
