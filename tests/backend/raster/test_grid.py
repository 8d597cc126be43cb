import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.raster.grid import Grid

UTM = CRS.from_epsg(32633)
GRID = Grid(UTM, Affine(0.5, 0, 100, 0, -0.5, 900), 40, 30)


def test_bounds_round_to_the_nearest_pixel():
    assert GRID.window_of((101.2, 890.1, 105.3, 898.9)) == Window(2, 2, 9, 18)


def test_bounds_are_cut_at_the_raster():
    assert GRID.window_of((0, 0, 1e4, 1e4)) == GRID.window


@pytest.mark.parametrize(
    ("bounds", "code"),
    [((105, 890, 105, 890), "empty_extent"), ((105, 890, 105.1, 895), "empty_extent"), ((0, 0, 50, 50), "no_overlap")],
)
def test_an_extent_without_pixels_is_refused(bounds, code):
    with pytest.raises(InputError) as caught:
        GRID.window_of(bounds)
    assert caught.value.code == code


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_an_extent_of_any_size_is_cut_or_refused(bounds):
    try:
        window = GRID.window_of(tuple(bounds))
    except InputError as error:
        assert error.code in ("no_overlap", "empty_extent")
    else:
        assert 0 <= window.col_off < window.col_off + window.width <= GRID.width
        assert 0 <= window.row_off < window.row_off + window.height <= GRID.height
    assert GRID.window_of((-1e308, -1e308, 1e308, 1e308)) == GRID.window


def test_a_south_up_grid_has_the_same_bounds():
    flipped = Grid(UTM, Affine(0.5, 0, 100, 0, 0.5, 885), 40, 30)
    assert flipped.bounds() == GRID.bounds()
    assert flipped.window_of((100, 885, 120, 890)) == Window(0, 0, 40, 10)


def test_scaling_covers_the_same_ground():
    scaled = GRID.scaled(0.3)
    assert (scaled.width, scaled.height) == (12, 9)
    left, bottom, right, top = scaled.bounds()
    assert (left, top) == (100, 900) and right >= 120 and bottom <= 885


@pytest.mark.parametrize(
    ("side", "factor", "scaled"),
    [(1001, 0.3, 300), (1001, 0.2, 200), (999, 0.3, 300), (1001, 0.5, 500), (40, 1.3, 52), (3, 1.5, 4), (2, 0.1, 1)],
)
def test_a_scaled_pixel_has_its_centre_on_the_raster(side, factor, scaled):
    grid = Grid(UTM, GRID.transform, side, side).scaled(factor)
    assert (grid.width, grid.height) == (scaled, scaled)


@given(angle=st.floats(-180, 180), shear=st.floats(-60, 60), flip=st.sampled_from([1, -1]))
def test_bounds_hold_every_corner_and_touch_four_sides(angle, shear, flip):
    turned = Affine.translation(100, 900) @ Affine.rotation(angle) @ Affine.shear(shear) @ Affine.scale(0.5, 0.5 * flip)
    grid = Grid(UTM, turned, 40, 30)
    corners = np.array([turned @ corner for corner in ((0, 0), (40, 0), (0, 30), (40, 30))])
    left, bottom, right, top = grid.bounds()
    assert (left, bottom) == pytest.approx(corners.min(axis=0)) and (right, top) == pytest.approx(corners.max(axis=0))


PLACES = st.builds(
    lambda x, y, angle, pixel, flip: (
        Affine.translation(x, y) @ Affine.rotation(angle) @ Affine.scale(pixel, pixel * flip)
    ),
    st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(-180, 180), st.floats(0.1, 10), st.sampled_from([1, -1]),
)  # fmt: skip


@given(own=PLACES, other=PLACES, column=st.integers(0, 40), row=st.integers(0, 30))
def test_grids_without_crs_lie_to_each_other_as_they_are_placed(own, other, column, row):
    before, after = (Grid(None, Affine.identity(), 40, 30, placement) for placement in (other, own))
    seen = after.beside(before)
    assert seen.placement == before.placement
    assert seen.geotransform @ (column, row) == pytest.approx(own @ (column, row), abs=1e-6)
    assert before.beside(before) == before


def test_where_one_grid_is_placed_the_pixels_tell():
    plain = Grid(None, Affine.identity(), 40, 30)
    placed = Grid(None, Affine.identity(), 40, 30, GRID.transform)
    assert plain.beside(placed) == placed and placed.beside(plain) == plain
    assert (
        plain.geotransform is None
        and placed.crop(Window(2, 3, 4, 5)).geotransform == GRID.crop(Window(2, 3, 4, 5)).transform
    )
    assert plain.beside(GRID) == plain and GRID.beside(placed) == GRID


def test_rotation_is_seen():
    assert Grid(UTM, Affine.rotation(5), 4, 4).is_rotated
    assert not GRID.is_rotated


def test_a_rotated_raster_is_refused_with_what_to_do():
    GRID.require_north_up("town.tif")
    with pytest.raises(InputError, match=r"town\.tif is rotated") as caught:
        Grid(UTM, Affine.rotation(5), 4, 4).require_north_up("town.tif")
    assert caught.value.code == "rotated" and "gdalwarp" in caught.value.hint
