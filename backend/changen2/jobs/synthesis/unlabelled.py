"""Images without labels under drawn events: where something goes, all that is known is that an object stood there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from changen2.gpcm.classes import ClassTable
from changen2.gpcm.drawn import DrawnEvent, extent
from changen2.gpcm.labels import Box, Labels
from changen2.jobs.synthesis.condition import INSTANCES


class Unlabelled:
    """S_0 of an image without labels: an object where the first event leaves class 0, and 0 elsewhere.

    Without the object such an event would change nothing, as its places are of class 0 already.

    Args:
        drawn: the events of all steps.
        classes: of the series.

    Attributes:
        classes: with a class for the objects, where there are any.
    """

    def __init__(self, drawn: Sequence[DrawnEvent], classes: ClassTable) -> None:
        # Painted from the last to the first, so that the first one shows; of one step the last one drawn lies on top.
        self._drawn = sorted(drawn, key=lambda event: -event.step)
        self._tree = shapely.STRtree([event.geometry for event in self._drawn])
        self.classes, self._object = classes, 0
        if any(event.to_class == 0 for event in drawn):
            self.classes, self._object = _with_object(classes)

    def read(self, box: Box) -> Labels:
        """The classes of a window [h, w]."""
        values = np.zeros(box.shape, np.uint8)
        if self._object:
            for index in sorted(self._tree.query(shapely.box(box.left, box.top, box.right, box.bottom))):
                event = self._drawn[index]
                # Burning costs what the window does, and there may be thousands of events in it.
                part = extent(event.geometry, (box.bottom, box.right)).meet(box)
                if 0 not in part.shape:
                    values[part.inside(box)][event.burn(part)] = self._object if event.to_class == 0 else 0
        return values


def _with_object(classes: ClassTable) -> tuple[ClassTable, int]:
    """A table with the class of objects of which nothing else is known, and its number."""
    name, colour = INSTANCES.names[1], INSTANCES.colours[1]
    for index, known in classes.names.items():
        if index and known.casefold() == name:
            return classes, index
    index = next(number for number in range(1, 255) if number not in classes.names)
    return ClassTable({**classes.names, index: name}, {**classes.colours, index: colour}), index
