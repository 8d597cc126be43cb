"""What SQLite keeps beside a GeoPackage, and why no other file may take its place while anything is in there."""

from __future__ import annotations

from pathlib import Path

from changen2.errors import InputError

UNSAVED = ("-wal", "-journal")
"""Ends of the names of files with changes that are not in the database yet. SQLite would make them to any that has its
name, also to one that was put there since, and so destroy it."""

SIDE_FILES = (*UNSAVED, "-shm")


def refuse_unsaved(path: Path) -> None:
    """Refuse to put a file where a database has changes that are not in it yet; there need be no database any more.

    Raises:
        InputError: ``in_use``.
    """
    for end in UNSAVED:
        side = path.with_name(path.name + end)
        if side.exists() and side.stat().st_size:
            raise InputError(
                f"{path.name} in {path.parent} is open in QGIS or another program, or was when that crashed: "
                f"{side.name} holds changes to it.",
                hint=f"Save or discard the edits and close the layer in QGIS (where nothing has it open, remove "
                f"{side.name}); then run it again, or go on with what has begun (--resume).",
                code="in_use",
            )
