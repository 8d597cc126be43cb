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
def test_a_blocks_tiles_stay_within_its_reach_and_decide_its_core_with_those_before(axis):
    for block in range(axis.blocks):
        (first, end), (says_first, says_end) = axis.reach(block), axis.decided(block)
        for tile in axis.tiles_of(block):
            assert first <= axis.seen(tile)[0] and axis.seen(tile)[1] <= end
            assert says_first <= axis.counted(tile)[0] and axis.counted(tile)[1] <= says_end
        assert says_first == axis.core(block)[0] and says_end >= axis.core(block)[1]


@given(axes, st.data())
def test_a_wanted_pixel_belongs_to_a_block_that_has_a_tile_for_it(axis, data):
    pixel = data.draw(st.integers(0, axis.length - 1))
    grid = TileGrid(axis, Axis(1, 32, 0, 1))
    blocks = list(grid.blocks(Window(0, pixel, 1, 1)))
    cores = [block.core for block in blocks]
    assert any(core.row_off <= pixel < core.row_off + core.height for core in cores)
    needed = {row for block in blocks for row, _ in block.tiles}
    says = {tile for tile in range(axis.tiles) if axis.counted(tile)[0] <= pixel < axis.counted(tile)[1]}
    assert needed == says


@given(axes, st.data())
def test_total_weights_are_the_sum_of_the_tiles(axis, data):
    total = np.zeros(axis.length, int)
    for tile in range(axis.tiles):
        first, end = axis.seen(tile)
        total[first:end] += axis.weights(tile)[: end - first]
    first = data.draw(st.integers(0, axis.length - 1))
    end = data.draw(st.integers(first + 1, axis.length))
    assert (axis.total_weights(first, end) == total[first:end]).all()
    assert total.min() >= 1 and total.max() <= 65


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
    if axis.tiles > 1 and axis.tile < tile and axis.tile - 64 >= max(2 * overlap, 32):
        smaller = Axis(length, axis.tile - 64, overlap, 1)
        assert smaller.tiles > axis.tiles, "smaller tiles would have done"


@pytest.mark.parametrize(
    ("length", "expected"),
    [(700, (1, 704)), (1024, (1, 1024)), (1100, (2, 640)), (2600, (3, 960)), (20_000, (23, 1024))],
)
def test_a_raster_little_larger_than_a_tile_does_not_cost_four(length, expected):
    axis = TileGrid.plan(length, length, 1024, 128).columns
    assert (axis.tiles, axis.tile) == expected


@given(axes)
def test_a_tile_has_no_say_in_its_rims_and_the_whole_say_where_it_is_alone(axis):
    for tile in range(axis.tiles):
        (first, end), (counted_first, counted_end) = axis.seen(tile), axis.counted(tile)
        weights = axis.weights(tile)[: end - first].astype(int)
        assert (weights[: counted_first - first] == 0).all()
        assert (weights[counted_end - first :] == 0).all()
        assert (weights[counted_first - first : counted_end - first] > 0).all()
    assert axis.counted(0)[0] == 0 and axis.counted(axis.tiles - 1)[1] == axis.length
    if axis.tiles > 2:
        assert (axis.weights(1)[axis.overlap : axis.stride] == 64).all()


def test_neighbours_hand_over_in_the_middle_of_their_overlap():
    axis = Axis(2000, 256, 64, 2)
    assert axis.rim == 24
    weights = axis.weights(1).astype(int)
    assert (weights[:24] == 0).all() and (weights[40:216] == 64).all() and (weights[232:] == 0).all()
    assert (np.diff(weights[24:40]) > 0).all()


@pytest.mark.parametrize(("tile", "overlap"), [(500, 64), (0, 0), (512, 300), (512, -1)])
def test_refuses_what_cannot_work(tile, overlap):
    with pytest.raises(InputError) as caught:
        TileGrid.plan(2000, 2000, tile, overlap)
    assert str(tile) in caught.value.message or str(overlap) in caught.value.message


def test_only_tiles_with_a_say_in_a_wanted_pixel_are_needed():
    grid = TileGrid.plan(5000, 5000, 512, 64)

    def count(*window):
        return sum(len(block.tiles) for block in grid.blocks(Window(*window)))

    assert count(0, 0, 5000, 5000) == grid.rows.tiles * grid.columns.tiles == 144
    assert count(100, 100, 10, 10) == 1
    assert count(475, 475, 10, 10) == 4
    assert count(450, 450, 10, 10) == 1, "its neighbours see it only at their rims"
