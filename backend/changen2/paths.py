"""Paths that mean the same from every working folder."""

from __future__ import annotations

import os
from pathlib import Path

WORDS = frozenset({"auto", "create", "remove", "edit"})
"""What may stand in place of a file."""


def absolute(path: str) -> str:
    """Return a plain path from the root of the file system; an empty one stays empty.

    Links stay as they are, and ``..`` goes where the system would go: a link's own neighbours are not its target's.
    """
    if not path:
        return path
    short = os.path.abspath(path)  # noqa: PTH100 - pathlib keeps `..`, so that one file would have many names
    same = os.path.realpath(short) == os.path.realpath(path)
    return short if same else str(Path(path).absolute())


def absolute_source(source: str) -> str:
    """Return where a layer is read from, from the root of the file system where it is a local file.

    Args:
        source: a file, also with a layer's name (``roads.gpkg|layername=roads``). What GDAL alone can tell stays as it
            is: ``/vsi…``, URLs, subdatasets (``NETCDF:…``), connections.
    """
    path, bar, layer = source.partition("|")
    told_by_gdal = path.startswith(("/vsi", "<", "{")) or ":" in path[2:]  # C:\ is a drive
    if told_by_gdal and not os.path.exists(path):  # noqa: PTH110 - also false for what is no path
        return source
    return absolute(path) + bar + layer


def absolute_unless_words(source: str) -> str:
    """The same where there is such a file; ``auto``, kinds of events and addresses stay as they are."""
    words = {part.strip().casefold() for part in source.split(",")}
    there = os.path.exists(source.partition("|")[0])  # noqa: PTH110 - also false for what is no path
    return absolute_source(source) if there and not words <= WORDS else source
