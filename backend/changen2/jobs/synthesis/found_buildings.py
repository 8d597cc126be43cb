"""Buildings of an image without labels, found by the embedded detector: new houses look like them, no ground does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from changen2.gpcm.fitting import Frame
from changen2.gpcm.labels import NODATA, Box
from changen2.gpcm.libraries import ArrayLibrary, Elsewhere, Picture
from changen2.models.changestar_tiny import ChangeStarTiny, building_map
from changen2.models.registry import card_of, embedded_detector

FOUND = "same raster, found by the detector"

SIDE, SNAP = 640, 256
"""Pixels of the neighbourhood of a change that is looked at, and of the grid that its middle is snapped to: what a
change starts from must not depend on the extent that is asked for."""

KEPT = 64
"""Neighbourhoods that are remembered, 2 MB each: those within reach of what is removed, for the next one beside it."""

WHOLE = 512
"""Side of the blocks of the raster whose buildings are told from one such neighbourhood, around their middle."""

SUSPECTED = 0.3
"""Probability of building from which on a pixel is no ground: one roof in what is removed is worse than less to choose
from."""

SURE, COMPACT, LEAST_M2 = 0.7, 0.75, 25.0
"""Of a building to copy: mean probability, share of its smallest rectangle that it fills, and area. Driveways and
merged rows fall through."""


class Found(NamedTuple):
    """What the detector found in a window.

    Attributes:
        library: of the buildings that can be copied.
        suspected: where there may be one [h, w].
    """

    library: ArrayLibrary
    suspected: NDArray[np.bool_]


class Neighbourhoods:
    """Libraries of what stands around a place; the detector looks when somebody asks for buildings.

    Args:
        rgb: reads a box inside the raster as the generator sees it, uint8 [3, h, w].
        shape: rows, columns of the raster.
        building: the generator's class of buildings.
        gsd: metres.
    """

    def __init__(self, rgb: Callable[[Box], Picture], shape: tuple[int, int], building: int, gsd: float) -> None:
        self._rgb, self._shape, self._building, self._gsd = rgb, shape, building, gsd
        self.found = lru_cache(maxsize=KEPT)(self._find)

    @cached_property
    def _detector(self) -> ChangeStarTiny:
        return embedded_detector()

    @staticmethod
    def serve(gsd: float) -> bool:
        """Whether the detector knows imagery of such pixels."""
        card = card_of("tiny")
        return card.gsd_min <= gsd <= card.gsd_max

    def around(self, box: Box) -> Elsewhere:
        """The buildings around a box, without what stands in it."""
        row, column = (round((low + high) / 2 / SNAP) * SNAP for low, high in _sides(box))
        window = self._window(row, column)
        place = Box(box.top - window.top, box.left - window.left, box.bottom - window.top, box.right - window.left)
        return Elsewhere(_Neighbourhood(self, window, self._building), place)

    def built(self, box: Box, check: Callable[[], None] = lambda: None) -> NDArray[np.bool_]:
        """Where a box inside the raster may show a building [h, w]; ``check`` is called before each look at a part."""
        found = np.zeros(box.shape, bool)
        (top, bottom), (left, right) = ((low // WHOLE * WHOLE, high) for low, high in _sides(box))
        for block in Box(top, left, bottom, right).blocks(WHOLE):
            check()
            window, part = self._window(block.top + WHOLE // 2, block.left + WHOLE // 2), block.meet(box)
            found[part.inside(box)] = self.found(window).suspected[part.inside(window)]
        return found

    def _window(self, row: int, column: int) -> Box:
        """The neighbourhood around a pixel, moved to lie on the raster."""
        sides = zip((row, column), self._shape, strict=True)
        top, left = (max(0, min(middle - SIDE // 2, length - SIDE)) for middle, length in sides)
        return Box(top, left, min(top + SIDE, self._shape[0]), min(left + SIDE, self._shape[1]))

    def _find(self, window: Box) -> Found:
        picture = self._rgb(window)
        probability = building_map(self._detector, picture)
        labels = np.full(window.shape, NODATA, np.uint8)
        labels[copyable(probability, self._gsd)] = self._building
        return Found(ArrayLibrary(FOUND, picture, labels), probability >= SUSPECTED)


class _Neighbourhood:
    """One window, as a library."""

    name = FOUND

    def __init__(self, neighbourhoods: Neighbourhoods, window: Box, building: int) -> None:
        self.shape = window.shape
        self._all, self._window, self._building = neighbourhoods, window, building

    def rgb(self, box: Box) -> Picture:
        """RGB [3, h, w]."""
        return self._all.found(self._window).library.rgb(box)

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """Buildings; everything else is not known [h, w]."""
        return self._all.found(self._window).library.labels(box)

    def places(self, wanted: int) -> NDArray[np.int64]:
        """Rows and columns [n, 2]; none of another class, and for these nobody looks."""
        if wanted != self._building:
            return np.zeros((0, 2), np.int64)
        return self._all.found(self._window).library.places(wanted)


def _sides(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    return (box.top, box.bottom), (box.left, box.right)


def copyable(probability: NDArray[np.float32], gsd: float) -> NDArray[np.bool_]:
    """The pixels of buildings that are surely single buildings [h, w].

    Args:
        probability: of building, 0..1 [h, w].
        gsd: metres.
    """
    numbers, count = scipy.ndimage.label(probability >= 0.5)
    chosen = np.zeros(count + 1, bool)
    for number, window in enumerate(scipy.ndimage.find_objects(numbers), 1):
        mask = numbers[window] == number
        if mask.sum() * gsd**2 < LEAST_M2 or probability[window][mask].mean() < SURE:
            continue
        chosen[number] = mask.sum() >= COMPACT * 4 * Frame.around(mask).half_sides.prod()
    return np.asarray(chosen[numbers])
