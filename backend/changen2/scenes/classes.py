"""The classes of simulated scenes, with names and display colours.

They follow the usual five of aerial land cover; what is none of them (drives, terraces, cars) is background.
"""

from __future__ import annotations

BACKGROUND, WATER, LAND, ROAD, BUILDING, VEGETATION = range(6)

CLASSES: dict[int, tuple[str, tuple[int, int, int]]] = {
    BACKGROUND: ("background", (190, 190, 190)),
    WATER: ("water", (66, 133, 200)),
    LAND: ("land", (196, 164, 116)),
    ROAD: ("road", (110, 110, 120)),
    BUILDING: ("building", (204, 60, 52)),
    VEGETATION: ("vegetation", (92, 148, 72)),
}
