"""From the working grid back to the reference grid: nothing is lost at the edges, and a part is as the whole."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from changen2.raster.grid import Grid
from changen2.raster.reading import AlignedRaster
from changen2.raster.resampling import resample_nearest, resample_probability, source_window

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000)
DEGREES = Affine(4.5e-6, 0, 179.2, 0, -4.5e-6, -16.8)


@pytest.fixture(scope="module")
def worked_on(tmp_path_factory):
    """A raster that is valid everywhere, as bytes on a working grid, 0 where that holds nothing ``[h, w]``."""
    path = tmp_path_factory.mktemp("rasters") / "full.tif"

    def read(height, width, factor, crs, transform):
        values = np.random.default_rng(height * width).integers(1, 255, (1, height, width)).astype(np.uint8)
        with rasterio.open(
            path, "w", driver="GTiff", dtype="uint8", count=1, height=height, width=width, crs=crs, transform=transform
        ) as dataset:
            dataset.write(values)
            grid = Grid.of(dataset).scaled(factor)
        with AlignedRaster(path, grid, (1,)) as raster:
            seen, valid = raster.read(grid.window)
        return np.where(valid, seen[0].clip(1), 0).astype(np.uint8)

    return read


def back(layer, factor, target, resample):
    """A window of the reference grid from the working grid's layer [h, w]."""
    source = source_window(target, factor, *layer.shape)
    return resample(layer[source.toslices()], source, target, factor)


@settings(deadline=None)
@given(st.floats(0.3, 3), st.integers(0, 2**32 - 1))
def test_data_ends_where_the_nearest_pixel_ends(factor, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 256, (90, 90)).astype(np.uint8)
    values[rng.random((90, 90)) < 0.3] = 0
    probability, nearest = (
        back(values, factor, Window(2, 3, 20, 15), resample) for resample in (resample_probability, resample_nearest)
    )
    assert np.array_equal(probability > 0, nearest > 0)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 1200),
    factor=st.floats(1 / 64, 4),
    place=st.sampled_from([("EPSG:32633", UTM), ("EPSG:4326", DEGREES)]),
    part=st.tuples(*[st.floats(0, 1)] * 4),
)
@example(40, 1001, 0.3, ("EPSG:32633", UTM), (0.5, 1, 0.9, 1))
@example(40, 1001, 0.2, ("EPSG:32633", UTM), (0.5, 1, 0.9, 1))
@example(40, 1001, 0.21, ("EPSG:32633", UTM), (0.5, 1, 0.9, 1))
@example(41, 1001, 0.5, ("EPSG:4326", DEGREES), (0.9, 1, 0.9, 1))
@example(2, 2, 0.3, ("EPSG:32633", UTM), (0, 1, 0, 1))
def test_a_raster_that_is_valid_everywhere_stays_so_and_a_part_is_as_the_whole(
    worked_on, height, width, factor, place, part
):
    # Less than half a working pixel holds the centre of none.
    height, width = (max(side, int(np.ceil(0.51 / factor))) for side in (height, width))
    layer = worked_on(height, width, factor, *place)
    assert layer.all()
    top, bottom = sorted(round(share * (height - 1)) for share in part[:2])
    left, right = sorted(round(share * (width - 1)) for share in part[2:])
    target = Window(left, top, right - left + 1, bottom - top + 1)
    for resample in (resample_probability, resample_nearest):
        whole = back(layer, factor, Window(0, 0, width, height), resample)
        assert whole.all()
        assert (back(layer, factor, target, resample) == whole[target.toslices()]).all()
