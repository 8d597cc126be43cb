"""Where things stand: streets, lots, houses and trees of a scene, as plain geometry in metres.

The layout is drawn once; each thing says at which of the two dates it is there (``dates`` = before, after).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from changen2.scenes.style import Colour

Points = NDArray[np.float64]
Dates = tuple[bool, bool]
BOTH: Dates = (True, True)

ROOF_SHAPES = ("gable", "hip", "flat", "shed")
COVERINGS = ("shingle", "tile", "metal", "membrane")


@dataclass(frozen=True)
class Street:
    """A road along ``points`` [n, 2] (x, y)."""

    points: Points
    width: float
    surface: str
    sidewalk: bool
    marked: bool
    dates: Dates = BOTH


@dataclass(frozen=True)
class House:
    """A building: a union of rectangles (u, v, half_u, half_v) in its own frame, under one kind of roof."""

    identity: int
    x: float
    y: float
    angle: float
    parts: tuple[tuple[float, float, float, float], ...]
    roof: str
    covering: str
    colour: Colour
    eave: float
    pitch: float
    dates: Dates

    @property
    def reach(self) -> float:
        """Radius of a circle around all parts."""
        return max(float(np.hypot(abs(u) + a, abs(v) + b)) for u, v, a, b in self.parts)


@dataclass(frozen=True)
class Lot:
    """A piece of land beside a street; the street lies on the side of negative v.

    ``kept`` says at which dates the land looks like a lot at all (else it is open land); ``state`` says what
    stands on it when no house does: "lawn", "bare", "slab" or "wild".
    """

    x: float
    y: float
    angle: float
    half_u: float
    half_v: float
    house: House | None
    kept: Dates
    state: tuple[str, str]
    paved: float
    pool: bool


@dataclass(frozen=True)
class Tree:
    """A tree by its trunk, crown radius and kind; ``scale`` 0 = not there, per date."""

    x: float
    y: float
    radius: float
    colour: Colour
    evergreen: bool
    scale: tuple[float, float]


@dataclass
class Layout:
    """All that stands in a scene of ``width`` × ``height`` metres."""

    width: float
    height: float
    angle: float
    streets: list[Street] = field(default_factory=list)
    lots: list[Lot] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    growth_line: tuple[float, float, float] | None = None

    @property
    def houses(self) -> list[House]:
        """The buildings of both dates."""
        return [lot.house for lot in self.lots if lot.house is not None]

    def grows(self, x: float, y: float) -> bool:
        """Whether a place belongs to the quarter that is built between the dates."""
        if self.growth_line is None:
            return False
        a, b, c = self.growth_line
        return a * x + b * y > c
