"""Paths that mean the same from every working folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

ARCHIVES = re.compile(r"(?:/vsi(?:zip|gzip|tar|7z|rar)/\{?)+")
"""How GDAL is told to look into a file; one in another, too, and with braces where the file's name does not tell it."""

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
        source: a file, also with a layer's name (``roads.gpkg|layername=roads``) or in an archive
            (``/vsizip/roads.zip/roads.shp``). What else GDAL alone can tell stays as it is: other ``/vsi…``, URLs,
            subdatasets (``NETCDF:…``), connections.
    """
    path, bar, layer = source.partition("|")
    if not only_gdal_can_tell(path):
        return absolute(path) + bar + layer
    ahead, archive, inside = _in_archive(source)
    return ahead + absolute(archive) + inside


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
    archive = _in_archive(given)[1]
    return Path(archive) if archive else None


def _in_archive(source: str) -> tuple[str, str, str]:
    """What stands ahead of a local archive, the archive (empty: there is none), and what is told of its inside."""
    begin = ARCHIVES.match(source)
    if begin is None:
        return source, "", ""
    rest = source[begin.end() :]
    ends = (mark.start() for mark in re.finditer(r"[/\\}|]|$", rest))
    end = next((end for end in ends if os.path.isfile(rest[:end])), 0)  # noqa: PTH113 - also false for what is no path
    return begin[0], rest[:end], rest[end:]


def absolute_unless_words(source: str) -> str:
    """The same where there is such a file; ``auto``, kinds of events and addresses stay as they are."""
    words = {part.strip().casefold() for part in source.split(",")}
    return absolute_source(source) if local_file(source) and not words <= WORDS else source
