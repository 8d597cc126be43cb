"""The plan of a scene: streets first, then lots and houses along them, then trees."""

from __future__ import annotations

import numpy as np

from changen2.scenes.layout import Layout
from changen2.scenes.lots import LotBuilder, Occupancy
from changen2.scenes.planting import plant
from changen2.scenes.streets import draw_streets
from changen2.scenes.style import SceneStyle


def plan(rng: np.random.Generator, style: SceneStyle, height: float, width: float) -> Layout:
    """Draw streets, then lots with houses along them, then trees where room is left.

    Args:
        rng: source of randomness.
        style: the kind of place.
        height: metres.
        width: metres.
    """
    layout = Layout(width=width, height=height, angle=float(rng.uniform(0, np.pi)))
    if style.growth > 0:
        direction = rng.uniform(0, 2 * np.pi)
        a, b = float(np.cos(direction)), float(np.sin(direction))
        corners = sorted(a * x + b * y for x in (0, width) for y in (0, height))
        layout.growth_line = (a, b, corners[0] + (1 - style.growth) * (corners[-1] - corners[0]))
    layout.streets = draw_streets(rng, style, layout)
    occupancy = Occupancy(width, height)
    for street in layout.streets:
        occupancy.take_street(street)
    builder = LotBuilder(rng, style, layout, occupancy)
    for street in layout.streets:
        builder.along(street)
    if style.kind in ("informal", "rural"):
        builder.scattered()
    layout.trees = plant(rng, style, layout, occupancy)
    return layout
