"""Paths that mean the same from every working folder."""

from __future__ import annotations

import os
import re
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
    return source if only_gdal_can_tell(path) else absolute(path) + bar + layer


def only_gdal_can_tell(source: str) -> bool:
    """Whether a source is no file of this machine: ``/vsi…``, a URL, a subdataset, a connection."""
    told = source.startswith(("/vsi", "<", "{")) or ":" in source[2:]  # C:\ is a drive
    return told and not os.path.exists(source)  # noqa: PTH110 - also false for what is no path


def may_be_there(source: str | Path) -> bool:
    """Whether a source is a file, or what GDAL alone can tell.

    The latter are kept as texts: a path would make one slash of two in ``/vsizip//data/maps.zip/change.tif``.
    """
    return only_gdal_can_tell(str(source)) or os.path.exists(source)  # noqa: PTH110 - also false for what is no path


def local_file(source: str) -> Path | None:
    """Return the file or folder that a source is read from; None where there is none on this machine.

    Args:
        source: a file, also with a layer's name (``roads.gpkg|layername=roads``) or in an archive
            (``/vsizip/roads.zip/roads.shp``), which is what is returned then.
    """
    for given in (source, source.partition("|")[0]):
        if os.path.exists(given):  # noqa: PTH110 - also false for what is no path
            return Path(given)
    inside = Path(re.sub(r"^(/vsi\w+/)+", "", given))
    return next((path for path in (inside, *inside.parents) if path.is_file()), None)


def absolute_unless_words(source: str) -> str:
    """The same where there is such a file; ``auto``, kinds of events and addresses stay as they are."""
    words = {part.strip().casefold() for part in source.split(",")}
    there = os.path.exists(source.partition("|")[0])  # noqa: PTH110 - also false for what is no path
    return absolute_source(source) if there and not words <= WORDS else source
