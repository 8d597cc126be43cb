"""Each kind of event on held-out tiles: before, labels, after, change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changen2.jobs.synthesis.condition import INSTANCES
from changen2.models.rsdit_tiny import BACKGROUND, BUILDING, LAND, ROAD, VEGETATION, WATER
from changen2.reports.drawing import INITS
from changen2.reports.held_out import SOUTH_TYROL, Tile
from changen2.reports.page import Section, coloured, shaded, sheet
from changen2.reports.placing import place_buildings, whole_buildings
from changen2.reports.series import DrawnEvent, run_series
from changen2.reports.subject import Subject

Mask = NDArray[np.bool_]
Case = tuple[Tile, list[DrawnEvent], dict[str, Any]]

CANDIDATES = 60
"""Tiles that examples are looked for in, in order."""

REMOVED = 3


def events_section(subject: Subject, tell: Callable[[str], None]) -> Section:
    """Run the job for each kind of event, from noise and from an exemplar."""
    pictures = []
    with TemporaryDirectory() as folder:
        for title, cases in KINDS.items():
            chosen = [case for case, _ in zip(cases(subject), range(subject.options.examples), strict=False)]
            rows = [_row(subject, Path(folder), case) for case in chosen]
            if rows:
                columns = ["before", "labels before", "labels after", "change", *(f"after, from {i}" for i in INITS)]
                pictures.append((title, sheet(columns, rows)))
            tell(title.lower())
    return Section(
        "events",
        "Each event type",
        [
            "What the synthesis job writes for held-out tiles: the first that fit, not chosen by looks. The last two "
            "columns start from noise and from an exemplar; the job's manifest says which."
        ],
        {},
        pictures,
    )


def created(subject: Subject) -> Iterator[Case]:
    """Footprints of a tile moved to its free ground."""
    for index, tile in enumerate(subject.tiles(CANDIDATES, True, ("banepa", SOUTH_TYROL))):
        rng = np.random.default_rng((subject.options.seed, index))
        placements = place_buildings(tile.label, whole_buildings(tile.label), 4, rng)
        if len(placements) > 1:
            yield tile, [DrawnEvent(placement.new, "create", BUILDING) for placement in placements], {}


def removed(subject: Subject) -> Iterator[Case]:
    """The largest whole buildings of a tile."""
    for tile in subject.tiles(CANDIDATES, True, ("banepa", SOUTH_TYROL)):
        whole = whole_buildings(tile.label)[:REMOVED]
        if len(whole) > 1:
            yield tile, [DrawnEvent(mask, "remove", BACKGROUND) for mask in whole], {}


def edited(subject: Subject) -> Iterator[Case]:
    """Objects of all classes, each with the published probability."""
    for tile in subject.tiles(CANDIDATES, False, ("dubai",)):
        if len(np.unique(tile.label)) > 2:
            yield tile, [], {"simulate": "edit"}


def drawn(subject: Subject) -> Iterator[Case]:
    """A pond, a road, a grove and a field, as somebody might draw them, on tiles whose labels are not told."""
    size = subject.options.size
    rows, columns = np.mgrid[:size, :size] / size
    shapes = {
        WATER: ((rows - 0.25) / 0.16) ** 2 + ((columns - 0.28) / 0.22) ** 2 < 1,
        ROAD: np.abs(rows - 0.2 * columns - 0.5) < 0.025,
        VEGETATION: ((rows - 0.82) / 0.13) ** 2 + ((columns - 0.25) / 0.2) ** 2 < 1,
        LAND: (rows > 0.72) & (rows < 0.95) & (columns > 0.55) & (columns < 0.9),
    }
    for tile in subject.tiles(CANDIDATES, False, ("estonia", "dubai")):
        yield tile, [DrawnEvent(mask, "edit", value) for value, mask in shapes.items()], {"labelled": False}


def agnostic(subject: Subject) -> Iterator[Case]:
    """Nothing but an image."""
    for tile in subject.tiles(CANDIDATES, False, ("estonia", SOUTH_TYROL)):
        yield tile, [], {"labelled": False}


KINDS: dict[str, Callable[[Subject], Iterator[Case]]] = {
    "Created buildings": created,
    "Removed buildings": removed,
    "Attribute edits by the transition table": edited,
    "Polygons drawn on an image without labels": drawn,
    "Class-agnostic removal: an image without labels or polygons": agnostic,
}


def _row(subject: Subject, folder: Path, case: Case) -> list[NDArray[np.uint8]]:
    tile, events, options = case
    series = [run_series(subject, folder, tile, events, init=init, **options) for init in INITS]
    first = series[0]
    # Without labels or events the job numbers what it cuts out of the image, not classes of the ground.
    classes = subject.classes if events or options.get("labelled", True) else INSTANCES
    labels = [coloured(label, classes) for label in first.labels]
    return [tile.image, *labels, shaded(first.changes[0]), *(each.images[1] for each in series)]
