"""From the classes of a series to what a generator was told in training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from changen2.gpcm.classes import ClassTable
from changen2.gpcm.labels import NODATA
from changen2.jobs.synthesis.label_series import own_classes
from changen2.models.registry import ModelCard
from changen2.raster.reading import open_raster

CONTOUR = "contour"
"""The generator's class for boundaries of instances, where it has one; no class of the ground."""

ALIKE = {
    "unknown": ("background",), "background": ("unknown",), "object": ("background", "unknown"),
    "surroundings": ("background",),
    "bareland": ("land",), "developed space": ("land",), "land": ("bareland",), "rangeland": ("vegetation",),
    "agriculture": ("vegetation",), "tree": ("vegetation",), "vegetation": ("rangeland", "tree"),
}  # fmt: skip
"""Which class stands for one that a generator does not have: those of aerial imagery for OpenEarthMap's (Xia et al.
2023), and the other way round."""

SOLID = ("building", "road", "water", CONTOUR)
"""Names of the generator's classes that are no ground, which what is removed may be filled with."""

INSTANCES = ClassTable({0: "surroundings", 1: "object"}, {0: (190, 190, 190), 1: (196, 120, 60)})
"""Classes of a series without labels: all that is known is that something stands there, or no longer does."""


def generator_table(card: ModelCard) -> ClassTable:
    """The classes that a generator draws, as a class table."""
    drawn = [known for known in card.classes if known.name != CONTOUR]
    colours = {known.index: tuple(bytes.fromhex(known.color.lstrip("#"))) for known in drawn}
    return ClassTable({known.index: known.name for known in drawn}, colours)  # type: ignore[arg-type]


def class_table(classes: str | None, labels: str | None, card: ModelCard) -> ClassTable:
    """The classes of a series: from a CSV, else from the label raster's own metadata, else the generator's."""
    if classes:
        table = ClassTable.read(classes)
        if 0 not in table.names and labels is None:
            # Without labels the first map is 0 everywhere, so it needs a name.
            return ClassTable({0: "unknown", **table.names}, {0: (0, 0, 0), **table.colours})
        return table
    return (own_table(labels) if labels else None) or generator_table(card)


def generator_numbers(table: ClassTable, card: ModelCard) -> tuple[NDArray[np.uint8], list[str]]:
    """The generator's class for each class of a table.

    Returns:
        Numbers [256], 0 (background) where the generator has no such class, and the names of those classes.
    """
    known = {entry.name.casefold(): entry.index for entry in card.classes if entry.name != CONTOUR}
    numbers, strange = np.zeros(256, np.uint8), []
    for index, name in table.names.items():
        folded = name.casefold()
        found = next((known[like] for like in (folded, *ALIKE.get(folded, ())) if like in known), None)
        if found is None and index != 0:
            strange.append(name)
        numbers[index] = found or 0
    numbers[NODATA] = 0
    return numbers, strange


def ground_classes(names: Iterable[str]) -> NDArray[np.bool_]:
    """Which numbers of a generator's classes stand for ground [256].

    Args:
        names: of the generator's classes, by index.
    """
    known = np.zeros(256, bool)
    for index, name in enumerate(names):
        known[index] = name not in SOLID
    return known


def own_table(path: str | Path) -> ClassTable | None:
    """The classes that a raster's own metadata names; None without."""
    with open_raster(path) as dataset:
        return own_classes(dataset)
