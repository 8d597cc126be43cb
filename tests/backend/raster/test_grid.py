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


def test_a_south_up_grid_has_the_same_bounds():
    flipped = Grid(UTM, Affine(0.5, 0, 100, 0, 0.5, 885), 40, 30)
    assert flipped.bounds() == GRID.bounds()
    assert flipped.window_of((100, 885, 120, 890)) == Window(0, 0, 40, 10)


def test_scaling_covers_the_same_ground():
    scaled = GRID.scaled(0.3)
    assert (scaled.width, scaled.height) == (12, 9)
    left, bottom, right, top = scaled.bounds()
    assert (left, top) == (100, 900) and right >= 120 and bottom <= 885


@given(angle=st.floats(-180, 180), shear=st.floats(-60, 60), flip=st.sampled_from([1, -1]))
def test_bounds_hold_every_corner_and_touch_four_sides(angle, shear, flip):
    turned = Affine.translation(100, 900) @ Affine.rotation(angle) @ Affine.shear(shear) @ Affine.scale(0.5, 0.5 * flip)
    grid = Grid(UTM, turned, 40, 30)
    corners = np.array([turned @ corner for corner in ((0, 0), (40, 0), (0, 30), (40, 30))])
    left, bottom, right, top = grid.bounds()
    assert (left, bottom) == pytest.approx(corners.min(axis=0)) and (right, top) == pytest.approx(corners.max(axis=0))


def test_rotation_is_seen():
    assert Grid(UTM, Affine.rotation(5), 4, 4).is_rotated
    assert not GRID.is_rotated


def test_a_rotated_raster_is_refused_with_what_to_do():
    GRID.require_north_up("town.tif")
    with pytest.raises(InputError, match=r"town\.tif is rotated") as caught:
        Grid(UTM, Affine.rotation(5), 4, 4).require_north_up("town.tif")
    assert caught.value.code == "rotated" and "gdalwarp" in caught.value.hint
