"""Which class an object may change to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from changen2.errors import InputError
from changen2.gpcm.classes import AERIAL, OPEN_EARTH_MAP, ClassTable, read_rows

Transitions = Mapping[int, tuple[int, ...]]

OPEN_EARTH_MAP_TRANSITIONS: Transitions = {
    0: (1, 2, 3, 4, 5, 6, 7, 8),
    1: (2, 3, 5, 6, 7),
    2: (1, 3, 5, 6, 7),
    3: (1, 2, 5, 6, 7),
    4: (1, 3, 5, 6),
    5: (1, 2, 3, 6, 7),
    6: (1, 2, 3, 5, 7),
    7: (1, 2, 3, 5, 6),
    8: (3, 5, 6),
}
"""Published with Changen2 (Zheng et al. 2024) for the nine OpenEarthMap classes."""

AERIAL_TRANSITIONS: Transitions = {
    0: (1, 2, 3, 4, 5),
    1: (2, 5),
    2: (1, 5),
    3: (1, 2, 5),
    4: (1, 2, 5),
    5: (1, 2),
}
"""The published table with bareland and developed space as land; rangeland, tree and agriculture as vegetation."""


def default_transitions(classes: ClassTable) -> Transitions:
    """The table that goes with a known set of classes.

    Raises:
        InputError: the classes are none of the known sets.
    """
    for known, table in ((OPEN_EARTH_MAP, OPEN_EARTH_MAP_TRANSITIONS), (AERIAL, AERIAL_TRANSITIONS)):
        if set(classes.names.items()) == set(known.names.items()):
            return table
    raise InputError(
        "There is no built-in transition table for these classes: " + ", ".join(classes.names.values()) + ".",
        hint="Give one as CSV with the columns from and to, or leave the event edit out.",
        code="no_transitions",
    )


def read_transitions(path: str | Path, classes: ClassTable) -> Transitions:
    """Read a CSV with the columns from and to; one line a transition, or several classes in ``to`` parted by spaces.

    Classes are written by number or by name; a name with spaces needs a line of its own.

    Raises:
        InputError: unreadable, an unknown class, or a class that would change to itself.
    """
    table: dict[int, tuple[int, ...]] = {}
    for number, row in read_rows(path, ("from", "to")):
        source = classes.resolve(row["from"])
        names = [row["to"]] if row["to"].strip().casefold() in _folded(classes) else row["to"].split()
        targets = tuple(classes.resolve(name) for name in names)
        if source in targets:
            raise InputError(
                f"{path}, line {number}: class {source} would change to itself.", hint="Remove that transition."
            )
        table[source] = tuple(dict.fromkeys((*table.get(source, ()), *targets)))
    return table


def _folded(classes: ClassTable) -> set[str]:
    return {name.casefold() for name in classes.names.values()}
