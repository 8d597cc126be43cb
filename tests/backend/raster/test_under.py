"""A polygon's pixels, piece by piece, are those that burning it whole gives."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rasterio.features import geometry_mask, shapes
from shapely.geometry import shape

from changen2.errors import Cancelled
from changen2.raster import under
from changen2.raster.grid import Grid
from changen2.raster.under import pixels_under

MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 3))
TRANSFORMS = {
    "north-up": Affine(0.3, 0, 500_000, 0, -0.3, 5_000_000),
    "rotated": Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.3, -0.3),
    "pixels": Affine.identity(),
}


@pytest.fixture(scope="module", autouse=True)
def small_pieces():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(under, "CHUNK", 5)
        yield


def polygons(changed, transform):
    """Of a map of many holes, pixels that touch by a corner, and ragged edges."""
    found = shapes(changed.astype(np.uint8), changed, connectivity=4, transform=transform)
    return [shape(outline) for outline, _ in found]


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@settings(deadline=None)
@given(values=MAPS)
def test_pieces_hold_the_pixels_of_the_whole(transform, values):
    changed = values > 0  # three of four pixels, so that large polygons with holes are usual
    grid = Grid(None, transform, *changed.shape[::-1])
    for polygon in polygons(changed, transform):
        count = np.zeros(changed.shape, int)
        for window, inside in pixels_under(polygon, grid):
            assert max(window.width, window.height) <= 5
            part = count[window.row_off :, window.col_off :][: window.height, : window.width]
            part[inside] += 1
        assert (count == geometry_mask([polygon], changed.shape, transform, invert=True)).all()


def test_windows_without_the_polygon_are_left_out():
    frame = shapely.box(0, 0, 80, 80).difference(shapely.box(1, 1, 79, 79))
    windows = [window for window, _ in pixels_under(frame, Grid(None, Affine.identity(), 80, 80))]
    assert sum(window.width * window.height for window in windows) < 4 * 80 * 6


def test_one_can_cancel_between_two_pieces():
    asked = []

    def check():
        asked.append(1)
        if len(asked) == 10:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(pixels_under(shapely.box(0, 0, 80, 80), Grid(None, Affine.identity(), 80, 80), check))
