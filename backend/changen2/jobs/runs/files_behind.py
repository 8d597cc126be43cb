"""The files that a raster's pixels come from beside the one that is named, and whether they are the same as before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rasterio.io import DatasetReader

from changen2.errors import InputError
from changen2.paths import local_file
from changen2.raster.reading import open_raster
from changen2.redaction import redact


def behind(dataset: DatasetReader) -> dict[str, Any]:
    """How many files these are (parts of a mosaic, a mask, pyramids), and a digest of names, sizes and times of change.

    Nothing where there are none. They are not read, so that thousands cost no more than being listed.
    """
    digest, count = hashlib.sha256(), 0
    for name in _files(dataset, set()):
        count += 1
        file = local_file(name)
        known = (file.stat().st_size, file.stat().st_mtime) if file else None
        digest.update(f"{redact(name)} {known}\n".encode())
    return {"behind": {"files": count, "sha256": digest.hexdigest()}} if count else {}


def behind_mosaic(file: Path) -> list[str]:
    """The digest of what is behind a virtual raster; empty for any other file, such as a layer or a table."""
    if file.suffix.lower() != ".vrt":
        return []
    try:
        with open_raster(file) as dataset:
            return [found["sha256"] for found in behind(dataset).values()]
    except InputError:  # a layer's
        return []


def _files(dataset: DatasetReader, mosaics: set[str]) -> Iterator[str]:
    """Names of the files behind a raster; ``mosaics`` are those that were looked into: they may name each other."""
    for name in dataset.files[1:]:
        # QGIS writes a layer's statistics there; what else it tells is the raster's CRS and nodata value.
        if name.endswith(".aux.xml"):
            continue
        yield name
        file = os.path.realpath(name)  # also of ../a.vrt, whose name grows each time round
        if name.lower().endswith(".vrt") and file not in mosaics:
            mosaics.add(file)
            try:
                with open_raster(name) as part:
                    yield from _files(part, mosaics)
            except InputError:  # gone
                continue
