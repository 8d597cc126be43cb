"""Class maps of both dates, of a change map and of what is true there, counted block by block."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.raster.grid import Grid
from changen2.raster.reading import broken_pixels, check_overlap, open_raster, warp
from changen2.raster.semantic_accuracy import STATES, Labels, Pairs, states, tally_states, tally_transitions
from changen2.raster.validity import Validity
from changen2.raster.vectors import UNCHANGED, UNKNOWN_CLASS, read_class_tags

HIGHEST = STATES - 2
"""Of the numbers that a class may have."""

NO_CLASS = ("background", "unknown")
"""What tables call that which nobody has labelled."""

Mask = NDArray[np.bool_]


class ClassMaps:
    """Class maps of both dates, of a prediction and of its reference, on the prediction's grid.

    Attributes:
        names: of the classes before and after, by number.
        alike: whether a number means the same at both dates; a class of change, as of damage, is another thing than the
            class before it.

    Args:
        said, true: before and after, of the prediction and of the reference; each may lie on another grid.
        grid: the prediction's.
        files: takes what is opened.

    Raises:
        InputError: one cannot be read, or ``no_overlap``.
    """

    def __init__(
        self, said: tuple[str | Path, str | Path], true: tuple[str | Path, str | Path], grid: Grid, files: ExitStack
    ) -> None:
        self._said, self._true = ([_ClassMap(path, grid, files) for path in paths] for paths in (said, true))
        dates = list(zip(self._said, self._true, strict=True))
        self.names = (dates[0][0].names | dates[0][1].names, dates[1][0].names | dates[1][1].names)
        of_change = any(one.of_change for one in dates[1])
        self.alike = not of_change and _differing(*self.names) is None

    def contradiction(self, files: bool) -> str | None:
        """What one number is called in the map and in the reference, in a sentence; None where no names differ.

        Args:
            files: whether to name the two files.
        """
        for said, true in zip(self._said, self._true, strict=True):
            number = _differing(said.names, true.names)
            if number is not None:
                here, there = (said.path, true.path) if files else ("the map", "the reference")
                return (
                    f"Class {number} is {said.names[number]!r} in {here} and {true.names[number]!r} in {there}: "
                    "the numbers mean different things."
                )
        return None

    def count(self, window: Window, predicted: Mask, true: Mask, known: Mask) -> tuple[Pairs, Pairs] | None:
        """Count a block's classes.

        Args:
            window: the block.
            predicted, true: where change is said to be, and where there is some ``[h, w]``.
            known: where both is known ``[h, w]``.

        Returns:
            Pairs of states and of transitions where the classes are known, too; None where they are nowhere. Change
            without a known class is left out here alone: as change it is as right or wrong as any.

        Raises:
            InputError: ``bad_value``: one of the numbers is no class. ``unreadable``.
        """
        sides = []
        for maps, changed in ((self._said, predicted), (self._true, true)):
            classes = [one.read(window, changed & known) for one in maps]
            sides.append((changed, classes))
        for changed, classes in sides:
            for one in classes:
                known = known & ~(changed & (one == UNKNOWN_CLASS))
        if not known.any():
            return None
        said, so = ((states(before, at)[known], states(after, at)[known]) for at, (before, after) in sides)
        return tally_states(np.concatenate(said), np.concatenate(so)), tally_transitions(said, so)


def _differing(one: dict[int, str], other: dict[int, str]) -> int | None:
    """The first number to which two tables give different names."""
    mine, others = ({number: _plain(name) for number, name in table.items()} for table in (one, other))
    return next((number for number in sorted(mine) if others.get(number, mine[number]) != mine[number]), None)


def _plain(name: str) -> str:
    plain = name.strip().casefold()
    return NO_CLASS[0] if plain in NO_CLASS else plain


class _ClassMap:
    """One class map on a grid."""

    def __init__(self, path: str | Path, grid: Grid, files: ExitStack) -> None:
        dataset = files.enter_context(open_raster(path))
        self.path = path
        self._validity = Validity(dataset, (1,))
        self._reader: DatasetReader | WarpedVRT = dataset
        tags = dataset.tags()
        self.names, self.of_change = read_class_tags(tags), UNCHANGED in tags
        own = Grid.of(dataset).beside(grid)
        if own != grid:
            check_overlap(own, grid, path, "the change map")
            # Warped with a nodata value of its own: to another one GDAL would move what has that number.
            source, destination = self._validity.to_warp()
            self._reader = files.enter_context(warp(source, grid, Resampling.nearest, **destination))

    def read(self, window: Window, counts: Mask) -> Labels:
        """Return class numbers ``[h, w]``, meaningless where they do not count.

        What the file says is no data, in any way, is ``UNKNOWN_CLASS``, and so is that number itself.

        Raises:
            InputError: ``bad_value``: a number that counts is no class. ``unreadable``.
        """
        with broken_pixels(self.path):
            values = self._reader.read([1], window=window)
            valid = self._validity.of(values, self._reader, window=window)
        # A wider type: the file's own need not hold the number of what is unknown.
        numbers = np.where(valid & counts, values[0], np.float64(UNKNOWN_CLASS))
        wrong = numbers[(numbers != UNKNOWN_CLASS) & ((numbers < 0) | (numbers > HIGHEST) | (numbers % 1 != 0))]
        if wrong.size:
            raise InputError(
                f"{self.path} holds {wrong[0]:.9g}, which is no class: classes are whole numbers from 0 to {HIGHEST}.",
                hint="Give the file that number as its nodata value where it means nothing, else number classes anew.",
                code="bad_value",
            )
        return numbers.astype(np.int64)
