"""Polygons are burnt alike, whole or cut, wherever the window lies."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from changen2.raster import cover
from changen2.raster.cover import Cover


def ragged(seed, corners, holes):
    """A ring-shaped polygon around (50, 50) with a rim that goes to and fro, and holes that do as well."""
    rng = np.random.default_rng(seed)

    def ring(x, y, radius, count):
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        reach = radius * rng.uniform(0.6, 1.0, count)
        return shapely.Polygon(np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)).buffer(0)

    shape = ring(50, 50, 48, corners)
    for _ in range(holes):
        shape = shape - ring(*rng.uniform(30, 70, 2), 15, corners // 2)
    return shape


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    holes=st.integers(0, 3),
    angle=st.sampled_from([0, 0, 17, 90]),
    south_up=st.booleans(),
    few=st.integers(8, 60),
)
def test_a_cut_polygon_covers_what_it_covers_whole(seed, holes, angle, south_up, few):
    shape = ragged(seed, 160, holes)
    transform = Affine.rotation(angle, (50, 50)) @ Affine(1, 0, 0, 0, 1 if south_up else -1, 0 if south_up else 100)
    whole = rasterize([shape], out_shape=(100, 100), transform=transform, fill=0).astype(bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cover, "CORNERS", few)
        cut = Cover([shape])
    assert len(cut._pieces) > 1
    assert (cut.burn((100, 100), transform) == whole).all()
    part = cut.burn((40, 30), transform @ Affine.translation(45, 20))
    assert (part == whole[20:60, 45:75]).all()


def test_lines_of_pixels_on_a_cut_are_covered():
    square = shapely.box(0, 0, 64, 64).segmentize(0.5)  # its halves meet at the centre of pixels, if moved by a half
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cover, "CORNERS", 16)
        cut = Cover([square])
    assert cut.burn((62, 62), Affine.translation(0.5, 0.5)).all()


def test_a_corner_of_many_points_ends_the_cutting():
    angles = np.linspace(0, 1.5 * np.pi, 5000)
    knot = shapely.Polygon(
        [(0, 0), (50, 0), (50, 50), *np.stack([40 + 1e-9 * np.cos(angles), 40 + 1e-9 * np.sin(angles)], 1)]
    )
    assert Cover([knot]).burn((50, 50), Affine.identity()).any()


def test_nothing_near_is_nothing():
    assert not Cover([shapely.box(0, 0, 5, 5)]).burn((10, 10), Affine.translation(50, 50)).any()
