"""Land cover to train on: places whose labels are classes, some of them known only in part.

Classes are those of :mod:`changen2.scenes.classes` (and of Dubai): 1 water, 2 land, 3 road, 4 building, 5 vegetation.
Sources that only tell buildings say ``NOT_BUILDING`` of the rest, but for what is plainly green.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from changen2.scenes.classes import BUILDING, LAND, VEGETATION
from changen2.training import places, sources
from changen2.training.image_files import read_values
from changen2.training.places import IGNORE, Bytes, Place

NOT_BUILDING = 254
DUBAI_GSD = 0.6  # metres, a guess between the sharp and the coarse of its images
HELD_OUT_TILES = ("tile3", "tile6")
GREEN = 0.09  # excess of green in a pixel's chroma from which it is vegetation at any date and sensor seen here
DARK = 45  # of 255; what is darker and greenish may be water


def greenness(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Excess green of the chroma, ``2g - r - b`` of shares that sum to 1: ``[h, w, 3]`` to ``[h, w]``."""
    values = image.astype(np.float32)
    total = values.sum(axis=2)
    excess: NDArray[np.float32] = (3 * values[..., 1] - total) / np.maximum(total, 30)
    return excess


def from_buildings(place: Place) -> Place:
    """The classes that a map of buildings tells: building, not building, and vegetation where it is plainly green."""
    green = _green(place)
    label = np.full(place.label.shape, IGNORE, np.uint8)
    label[place.label == places.BACKGROUND] = NOT_BUILDING
    label[(place.label == places.BACKGROUND) & green] = VEGETATION
    label[place.label == places.BUILDING] = BUILDING
    return replace(place, label=label)


def _green(place: Place) -> NDArray[np.bool_]:
    smooth = ndimage.uniform_filter(place.image.astype(np.float32), (3, 3, 1))
    return (greenness(smooth) > GREEN) & (smooth.mean(axis=2) > DARK)


def read_dubai(root: Path) -> list[Place]:
    """Dubai with its five classes; two of its eight tiles are held out."""
    return [
        replace(
            place,
            label=_known(read_values(next((root / "masks").glob(f"{place.name}.*")))[0]),
            gsd=DUBAI_GSD,
            held_out=place.name.startswith(HELD_OUT_TILES),
        )
        for place in sources.read_dubai(root)
    ]


def read_unlabelled(root: Path, read: Callable[[Path], list[Place]]) -> list[Place]:
    """Places without labels, of which only vegetation is told: where it is plainly green."""
    return [replace(place, label=np.where(_green(place), VEGETATION, IGNORE).astype(np.uint8)) for place in read(root)]


def _known(mask: NDArray[np.generic]) -> Bytes:
    return np.where(mask == 0, IGNORE, mask).astype(np.uint8)


def class_change(before: Bytes, after: Bytes) -> Bytes:
    """1 where the class changed, 0 where not, 255 where that is not known.

    Bare land and vegetation take turns with the season, on fields above all: whether that is change nobody labelled.
    """
    buildings = (before == BUILDING).astype(np.uint8) + (after == BUILDING)
    change = np.where(before == after, 0, 1).astype(np.uint8)
    seasonal = np.isin(before, (LAND, VEGETATION)) & np.isin(after, (LAND, VEGETATION)) & (before != after)
    partial = ((before == NOT_BUILDING) | (after == NOT_BUILDING)) & (buildings == 0)
    change[seasonal | partial | (before == IGNORE) | (after == IGNORE)] = IGNORE
    return change


def region_change(before: Bytes, after: Bytes, certain: NDArray[np.bool_]) -> Bytes:
    """Change of two dates of one scene, given where a building certainly came or went.

    Thin differences are the shift of leaning walls and crowns; they are left unknown. What neither date names, such as
    a terrace, is as it was.
    """
    change = class_change(before, after)
    differs = change == 1
    broad = ndimage.binary_opening(differs, iterations=2)
    change[differs & ~broad] = IGNORE
    change[(change == IGNORE) & (before == after)] = 0
    change[certain] = 1
    return change


def _of_buildings(read: Callable[[Path], list[Place]]) -> Callable[[Path], list[Place]]:
    return lambda root: [from_buildings(place) for place in read(root)]


def _unlabelled(read: Callable[[Path], list[Place]]) -> Callable[[Path], list[Place]]:
    return lambda root: read_unlabelled(root, read)


SOURCES: dict[str, Callable[[Path], list[Place]]] = {
    "dubai": read_dubai,
    "estonia_rest": _unlabelled(sources.read_estonia_rest),
    "south_tyrol_images": _unlabelled(sources.read_south_tyrol_images),
    **{
        name: _of_buildings(sources.SOURCES[name])
        for name in ("banepa", "kampala", "spacenet1_rio", "spacenet2", "estonia", "south_tyrol")
    },
}
"""Readers of places with classes, by name of the source."""
