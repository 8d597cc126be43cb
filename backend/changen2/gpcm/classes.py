"""Class tables: which number means what, and how it is coloured."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from changen2.errors import InputError
from changen2.gpcm.labels import NODATA

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassTable:
    """Names and colours (0..255) by class index 0..254."""

    names: Mapping[int, str]
    colours: Mapping[int, Colour]

    def resolve(self, value: object) -> int:
        """The index of a class given by number or by name (capitals do not matter).

        Raises:
            InputError: no such class.
        """
        text = str(value).strip()
        for index, name in self.names.items():
            if name.casefold() == text.casefold():
                return index
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if number.is_integer() and int(number) in self.names:
            return int(number)
        known = ", ".join(f"{index} {name}" for index, name in self.names.items())
        raise InputError(
            f"There is no class {text!r}; there are: {known}.",
            hint="Use one of these names or numbers, or give your own table (CSV: index, name, colour).",
            code="bad_class",
        )

    @classmethod
    def read(cls, path: str | Path) -> ClassTable:
        """Read a CSV with the columns index, name and (may be absent) colour as ``#rrggbb``.

        Raises:
            InputError: unreadable, a missing column, an index twice or outside 0..254, a bad colour.
        """
        names: dict[int, str] = {}
        colours: dict[int, Colour] = {}
        for number, row in read_rows(path, ("index", "name")):
            index = as_index(row["index"], path, number)
            if index in names:
                raise InputError(f"{path}, line {number}: class {index} is there twice.", hint="Keep one of them.")
            names[index] = row["name"].strip() or str(index)
            given = row.get("colour") or row.get("color") or ""
            colours[index] = _colour(given, path, number) if given.strip() else _FALLBACK[index % len(_FALLBACK)]
        return cls(names, colours)


def read_rows(path: str | Path, wanted: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV with a header, by line number; column names in small letters.

    Raises:
        InputError: the file cannot be read, lacks a wanted column or holds no row.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, skipinitialspace=True)
            header = [(name or "").strip().lower() for name in reader.fieldnames or []]
            missing = [name for name in wanted if name not in header]
            if missing:
                raise InputError(
                    f"{path} has the columns {', '.join(header) or '(none)'}; {', '.join(missing)} is missing.",
                    hint=f"The first line names the columns: {', '.join(wanted)}.",
                )
            reader.fieldnames = header
            rows = [
                (reader.line_num, {key: value or "" for key, value in row.items() if isinstance(key, str)})
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV file: {error}.", hint="Check the path.") from error
    if not rows:
        raise InputError(f"{path} holds no row.", hint=f"Give one line for each {wanted[0]}.")
    return rows


def as_index(text: str, path: str | Path, line: int) -> int:
    """A class index from a CSV's cell.

    Raises:
        InputError: not a whole number in 0..254.
    """
    try:
        index = int(text.strip())
    except ValueError:
        index = -1
    if not 0 <= index < NODATA:
        raise InputError(
            f"{path}, line {line}: {text.strip()!r} is no class index.",
            hint=f"Indices are whole numbers from 0 to {NODATA - 1}.",
        )
    return index


def _colour(text: str, path: str | Path, line: int) -> Colour:
    digits = text.strip().lstrip("#")
    try:
        if len(digits) != 6:
            raise ValueError
        return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
    except ValueError:
        raise InputError(
            f"{path}, line {line}: {text.strip()!r} is no colour.", hint="Write colours as #rrggbb."
        ) from None


_FALLBACK: tuple[Colour, ...] = (
    (170, 170, 170), (66, 133, 200), (196, 164, 116), (110, 110, 120), (204, 60, 52), (92, 148, 72),
    (230, 180, 60), (150, 90, 170), (70, 190, 180), (240, 130, 160),
)  # fmt: skip

OPEN_EARTH_MAP = ClassTable(
    names={
        0: "unknown", 1: "bareland", 2: "rangeland", 3: "developed space", 4: "road", 5: "tree", 6: "water",
        7: "agriculture", 8: "building",
    },
    colours={
        0: (0, 0, 0), 1: (128, 64, 32), 2: (120, 200, 90), 3: (150, 150, 150), 4: (235, 235, 235),
        5: (34, 97, 38), 6: (0, 69, 255), 7: (75, 181, 73), 8: (222, 31, 7),
    },
)  # fmt: skip
"""The nine land-cover classes of OpenEarthMap (Xia et al. 2023), which Changen2's published transitions use."""

AERIAL = ClassTable(
    names={0: "background", 1: "water", 2: "land", 3: "road", 4: "building", 5: "vegetation"},
    colours={
        0: (190, 190, 190), 1: (66, 133, 200), 2: (196, 164, 116), 3: (110, 110, 120), 4: (204, 60, 52),
        5: (92, 148, 72),
    },
)  # fmt: skip
"""Five classes of aerial imagery and a background, as the embedded models and the sample scene have them."""
