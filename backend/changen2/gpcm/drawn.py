"""Events that an analyst drew: a polygon says what happens, to which class, at which step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.gpcm.labels import BLOCK, NODATA, Box, LabelMap
from changen2.gpcm.simulation import KINDS, Event, OnMark
from changen2.raster.cover import Cover


@dataclass(frozen=True)
class DrawnEvent:
    """A polygon with its meaning.

    Attributes:
        kind: create, remove or edit.
        to_class: class index after the event.
        step: 1..N; the map S_step is the first to show it.
        geometry: polygon in pixel coordinates (column, row), y down, (0, 0) the upper left corner.
    """

    kind: str
    to_class: int
    step: int
    geometry: BaseGeometry

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"{self.kind!r} is no event.", hint=f"Events are {', '.join(KINDS)}.", code="bad_event")
        if self.step < 1:
            raise InputError(f"Step {self.step} of an event.", hint="Steps count from 1.", code="bad_step")

    def burn(self, box: Box) -> NDArray[np.bool_]:
        """The pixels [h, w] of a window whose centre lies in the polygon."""
        return self._cover.burn(box.shape, Affine.translation(box.left, box.top))

    @cached_property
    def _cover(self) -> Cover:
        return Cover([self.geometry])


def extent(geometry: BaseGeometry, shape: tuple[int, int]) -> Box:
    """The window of a map of that shape in which the polygon may have pixels (possibly empty)."""
    left, top, right, bottom = geometry.bounds
    box = Box(int(np.floor(top)), int(np.floor(left)), int(np.ceil(bottom)), int(np.ceil(right)))
    return box.clip(shape)


def apply_drawn(
    then: LabelMap,
    events: list[DrawnEvent],
    step: int,
    *,
    block: int = BLOCK,
    on_mark: OnMark | None = None,
    first_number: int = 1,
    check: Callable[[], None] = lambda: None,
) -> list[Event]:
    """Burn the events of one step into a map; later polygons lie over earlier ones.

    Only the windows of the polygons are read and written. Pixels without a label stay without one.

    Args:
        then: a copy of S_t, which becomes S_{t+1}.
        events: of all steps.
        step: which of them happen now.
        block: largest window.
        on_mark: receives where each event acted.
        first_number: number of the first event.
        check: called for each window; may raise to cancel.

    Returns:
        One event for each polygon of this step, in their order; ``area`` counts the pixels that it gives another class
        than they had (0 outside the map, between pixel centres, and where all have its class already), ``from_class``
        is the class that most of these had.
    """
    happened = []
    for number, drawn in enumerate((event for event in events if event.step == step), first_number):
        counts = np.zeros(256, np.int64)
        box = extent(drawn.geometry, then.shape)
        for part in box.blocks(block):
            check()
            inside = drawn.burn(part)
            values = then.read(part)
            inside &= values != NODATA
            if not inside.any():
                continue
            counts += np.bincount(values[inside & (values != drawn.to_class)], minlength=256)
            values[inside] = drawn.to_class
            then.write(part, values)
            if on_mark:
                on_mark(part, np.where(inside, number, 0).astype(np.int32))
        area = int(counts.sum())
        most = int(counts.argmax()) if area else None
        happened.append(Event(drawn.kind, number, most, drawn.to_class, area, box))
    return happened
