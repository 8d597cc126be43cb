"""Land cover in folders of anybody's own: pairs of dates with class maps, and labelled images of single dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from changen2.errors import InputError
from changen2.scenes.classes import BACKGROUND, CLASSES
from changen2.training.image_files import read_values
from changen2.training.places import IGNORE, Bytes, Place, PlacePair, read_images, read_manifest, read_pairs
from changen2.training.watched import Check, go_on

NUMBERS = {name: number for number, (name, _) in CLASSES.items() if number != BACKGROUND}
"""The five classes by name."""

KNOWN = ", ".join(f"{number} {name}" for name, number in NUMBERS.items())


def read_class_pairs(root: Path, gsd: float | None = None, check: Check = go_on) -> list[PlacePair]:
    """Pairs in the LEVIR-CD layout whose ``semantic_A`` and ``semantic_B`` hold classes, generated ones too.

    The label alone tells what changed, also where no class is known. The classes' numbers are those of the five, 0 and
    255 where it is not known; in a folder that ``changen2 generate`` made, names count instead.

    Args:
        root: the folder.
        gsd: metres per pixel, see :func:`changen2.training.places.read_pairs`.
        check: called before each pair; may raise to cancel.

    Raises:
        InputError: ``bad_class`` for classes that are none of the five, or the folder is not whole.
    """
    if not all((root / layer).is_dir() for layer in ("semantic_A", "semantic_B")):
        raise InputError(
            f"{root} is no folder of pairs with land cover: it needs the folders semantic_A and semantic_B.",
            hint="Give class maps of both dates; `changen2 generate --kind S9` writes them.",
            code="missing_file",
        )
    pairs = read_pairs(root, gsd, read_date=partial(read_classes, _legend(root)), check=check)
    _check_any([date for pair in pairs for date in (pair.before, pair.after)], root)
    return pairs


def read_class_images(root: Path, gsd: float | None = None, check: Check = go_on) -> list[Place]:
    """Images of single dates whose masks hold the five classes by number, 0 and 255 where it is not known.

    Args, Raises:
        As :func:`read_class_pairs`; for the layout see :func:`changen2.training.places.read_images`.
    """
    places = read_images(root, gsd, partial(read_classes, _legend(root)), check)
    _check_any(places, root)
    return places


def read_classes(legend: Mapping[int, str], path: Path) -> Bytes:
    """Read a class map ``[h, w]`` as the five classes, 255 where it is not known.

    Args:
        legend: names by number; 0 may be any.
        path: the map.

    Raises:
        InputError: ``bad_class``.
    """
    values, known = read_values(path)
    label = np.full(values.shape, IGNORE, np.uint8)
    for value in np.unique(values[known & (values != IGNORE)]):
        name = legend.get(value, "")
        if name in NUMBERS:
            label[known & (values == value)] = NUMBERS[name]
        elif value != BACKGROUND:
            raise InputError(
                f"{path} holds the class {value}{name and f' {name}'}, which is none of those to learn: {KNOWN}.",
                hint="Number the maps so, 0 or 255 where it is not known; for `changen2 generate` give a table of "
                "classes with these names.",
                code="bad_class",
            )
    return label


def _legend(root: Path) -> dict[int, str]:
    told = read_manifest(root).get("classes")
    if not told:
        return {number: name for name, number in NUMBERS.items()}
    return {int(number): name.strip().casefold() for number, name in told.items()}


def _check_any(places: Sequence[Place], root: Path) -> None:
    if all((place.label == IGNORE).all() for place in places):
        raise InputError(
            f"The maps in {root} tell none of the classes {KNOWN}.",
            hint="Masks of objects (0 and 255) are no class maps; `changen2 generate --kind S9` writes some.",
            code="bad_class",
        )
