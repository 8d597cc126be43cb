"""Tiles of areas that the generator has not learned from, cut without overlap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError
from changen2.models.rsdit_tiny import BACKGROUND, BUILDING
from changen2.training import places, sources
from changen2.training.crops import Cut
from changen2.training.generator.crops import contour_classes, cut_classes
from changen2.training.generator.imagery import READERS
from changen2.training.places import IGNORE, Bytes, Place

SOUTH_TYROL = "south_tyrol"

FOLDERS = {name: f"val/{name}" if name == SOUTH_TYROL else f"train/{name}" for name in READERS}

GSD = {"banepa": 0.26, "spacenet1_rio": 0.5, "dubai": 0.5, "estonia": 0.3, SOUTH_TYROL: 0.3}
"""Metres per pixel of each source's tiles. SpaceNet 2's held-out strips are lower than a tile, Kampala holds none
out."""

MOST_UNKNOWN = 0.02
"""Share of a tile's pixels that may be of unknown class."""


@dataclass(frozen=True)
class Tile:
    """A held-out square.

    Attributes:
        source, name: where it is from.
        image: RGB [3, size, size].
        label: the generator's classes [size, size]; contours where the source has no labels.
        gsd: metres per pixel.
    """

    source: str
    name: str
    image: Bytes
    label: Bytes
    gsd: float

    @property
    def buildings(self) -> NDArray[np.bool_]:
        """Where buildings stand [size, size]."""
        return self.label == BUILDING


def held_out_places(data: Path) -> dict[str, list[Place]]:
    """The held-out places of each source, with the generator's classes.

    South Tyrol's are those of its images that no run sees, with their masks.

    Args:
        data: folder that holds ``train`` and ``val``.

    Raises:
        InputError: no such folder, or a source is missing.
    """
    found = {}
    for source in GSD:
        folder = data / FOLDERS[source]
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}.", hint="Say where the imagery is with --data.")
        if source == SOUTH_TYROL:
            found[source] = [_with_classes(place) for place in sources.read_south_tyrol(folder)]
        else:
            found[source] = [place for place in READERS[source](folder) if place.held_out]
    return found


def held_out_tiles(
    by_source: dict[str, list[Place]], size: int, count: int, with_buildings: bool = False
) -> list[Tile]:
    """At most ``count`` tiles, taken in turn from each source.

    Args:
        by_source: from ``held_out_places``.
        size: pixels along a side.
        count: how many at most.
        with_buildings: only tiles that show a labelled building.
    """
    columns = []
    for source, mine in by_source.items():
        tiles = (tile for place in mine for tile in cut_tiles(place, GSD[source], size))
        columns.append([tile for tile in tiles if tile.buildings.any() or not with_buildings])
    in_turn = [tile for row in zip_longest(*columns) for tile in row if tile is not None]
    return in_turn[:count]


def cut_tiles(place: Place, gsd: float, size: int) -> list[Tile]:
    """A place's tiles at a ground sampling distance, row by row, without those of unknown class."""
    span = round(size * gsd / place.gsd)
    height, width = place.label.shape
    unlabelled = bool((place.label == IGNORE).all())
    found = []
    for top in range(0, height - span + 1, span):
        for left in range(0, width - span + 1, span):
            cut = Cut(slice(top, top + span), slice(left, left + span), (size, size), size, 0, False)
            label = cut_classes(cut, place)
            if not unlabelled and (label == IGNORE).mean() > MOST_UNKNOWN:
                continue
            pixels = np.clip(np.rint(cut.of(place).image), 0, 255).astype(np.uint8)
            label = contour_classes(pixels) if unlabelled else np.where(label == IGNORE, BACKGROUND, label)
            name = f"{place.name} {top} {left}"
            found.append(Tile(place.source, name, np.moveaxis(pixels, -1, 0), label.astype(np.uint8), gsd))
    return found


def _with_classes(place: Place) -> Place:
    indices = np.full(256, IGNORE, np.uint8)
    indices[places.BACKGROUND], indices[places.BUILDING] = BACKGROUND, BUILDING
    return replace(place, label=indices[place.label])
