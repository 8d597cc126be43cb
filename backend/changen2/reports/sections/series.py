"""Six steps in one place: a quarter is built, then partly cleared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from changen2.models.rsdit_tiny import BACKGROUND, BUILDING
from changen2.reports.drawing import INITS
from changen2.reports.held_out import SOUTH_TYROL, Tile
from changen2.reports.page import Section, coloured, sheet
from changen2.reports.placing import place_buildings, whole_buildings
from changen2.reports.sections.events import CANDIDATES
from changen2.reports.series import DrawnEvent, run_series
from changen2.reports.subject import Subject

STEPS = 6
PER_STEP = 2
LEAST = 6
"""Created buildings without which a tile's series would have nothing to show."""


def series_section(subject: Subject, tell: Callable[[str], None]) -> Section:
    """Two houses a step for five steps; in the sixth two of the first ones go, and one that always stood there."""
    pictures: list[tuple[str, NDArray[np.uint8]]] = []
    with TemporaryDirectory() as folder:
        for number, tile in enumerate(subject.tiles(CANDIDATES, True, ("banepa", SOUTH_TYROL))):
            events = plan_series(tile, np.random.default_rng((subject.options.seed, number)))
            if not events or len(pictures) == subject.options.series:
                continue
            pictures.append((f"{tile.source}, {tile.name}", _sheet(subject, Path(folder), tile, events)))
            tell(f"series of {tile.source}, {tile.name}")
    return Section(
        "series",
        "Six-step series",
        [
            "Each image follows from the one before it. In steps 1 to 5 buildings are created, in step 6 two of them "
            "and one that stood there from the beginning are removed. The first held-out tiles with enough free "
            "ground, not chosen by looks."
        ],
        {},
        pictures,
    )


def plan_series(tile: Tile, rng: np.random.Generator) -> list[DrawnEvent]:
    """The events of six steps, or none where the tile has no room for them."""
    most = PER_STEP * (STEPS - 1)
    whole = whole_buildings(tile.label)
    placements = place_buildings(tile.label, whole * most, most, rng)
    if len(placements) < LEAST or not whole:
        return []
    events = []
    for index, placement in enumerate(placements):
        # Spread evenly over the steps before the last.
        step = 1 + index * (STEPS - 1) // len(placements)
        events.append(DrawnEvent(placement.new, "create", BUILDING, step))
    gone = [placements[0].new, placements[1].new, whole[0]]
    return events + [DrawnEvent(mask, "remove", BACKGROUND, STEPS) for mask in gone]


def _sheet(subject: Subject, folder: Path, tile: Tile, events: list[DrawnEvent]) -> NDArray[np.uint8]:
    series = [run_series(subject, folder, tile, events, init=init) for init in INITS]
    labels = [coloured(label, subject.classes) for label in series[0].labels]
    columns = [f"t{step}: labels, {', '.join(f'from {init}' for init in INITS)}" for step in range(STEPS + 1)]
    return sheet(columns, [labels, *(each.images for each in series)])
