"""What of a step is looked through for its change."""

from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from changen2.gpcm.labels import Box
from changen2.gpcm.simulation import Event
from changen2.jobs.synthesis.event_series import _around
from changen2.raster.grid import Grid

GRID = Grid(CRS.from_epsg(32633), Affine(0.5, 0, 0, 0, -0.5, 0), 3000, 2500)


def area(box: Box) -> int:
    return box.shape[0] * box.shape[1]


@settings(deadline=None)
@given(st.integers(0, 2490), st.integers(0, 2990), st.integers(1, 2200), st.integers(1, 2200))
def test_every_pixel_of_an_event_is_in_a_block_that_is_looked_through(top, left, height, width):
    box = Box(top, left, top + height, left + width)
    blocks = _around([Event("create", 1, None, 4, 1, box)], GRID)
    inside = box.clip((GRID.height, GRID.width))
    assert sum(area(block.meet(inside)) for block in blocks) == area(inside)
