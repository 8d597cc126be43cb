"""Buildings of an image without labels, found by the embedded detector: new houses then look like their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache

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

KEPT = 16
"""Neighbourhoods that are remembered, 1.6 MB each."""

SURE, COMPACT, LEAST_M2 = 0.7, 0.75, 25.0
"""Of a building to copy: mean probability, share of its smallest rectangle that it fills, and area. Driveways and
merged rows fall through."""


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
        middle = [round((low + high) / 2 / SNAP) * SNAP for low, high in ((box.top, box.bottom), (box.left, box.right))]
        top, left = (max(0, min(m - SIDE // 2, length - SIDE)) for m, length in zip(middle, self._shape, strict=True))
        window = Box(top, left, min(top + SIDE, self._shape[0]), min(left + SIDE, self._shape[1]))
        place = Box(box.top - top, box.left - left, box.bottom - top, box.right - left)
        return Elsewhere(_Neighbourhood(self, window, self._building), place)

    def _find(self, window: Box) -> ArrayLibrary:
        picture = self._rgb(window)
        labels = np.full(window.shape, NODATA, np.uint8)
        labels[copyable(building_map(self._detector, picture), self._gsd)] = self._building
        return ArrayLibrary(FOUND, picture, labels)


class _Neighbourhood:
    """One window, as a library."""

    name = FOUND

    def __init__(self, neighbourhoods: Neighbourhoods, window: Box, building: int) -> None:
        self.shape = window.shape
        self._all, self._window, self._building = neighbourhoods, window, building

    def rgb(self, box: Box) -> Picture:
        """RGB [3, h, w]."""
        return self._all.found(self._window).rgb(box)

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """Buildings; everything else is not known [h, w]."""
        return self._all.found(self._window).labels(box)

    def places(self, wanted: int) -> NDArray[np.int64]:
        """Rows and columns [n, 2]; none of another class, and for these nobody looks."""
        if wanted != self._building:
            return np.zeros((0, 2), np.int64)
        return self._all.found(self._window).places(wanted)


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
