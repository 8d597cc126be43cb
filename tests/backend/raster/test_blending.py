import numpy as np
import pytest
from rasterio.windows import Window

from changen2.raster.blending import BlockSums, Carry
from changen2.raster.tiles import Axis, TileGrid


def blended(field, grid, wanted, folder):
    """What comes out where every tile's values are the field itself plus something of its own."""
    out = np.zeros(field.shape, np.uint16)
    carry = Carry(folder, grid)
    for block in grid.blocks(wanted):
        sums = BlockSums(block, 1)
        for row, column in block.tiles:
            (r0, r1), (c0, c1) = grid.rows.seen(row), grid.columns.seen(column)
            tile = np.zeros((1, grid.rows.tile, grid.columns.tile), np.uint16)
            tile[0, : r1 - r0, : c1 - c0] = field[r0:r1, c0:c1] + 7 * row + 13 * column
            sums.add(row, column, tile)
        core = block.core
        part = carry.finish(sums)
        out[core.row_off : core.row_off + core.height, core.col_off : core.col_off + core.width] = part[0]
    return out


def dense(field, grid):
    """The same blend, held whole, without blocks."""
    total, weight = np.zeros(field.shape), np.zeros(field.shape)
    for row in range(grid.rows.tiles):
        for column in range(grid.columns.tiles):
            (r0, r1), (c0, c1) = grid.rows.seen(row), grid.columns.seen(column)
            outer = grid.rows.weights(row)[:, None] * grid.columns.weights(column)[None].astype(float)
            part = outer[: r1 - r0, : c1 - c0]
            total[r0:r1, c0:c1] += part * (field[r0:r1, c0:c1] + 7 * row + 13 * column)
            weight[r0:r1, c0:c1] += part
    return np.floor(total / weight + 0.5).astype(np.uint16)


@pytest.fixture
def field():
    return np.random.default_rng(0).integers(0, 60000, (517, 700)).astype(np.uint16)


@pytest.mark.parametrize("per_block", [1, 2, 3, 99])
@pytest.mark.parametrize("overlap", [0, 17, 32])
def test_blocks_give_what_one_whole_sum_gives(tmp_path, field, per_block, overlap):
    grid = TileGrid(*(Axis(length, 64, overlap, per_block) for length in field.shape))
    assert (blended(field, grid, Window(0, 0, 700, 517), tmp_path) == dense(field, grid)).all()


def test_a_part_gives_what_the_whole_gives_there(tmp_path, field):
    grid = TileGrid(*(Axis(length, 64, 20, 2) for length in field.shape))
    whole = dense(field, grid)
    for name, window in enumerate((Window(130, 77, 210, 300), Window(0, 400, 700, 117), Window(699, 516, 1, 1),
                                     Window(88, 176, 3, 3), Window(300, 88, 50, 2))):  # fmt: skip
        folder = tmp_path / str(name)
        folder.mkdir()
        part = (
            slice(window.row_off, window.row_off + window.height),
            slice(window.col_off, window.col_off + window.width),
        )
        assert (blended(field, grid, window, folder)[part] == whole[part]).all()


def test_strips_of_finished_rows_are_deleted(tmp_path, field):
    grid = TileGrid(*(Axis(length, 64, 20, 2) for length in field.shape))
    blended(field, grid, Window(0, 0, 700, 517), tmp_path)
    Carry(tmp_path, grid).forget_above(grid.rows.blocks)
    assert not list(tmp_path.glob("*.npy"))
