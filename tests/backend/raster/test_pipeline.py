"""Blocks of both dates as the tiles that a model sees."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from changen2.raster.pipeline import BlockPixels
from changen2.raster.tiles import TileGrid


@settings(deadline=None, max_examples=30)
@given(height=st.integers(33, 200), width=st.integers(33, 200))
def test_beyond_its_edge_the_raster_is_mirrored(height, width):
    """As far as a tile's own part of the raster reaches."""
    image = np.random.default_rng(height * width).integers(0, 255, (3, height, width)).astype(np.uint8)
    mirrored = np.pad(image, ((0, 0), (0, 64), (0, 64)), "reflect")
    grid = TileGrid.plan(height, width, 64, 16)
    (block,) = grid.blocks(Window(0, 0, width, height))
    pixels = BlockPixels(block, image, 255 - image, np.ones((height, width), bool))
    for row, column in block.tiles:
        (top, bottom), (left, right) = grid.rows.seen(row), grid.columns.seen(column)
        high = min(grid.rows.tile, 2 * (bottom - top) - 1)
        wide = min(grid.columns.tile, 2 * (right - left) - 1)
        before, after = (tile[:, :high, :wide] for tile in pixels.tile(row, column))
        expected = mirrored[:, top : top + high, left : left + wide]
        assert np.array_equal(before, expected) and np.array_equal(after, 255 - expected)
