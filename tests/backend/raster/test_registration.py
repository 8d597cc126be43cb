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


@cache
def ground(side):
    """Outlines everywhere, cheaper than a scene [side, side, 1]."""
    values = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=(side, side)).astype(np.float32), 3)
    return ((values - values.min()) / np.ptp(values) * 220 + 1)[..., None]


@pytest.fixture(scope="module")
def shift_of(tmp_path_factory):
    """The shift of one image [h, w, bands] against another, whose first pixel is the ``corner`` (row, column) of it."""
    folder = tmp_path_factory.mktemp("dates")

    def measure(before, after, crs="EPSG:32632", nodata=None, corner=(0, 0)):
        for name, image, (row, column) in (("before", before, (0, 0)), ("after", after, corner)):
            values = np.moveaxis(image.clip(0, 255).round().astype(np.uint8), 2, 0)
            count, height, width = values.shape
            place = Affine(GSD, 0, 500_000, 0, -GSD, 5_200_000) @ Affine.translation(column, row)
            with rasterio.open(
                folder / f"{name}.tif", "w", driver="GTiff", dtype="uint8", count=count, height=height, width=width,
                crs=crs, nodata=nodata, transform=place if crs else None,
            ) as dataset:  # fmt: skip
                dataset.write(values)
        with rasterio.open(folder / "before.tif") as dataset:
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


@pytest.fixture
def looks(monkeypatch):
    """The windows that are read, (row, column, height, width), each once."""
    seen, read = {}, AlignedRaster.read

    def noted(self, window):
        seen[window.row_off, window.col_off, window.height, window.width] = True
        return read(self, window)

    monkeypatch.setattr(AlignedRaster, "read", noted)
    return seen


@pytest.mark.parametrize("after", [(100, 100, 640, 700), (-300, 1100, 900, 900), (880, -40, 212, 400)])
def test_the_ground_that_both_cover_is_looked_at(shift_of, looks, after):
    """A smaller image, one that reaches over two edges, and one of less than a window."""
    row, column, height, width = after
    whole = ground(2400)
    before, reach = whole[400:2000, 400:2000], (slice(400 + row, None), slice(400 + column, None))
    seen = np.roll(whole, (3, -6), (0, 1))[reach][:height, :width]
    found = shift_of(before, seen, corner=(row, column))
    assert (found.rows, found.columns) == pytest.approx((3, -6), abs=0.05)
    assert found.samples == found.looked_at > 0
    assert min(place[0] for place in looks) == max(0, row) and min(place[1] for place in looks) == max(0, column)
    assert max(top + side for top, _, side, _ in looks) == min(1600, row + height)
    assert max(left + side for _, left, _, side in looks) == min(1600, column + width)
    again = shift_of(seen, before, corner=(-row, -column))
    assert (again.rows, again.columns) == pytest.approx((-3, 6), abs=0.05)


def test_two_that_cover_each_other_are_looked_at_in_nine_places(shift_of, looks):
    found = shift_of(ground(1500)[:1201], np.roll(ground(1500), 4, 0)[:1201])
    assert list(looks) == [(row, column, 512, 512) for row in (0, 344, 689) for column in (0, 494, 988)]
    assert (found.samples, found.looked_at) == (9, 9)


def test_other_places_stand_in_for_those_without_data(shift_of, looks):
    """Data in a ring about a quarter in, so that of the nine usual places none shows enough."""
    row, column = np.abs(np.indices((2400, 2400)) - 1200)
    ring = (np.maximum(row, column) < 760) & (np.maximum(row, column) > 150)
    found = shift_of(ground(2400) * ring[..., None], np.roll(ground(2400), (5, 2), (0, 1)), nodata=0)
    assert (found.rows, found.columns) == pytest.approx((5, 2), abs=0.05)
    assert (found.samples, found.looked_at, len(looks)) == (8, 8, 25)


def test_a_flat_place_is_looked_at_and_nothing_stands_in_for_it(shift_of, looks):
    before, after = ground(1300).copy(), np.roll(ground(1300), 4, 0)
    before[:520, :520] = 90
    found = shift_of(before, after)
    assert (round(found.rows), found.samples, found.looked_at, len(looks)) == (4, 8, 9, 9)


def test_what_cannot_be_looked_at_is_told_from_what_is_not_alike(shift_of):
    assert shift_of(scene(1), scene(2)).looked_at == 1
    assert shift_of(scene(1), scene(1), corner=(0, 70)).looked_at == 0
    assert shift_of(scene(1), scene(1)[:, :150]).looked_at == 0
