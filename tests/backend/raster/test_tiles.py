import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.raster.tiles import Axis, TileGrid

axes = st.builds(
    lambda length, tile, overlap, per: Axis(length, tile * 32, min(overlap, tile * 16), per),
    st.integers(1, 900),
    st.integers(1, 6),
    st.integers(0, 96),
    st.integers(1, 4),
)


@given(axes)
def test_tiles_cover_every_pixel_and_blocks_share_no_core(axis):
    seen = np.zeros(axis.length, int)
    for tile in range(axis.tiles):
        first, end = axis.seen(tile)
        seen[first:end] += 1
    assert seen.min() >= 1
    assert seen.max() <= 2
    cores = [axis.core(block) for block in range(axis.blocks)]
    assert cores[0][0] == 0 and cores[-1][1] == axis.length
    assert all(left[1] == right[0] for left, right in itertools.pairwise(cores))


@given(axes)
def test_a_blocks_tiles_stay_within_its_reach(axis):
    for block in range(axis.blocks):
        first, end = axis.reach(block)
        for tile in axis.tiles_of(block):
            assert first <= axis.seen(tile)[0] and axis.seen(tile)[1] <= end


@given(axes, st.data())
def test_total_weights_are_the_sum_of_the_tiles(axis, data):
    weights, total = axis.weights(), np.zeros(axis.length, int)
    for tile in range(axis.tiles):
        first, end = axis.seen(tile)
        total[first:end] += weights[: end - first]
    first = data.draw(st.integers(0, axis.length - 1))
    end = data.draw(st.integers(first + 1, axis.length))
    assert (axis.total_weights(first, end) == total[first:end]).all()
    assert total.max() <= 65


@given(st.integers(1, 9000), st.integers(1, 40), st.data())
def test_a_plan_covers_a_raster_with_tiles_that_are_no_larger_than_they_must_be(length, tile, data):
    tile, overlap = tile * 32, data.draw(st.integers(0, tile * 16))
    axis = TileGrid.plan(length, length, tile, overlap).rows
    as_given = Axis(length, tile, overlap, 1)
    assert axis.tile <= tile and axis.tile % 32 == 0
    assert axis.tiles <= as_given.tiles
    assert axis.overlap == min(overlap, axis.tile // 2)
    beyond = (axis.tiles - 1) * axis.stride + axis.tile - length
    assert 0 <= beyond <= (as_given.tiles - 1) * as_given.stride + tile - length
    if axis.tiles > 1 and axis.tile < tile and axis.tile - 64 >= 2 * overlap:
        smaller = Axis(length, axis.tile - 64, overlap, 1)
        assert smaller.tiles > axis.tiles, "smaller tiles would have done"


@pytest.mark.parametrize(
    ("length", "expected"),
    [(700, (1, 704)), (1024, (1, 1024)), (1100, (2, 640)), (2600, (3, 960)), (20_000, (23, 1024))],
)
def test_a_raster_little_larger_than_a_tile_does_not_cost_four(length, expected):
    axis = TileGrid.plan(length, length, 1024, 128).columns
    assert (axis.tiles, axis.tile) == expected


@pytest.mark.parametrize(("tile", "overlap"), [(500, 64), (0, 0), (512, 300), (512, -1)])
def test_refuses_what_cannot_work(tile, overlap):
    with pytest.raises(InputError) as caught:
        TileGrid.plan(2000, 2000, tile, overlap)
    assert str(tile) in caught.value.message or str(overlap) in caught.value.message


def test_only_tiles_that_see_a_wanted_pixel_are_needed():
    grid = TileGrid.plan(5000, 5000, 512, 64)
    assert grid.count_tiles(Window(0, 0, 5000, 5000)) == grid.rows.tiles * grid.columns.tiles == 144
    assert grid.count_tiles(Window(100, 100, 10, 10)) == 1
    assert grid.count_tiles(Window(450, 450, 10, 10)) == 4
