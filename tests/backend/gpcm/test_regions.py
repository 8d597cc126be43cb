"""Where change is drawn: regions, their windows, and what does not depend on the raster around them."""

import numpy as np
import pytest

from changen2.gpcm import regions
from changen2.gpcm.labels import Box
from changen2.gpcm.regions import CELL, MARGIN, TOKEN, WINDOW_CELLS, find_regions, within

SIDE = WINDOW_CELLS * CELL


def extent_of(changed):
    """The box of a change map's places that lie in some cells."""

    def extent(cells):
        whole = Box(0, 0, *changed.shape)
        rows, columns = np.nonzero(changed & within(cells, whole))
        return Box(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)

    return extent


def find(changed):
    """The regions of a change map on the latent grid."""
    height, width = (-(-side // CELL) for side in changed.shape)
    padded = np.pad(changed, [(0, height * CELL - changed.shape[0]), (0, width * CELL - changed.shape[1])])
    occupied = padded.reshape(height, CELL, width, CELL).any((1, 3))
    return list(find_regions(occupied, extent_of(changed), changed.shape))


def changed(shape, *boxes):
    values = np.zeros(shape, bool)
    for top, left, bottom, right in boxes:
        values[top:bottom, left:right] = True
    return values


def test_a_small_change_is_seen_by_one_window_around_it():
    (region,) = find(changed((400, 500), (201, 250, 211, 262)))
    assert not region.is_joint and region.windows((1, 2)) == [region.box]
    assert region.box.shape == (SIDE, SIDE)
    assert region.box.top <= 201 - MARGIN and region.box.bottom >= 211 + MARGIN
    assert abs((region.box.top + region.box.bottom) / 2 - 206) <= 2


def test_a_window_stays_inside_the_raster_where_it_fits():
    (corner,) = find(changed((400, 500), (0, 490, 5, 500)))
    assert corner.box == Box(0, 500 - SIDE, SIDE, 500)
    (whole,) = find(changed((30, 40), (5, 5, 10, 10)))
    assert whole.box == Box(0, 0, 32, 48)


def test_change_in_touching_cells_is_one_region():
    near = find(changed((400, 500), (17, 17, 20, 20), (33, 33, 36, 36)))
    far = find(changed((400, 500), (17, 17, 20, 20), (49, 17, 52, 20)))
    assert len(near) == 1 and len(far) == 2


@pytest.mark.parametrize("shift", [(0, 0), (1, 3), (2, 2)])
def test_shifted_windows_cover_a_large_change_once(shift):
    values = changed((500, 600), (100, 90, 330, 400), (330, 90, 400, 120))
    (region,) = find(values)
    assert region.is_joint
    seen = np.zeros((600, 700), int)
    for window in region.windows(shift):
        assert window.shape == (SIDE, SIDE)
        assert (window.top % SIDE, window.left % SIDE) == (shift[0] * CELL, shift[1] * CELL)
        assert window.top >= region.box.top and window.right <= region.box.right
        seen[window.top : window.bottom, window.left : window.right] += 1
    assert (seen[:500, :600][values] == 1).all() and seen.max() == 1


def test_windows_are_encoded_before_they_are_looked_at():
    (region,) = find(changed((500, 600), (100, 90, 330, 400)))
    encoded = np.zeros((700, 800), bool)
    for block in region.encoded:
        encoded[block.top + 64 : block.bottom + 64, block.left + 64 : block.right + 64] = True
    for shift in np.ndindex(WINDOW_CELLS, WINDOW_CELLS):
        for window in region.windows(shift):
            assert encoded[window.top + 64 : window.bottom + 64, window.left + 64 : window.right + 64].all()


def test_windows_do_not_depend_on_the_raster():
    (small,) = find(changed((500, 600), (100, 90, 330, 400)))
    (large,) = find(changed((900, 1000), (100, 90, 330, 400)))
    assert small.box == large.box and small.windows((3, 1)) == large.windows((3, 1))


def test_a_huge_change_is_drawn_in_parts_that_know_those_before(monkeypatch):
    monkeypatch.setattr(regions, "JOINT_CELLS", 8)
    values = changed((300, 300), (10, 10, 290, 290))
    parts = find(values)
    assert len(parts) == 9
    cells = np.concatenate([part.cells for part in parts])
    assert len(np.unique(cells, axis=0)) == len(cells) == 19 * 19
    assert len(parts[0].drawn) == 0
    assert np.array_equal(parts[-1].drawn, np.concatenate([part.cells for part in parts[:-1]]))


def test_within_counts_in_any_grid():
    cells = np.array([[1, 2]])
    assert within(cells, Box(CELL, 2 * CELL, CELL + 1, 3 * CELL + 1)).tolist() == [[True] * CELL + [False]]
    assert within(cells, Box(60, 120, 70, 130), 64).sum() == 6 * 2
    assert not within(np.zeros((0, 2), np.int64), Box(-5, -5, 5, 5)).any()


@pytest.mark.parametrize("block", [2, 8])
def test_change_in_two_blocks_is_never_one_region(block):
    occupied = np.random.default_rng(1).random((20, 27)) < 0.6
    found = list(find_regions(occupied, lambda cells: Box(0, 0, 1, 1), (20 * CELL, 27 * CELL), block))
    assert all(len(np.unique(region.cells // block, axis=0)) == 1 for region in found)
    cells = np.concatenate([region.cells for region in found])
    assert (
        len(cells) == occupied.sum() and occupied[tuple(cells.T)].all() and len(np.unique(cells, axis=0)) == len(cells)
    )


@pytest.mark.parametrize("shape", [(401, 501), (125, 65), (97, 130), (66, 95)])
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_window_reaches_the_last_places_of_a_raster_of_any_size(shape, corner):
    top, left = (end * (length - 3) for end, length in zip(corner, shape, strict=True))
    (region,) = find(changed(shape, (top, left, top + 3, left + 3)))
    assert region.box.top <= top and region.box.bottom >= top + 3
    assert region.box.left <= left and region.box.right >= left + 3
    assert region.box.top % TOKEN == region.box.left % TOKEN == 0
