"""Which regions of a series a part of its images depends on."""

from dataclasses import dataclass

import numpy as np
import pytest

from changen2.gpcm.labels import Box
from changen2.gpcm.regions import Region
from changen2.gpcm.synthesis import HALO
from changen2.jobs.synthesis.image_drawing import needed

CELL, STRIDE = 64, 4


def region_at(cells, drawn=()):
    cells = np.array(cells)
    (top, left), (bottom, right) = cells.min(axis=0) * 16, (cells.max(axis=0) + 1) * 16
    return Region(cells, Box(top - 8, left - 8, bottom + 8, right + 8), drawn=np.array(drawn).reshape(-1, 2))


def by_definition(regions, asked):
    """Each region against each other one."""
    seen, chosen = [asked], []
    for mine in reversed(regions):
        kept, already = [], list(seen)
        for region in reversed(mine):
            (top, left), (bottom, right) = region.cells.min(axis=0) * CELL, (region.cells.max(axis=0) + 1) * CELL
            meets = any(b.top < bottom and b.left < right and b.bottom > top and b.right > left for b in already)
            first = region.cells[0].tolist()
            if meets or any(first in other.drawn.tolist() for other in kept):
                kept.insert(0, region)
                sides = region.box.top - HALO, region.box.left - HALO, region.box.bottom + HALO, region.box.right + HALO
                seen.append(Box(*(side * STRIDE for side in sides)))
        chosen.insert(0, kept)
    return chosen


@pytest.mark.parametrize("seed", range(8))
def test_needed_is_what_the_asked_part_depends_on(seed):
    random = np.random.default_rng(seed)
    series = []
    for _ in range(3):
        step = []
        for place in random.permutation(400)[:60]:
            row, column = divmod(int(place), 20)
            first, second = [[row, column]], [[row, column + 1]]
            # Some are the parts of one change: the second sees the first.
            step += [region_at(first), region_at(second, first)] if random.random() < 0.3 else [region_at(first)]
        series.append(step)
    asked = Box(*(random.integers(0, 10, 2) * CELL), *(random.integers(11, 20, 2) * CELL))
    found = needed(series, asked, CELL, STRIDE)
    assert [list(map(id, step)) for step in found] == [list(map(id, step)) for step in by_definition(series, asked)]
    assert needed([[], series[0]], asked, CELL, STRIDE)[0] == []


def test_regions_are_not_compared_with_each_other():
    looks = []

    @dataclass
    class Watched:
        cells: np.ndarray
        box: Box

        @property
        def drawn(self):
            looks.append(self)
            return np.zeros((0, 2), np.int64)

    regions = [Watched(r.cells, r.box) for r in (region_at([[3 * (n // 20), 3 * (n % 20)]]) for n in range(400))]
    (kept,) = needed([regions], Box(0, 0, 60 * CELL, 60 * CELL - 1), CELL, STRIDE)
    assert len(kept) == 400 and len(looks) <= 400


def test_an_extent_needs_all_that_a_later_region_looks_at() -> None:
    """The encoder sees some latent places more than a region's own box; cells are of 64 pixels, places of 4."""
    early = Region(np.array([[0, 0]]), Box(0, 0, 16, 16))
    near = Region(np.array([[0, 2]]), Box(0, 16 + HALO - 1, 64, 80))
    far = Region(np.array([[0, 2]]), Box(0, 16 + HALO, 64, 80))
    asked = Box(0, 128, 64, 192)
    assert needed([[early], [near]], asked, 64, 4) == [[early], [near]]
    assert needed([[early], [far]], asked, 64, 4) == [[], [far]]
