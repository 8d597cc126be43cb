"""Where exemplars come from: pictures with classes to take them from, and what can draw one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from changen2.gpcm.labels import NODATA, Box

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Library(Protocol):
    """Pictures with classes that objects and patches are taken from."""

    name: str
    shape: tuple[int, int]

    def rgb(self, box: Box) -> Picture:
        """RGB 0..255 [3, h, w] of a box inside."""
        ...

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """The generator's classes [h, w]."""
        ...

    def places(self, wanted: int) -> NDArray[np.int64]:
        """Rows and columns [n, 2] of pixels of a class; some of them suffice."""
        ...


class ObjectDrawer(Protocol):
    """Draws objects by code."""

    name: str

    def draw(
        self, inside: Mask, wanted: int, own: Sequence[Library], ground: NDArray[np.float64], rng: np.random.Generator
    ) -> Picture | None:
        """Draw an object on a footprint.

        Args:
            inside: the footprint in its bounding box [h, w].
            wanted: its class.
            own: pictures of the same place; objects of the class there lend their colours.
            ground: colour of what it will lie on, RGB 0..255 [3].
            rng: decides the rest.

        Returns:
            [3, h, w]; None where it cannot draw the class.
        """
        ...


@dataclass(frozen=True)
class Exemplars:
    """All that a change may start from.

    Attributes:
        own: pictures of the same place, which come first.
        drawer: draws what they do not have; None: nothing does.
        others: pictures of other places, for what is not drawn either.
    """

    own: Sequence[Library]
    drawer: ObjectDrawer | None = None
    others: Sequence[Library] = field(default_factory=tuple)


ExemplarsAt = Callable[[Box], Exemplars]
"""What a change may start from, by the box around it, in pixels of the picture that it is part of."""

GroundAt = Callable[[Box], Mask]
"""Which pixels of a box of a picture show ground [h, w], which what is removed may be filled with; some of those that
change may be among them."""


class Elsewhere:
    """A library without what it shows at one place: a house that is built anew must not be the one that stood there.

    Args:
        library: of any kind.
        place: a box in its pixels.
    """

    def __init__(self, library: Library, place: Box) -> None:
        self.name, self.shape = library.name, library.shape
        self._library, self._place = library, place
        self.rgb, self.places = library.rgb, library.places

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """The generator's classes [h, w], unknown at the place."""
        labels = self._library.labels(box).copy()
        rows, columns = self._place.top - box.top, self._place.left - box.left
        height, width = self._place.shape
        labels[max(rows, 0) : max(rows + height, 0), max(columns, 0) : max(columns + width, 0)] = NODATA
        return labels


class ArrayLibrary:
    """A library in memory.

    Args:
        name: for the record.
        rgb: uint8 [3, h, w].
        labels: the generator's classes [h, w].
    """

    def __init__(self, name: str, rgb: Picture, labels: NDArray[np.uint8]) -> None:
        self.name = name
        self.shape: tuple[int, int] = (labels.shape[0], labels.shape[1])
        self._rgb, self._labels = rgb, labels

    def rgb(self, box: Box) -> Picture:
        """RGB [3, h, w]."""
        return self._rgb[:, box.top : box.bottom, box.left : box.right]

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """Classes [h, w]."""
        return self._labels[box.top : box.bottom, box.left : box.right]

    def places(self, wanted: int) -> NDArray[np.int64]:
        """Rows and columns [n, 2]."""
        return np.argwhere(self._labels == wanted)
