"""The shift between two dates: found where there is one, and never made of chance."""

from functools import cache

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from changen2.raster.grid import Grid
from changen2.raster.reading import AlignedRaster
from changen2.raster.registration import LARGEST_SHIFT, estimate_shift
from changen2.scenes import draw_pair
from changen2.scenes.sample import sample_style

GSD = 0.5


@cache
def scene(seed, side=256):
    """A drawn suburb [side, side, 3]."""
    return draw_pair(seed, side, side, GSD, sample_style(seed)).before.astype(float)


def moved(image, rows, columns, noise=8):
    """An image whose content lies further down and to the right, in another light, by a noisy sensor."""
    there = ndimage.shift(image, (rows, columns, 0), order=3, mode="reflect")
    return 255 * (there.clip(0, 255) / 255) ** 0.8 + np.random.default_rng(0).normal(0, noise, image.shape)


@pytest.fixture(scope="module")
def shift_of(tmp_path_factory):
    """The shift of one image [h, w, 3] against another."""
    folder = tmp_path_factory.mktemp("dates")

    def measure(before, after, crs="EPSG:32632", nodata=None):
        for name, image in (("before", before), ("after", after)):
            values = np.moveaxis(image.clip(0, 255).round().astype(np.uint8), 2, 0)
            count, height, width = values.shape
            with rasterio.open(
                folder / f"{name}.tif", "w", driver="GTiff", dtype="uint8", count=count, height=height, width=width,
                crs=crs, nodata=nodata, transform=Affine(GSD, 0, 500_000, 0, -GSD, 5_200_000) if crs else None,
            ) as dataset:  # fmt: skip
                dataset.write(values)
                grid = Grid.of(dataset)
        with (
            AlignedRaster(str(folder / "before.tif"), grid, None) as first,
            AlignedRaster(str(folder / "after.tif"), grid, None) as second,
        ):
            return estimate_shift(first, second, grid)

    return measure


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 5), rows=st.floats(-12, 12), columns=st.floats(-12, 12))
def test_a_shift_is_found_to_a_fifth_of_a_pixel(shift_of, seed, rows, columns):
    found = shift_of(scene(seed), moved(scene(seed), rows, columns))
    assert found.samples == 1
    assert abs(found.rows - rows) < 0.2
    assert abs(found.columns - columns) < 0.2
    assert found.metres == pytest.approx(GSD * np.hypot(found.rows, found.columns), rel=0.01)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 5))
def test_unlike_places_have_none(shift_of, seed):
    found = shift_of(scene(seed), scene(seed + 1))
    assert (found.samples, found.rows, found.columns, found.metres) == (0, 0, 0, None)


def test_windows_that_say_little_say_more_together(shift_of):
    before = scene(3, 700)
    after = moved(before, 3, -5, noise=115)
    assert shift_of(before[:512, :512], after[:512, :512]).samples == 0
    found = shift_of(before, after)
    assert found.samples == 9
    assert (round(found.rows), round(found.columns)) == (3, -5)


def test_a_shift_beyond_what_is_looked_for_is_not_taken_for_another(shift_of):
    assert shift_of(scene(5), moved(scene(5), LARGEST_SHIFT + 12, 0)).samples == 0


@pytest.mark.parametrize("shape", [(1, 1), (2, 250), (32, 32), (191, 256)])
def test_rasters_too_small_to_tell_have_none(shift_of, shape):
    part = scene(1)[: shape[0], : shape[1]]
    assert shift_of(part, part).samples == 0


@pytest.mark.parametrize("size", [192, 193, 256])
def test_sizes_that_suffice(shift_of, size):
    found = shift_of(scene(1)[:size, :size], moved(scene(1), LARGEST_SHIFT, -LARGEST_SHIFT)[:size, :size])
    assert (round(found.rows), round(found.columns)) == (LARGEST_SHIFT, -LARGEST_SHIFT)


def test_where_a_date_has_no_data_does_not_count(shift_of):
    """A wedge without data lies still while the ground is moved."""
    before, after = scene(4).clip(1), moved(scene(4), 3, 6).clip(1)
    wedge = np.add.outer(np.arange(256), np.arange(256)) < 90
    before[wedge] = after[wedge] = 0
    found = shift_of(before, after, nodata=0)
    assert found.samples == 1
    assert (round(found.rows), round(found.columns)) == (3, 6)
    assert shift_of(before, np.where(np.arange(256)[:, None, None] < 60, 0, after), nodata=0).samples == 0


def test_a_flat_image_has_none(shift_of):
    grey = np.full((256, 256, 3), 90.0)
    assert shift_of(grey, grey).samples == 0


def test_without_crs_there_are_no_metres(shift_of):
    found = shift_of(scene(2), moved(scene(2), 2, 2), crs=None)
    assert found.samples == 1
    assert found.metres is None
