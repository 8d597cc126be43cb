"""How connected places of change fared: how much of a known one was reported, and of a reported one is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from changen2.gpcm.labels import Box
from changen2.gpcm.objects import Objects, find_objects
from changen2.jobs.runs.progress import Reporter
from changen2.raster.grid import Grid
from changen2.raster.ground import pixel_area_m2

RIGHT, HIT, MISSED, FALSE, NODATA = 0, 1, 2, 3, 255
"""Outcomes of a pixel: no change and none reported, found, missed, reported in vain, not known."""

FOUND_SHARE = 0.5
"""Share of a known place that must be reported for the place to count as found."""

Outcomes = Callable[[Window], NDArray[np.uint8]]
"""Window of a change map → the outcome of each pixel ``[h, w]``."""

Shares = NDArray[np.float64]


def outcome_of(
    changed: NDArray[np.bool_], valid: NDArray[np.bool_], true: NDArray[np.bool_], known: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return the outcome of each pixel; all ``[h, w]``."""
    outcome = np.select([changed & true, true, changed], [HIT, MISSED, FALSE], RIGHT)
    return np.where(valid & known, outcome, NODATA).astype(np.uint8)


def least_pixels(grid: Grid, min_area: float) -> int:
    """Pixels that an area takes: of m², of pixels on a grid without CRS."""
    return int(np.ceil(min_area / (pixel_area_m2(grid) or 1.0)))


def place_shares(outcomes: Outcomes, shape: tuple[int, int], least: int, reporter: Reporter) -> tuple[Shares, Shares]:
    """Return of each known place the share that is reported, and of each reported place the share that is known.

    Args:
        outcomes: read several times, in blocks.
        shape: rows and columns of the map.
        least: pixels below which a place is left out.
        reporter: progress (stage ``count``) and cancel.
    """
    known, reported = (_hit_shares(_Marked(outcomes, shape, other), least, reporter) for other in (MISSED, FALSE))
    return known, reported


class _Marked:
    """Outcomes as a label map: 1 where there is a hit or the other value, else 0."""

    def __init__(self, outcomes: Outcomes, shape: tuple[int, int], other: int) -> None:
        self._outcomes, self._other = outcomes, other
        self.shape = shape

    def outcomes(self, box: Box) -> NDArray[np.uint8]:
        return self._outcomes(box.window)

    def read(self, box: Box) -> NDArray[np.uint8]:
        return self.mark(self.outcomes(box))

    def mark(self, outcomes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return ((outcomes == HIT) | (outcomes == self._other)).astype(np.uint8)


def _hit_shares(marked: _Marked, least: int, reporter: Reporter) -> Shares:
    places: Objects = find_objects(marked, on_block=lambda done, total: reporter.step("count", done, total))  # type: ignore[arg-type]
    hits = np.zeros(len(places), np.int64)
    for block in places.blocks():
        reporter.check()
        outcomes = marked.outcomes(block)
        numbers = places.ids(block, marked.mark(outcomes))
        hits += np.bincount(numbers[outcomes == HIT], minlength=len(places))
    counted = (places.classes == 1) & (places.areas >= least)
    return np.asarray(hits[counted] / places.areas[counted])
