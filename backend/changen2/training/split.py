"""What of a folder is learned from, what is held out, and what is neither: by its lists, else every so manieth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from changen2.errors import InputError
from changen2.training.image_files import IMAGES


def split(root: Path, paths: Sequence[Path], every: int, may_hold_none: bool = False) -> list[tuple[Path, bool]]:
    """The pairs of a folder that serve a training, each with whether it is held out.

    Those that ``list/test.txt`` names serve nothing: they are kept for a measurement that no training has seen. Where
    ``list/train.txt`` names any, those that neither it nor ``list/val.txt`` names serve nothing either.

    Args:
        root: the folder.
        paths: one file of each pair, in order.
        every: every so manieth is held out, of fewer than that the last, unless ``list/val.txt`` names any.
        may_hold_none: hold none out where ``list/val.txt`` names none.

    Raises:
        InputError: ``bad_value``; a list that names any names none of the pairs, or ``list/test.txt`` all of them.
    """
    tested, learned, held_out = (_named(root, part) for part in ("test", "train", "val"))
    left = [path for path in paths if path.stem not in tested]
    if tested and len(left) == len(paths):
        raise _names_none(root, "test", "keep for a test")
    if not left:
        raise InputError(
            f"{_list(root, 'test')} names all pairs in {root}: none is left to learn from.",
            hint="Take those to learn from off the list, or give another folder.",
            code="bad_value",
        )
    for part, named, purpose in (("train", learned, "learn from"), ("val", held_out, "hold out")):
        if named and not any(path.stem in named for path in left):
            raise _names_none(root, part, purpose, f" but those that {_list(root, 'test')} names too" if tested else "")
    if learned:
        left = [path for path in left if path.stem in learned | held_out]
    if held_out or may_hold_none:
        return [(path, path.stem in held_out) for path in left]
    return [(path, is_held_out(index, len(left), every)) for index, path in enumerate(left)]


def is_held_out(index: int, count: int, every: int) -> bool:
    """Whether the image or pair of a number is held out of ``count``: every so manieth, of fewer the last."""
    return index % every == every - 1 or (1 < count < every and index == count - 1)


def _list(root: Path, part: str) -> Path:
    return root / "list" / f"{part}.txt"


def _names_none(root: Path, part: str, purpose: str, others: str = "") -> InputError:
    return InputError(
        f"{_list(root, part)} names none of the pairs in {root}{others}.",
        hint=f"Give the file names of those to {purpose}, one a line, or leave the list away.",
        code="bad_value",
    )


def _named(root: Path, part: str) -> set[str]:
    """The stems of the pairs that a list names; a mark that Windows puts before its first line is no part of a name."""
    listed = _list(root, part)
    lines = listed.read_text(encoding="utf-8-sig").splitlines() if listed.is_file() else []
    paths = [Path(line.strip()) for line in lines if line.strip()]
    # What follows a dot in a name without ending is a part of it: tile.1, lat48.15_lon11.60.
    return {path.stem if path.suffix.lower() in IMAGES else path.name for path in paths}
