"""The outlines of equal pixels; those of a large raster are traced by a process of their own.

GDAL traces a whole band before it gives the first outline, and no other thread of a process runs meanwhile: a worker
could neither say that it is alive nor be cancelled, and its client would end it.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import rasterio
import shapely
from rasterio.errors import RasterioIOError
from rasterio.features import shapes
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from changen2.errors import JobError
from changen2.raster.gdal import cache_for, gdal_environment
from changen2.raster.writing import is_disk_error

HERE = 2048 * 2048
"""Pixels up to which a raster is traced in this process: a tenth of a second, or a few where it is mere noise."""

POLL_S = 0.2
"""How often one who waits for the other process may cancel."""

EXPLAINED = 3
"""Exit code of the other process where the last line of its stderr says what is wrong with the files."""

RECORD = struct.Struct("<qQ")
"""Before each outline as WKB: its value, and how many bytes it has."""


def outlines(
    values: Path, mask: Path, connectivity: int, check: Callable[[], None] = lambda: None
) -> Generator[tuple[BaseGeometry, int]]:
    """Yield the outline of each connected patch of equal pixels, in the coordinates of the file, and its value.

    Args:
        values: raster of whole numbers, in a work folder: what another process finds is kept beside it for a while.
        mask: raster of bytes of the same size, where pixels other than 0 count; may be the same.
        connectivity: 4 or 8.
        check: called every now and then until the first outline is there; may raise to cancel.

    Raises:
        JobError: ``worker_lost``: the other process has failed.
    """
    with rasterio.open(values) as dataset:
        few = dataset.width * dataset.height <= HERE
    return _trace(values, mask, connectivity) if few else _trace_aside(values, mask, connectivity, check)


def _trace(values: Path, mask: Path, connectivity: int) -> Generator[tuple[BaseGeometry, int]]:
    with ExitStack() as files:
        dataset = files.enter_context(rasterio.open(values))
        counts = dataset if mask == values else files.enter_context(rasterio.open(mask))
        # The polygons of a band come in the coordinates of its file, whatever transform is asked for. Without a mask
        # what is left over would be one of them, with a hole for each of the others.
        for outline, value in shapes(rasterio.band(dataset, 1), rasterio.band(counts, 1), connectivity):
            yield shape(outline), int(value)


def _trace_aside(
    values: Path, mask: Path, connectivity: int, check: Callable[[], None]
) -> Generator[tuple[BaseGeometry, int]]:
    """The same by a process that writes what it finds to a file without a name."""
    options = (str(values.absolute()), str(mask.absolute()), str(connectivity))
    with TemporaryFile(dir=values.parent) as found, TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "changen2.raster.outlines", *options],
            # It ends when this pipe does, so that it survives nobody for long. None of the caller's own pipes is its.
            stdin=subprocess.PIPE,
            stdout=found,
            stderr=said,
            # `-m` looks there first: where this package lies.
            cwd=Path(__file__).parents[2],
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        try:
            while process.returncode is None:
                check()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
        finally:
            process.kill()
            process.communicate()
        if process.returncode:
            raise _failure(values, process.returncode, said)
        found.seek(0)
        yield from _read(found)


def _read(found: BinaryIO) -> Iterator[tuple[BaseGeometry, int]]:
    while head := found.read(RECORD.size):
        value, size = RECORD.unpack(head)
        yield shapely.from_wkb(found.read(size)), value


def _failure(values: Path, code: int, said: BinaryIO) -> Exception:
    """What went wrong in the other process, as it would have here."""
    said.seek(0)
    told = said.read().decode("utf8", "replace").strip().rpartition("\n")[2]
    if code == EXPLAINED:
        return RasterioIOError(told)
    return JobError(
        f"The process that outlines {values.name} was lost: {told or 'it was killed, or ran out of memory'}.",
        hint="Close other programs and run it again.",
        code="worker_lost",
    )


def main() -> None:
    """Trace as the arguments say, and write outlines to stdout, which nothing else can print to."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    found = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    values, mask = (Path(path) for path in sys.argv[1:3])
    try:
        with gdal_environment(), ExitStack() as files, found:
            dataset = files.enter_context(rasterio.open(values))
            files.enter_context(rasterio.Env(GDAL_CACHEMAX=cache_for(dataset)))
            for outline, value in _trace(values, mask, int(sys.argv[3])):
                wkb = shapely.to_wkb(outline)
                found.write(RECORD.pack(value, len(wkb)))
                found.write(wkb)
    except Exception as error:
        if not is_disk_error(error):
            raise
        print(error.__cause__ or error, file=sys.stderr)
        sys.exit(EXPLAINED)


def _end_with_parent() -> None:
    """End as soon as nobody holds the other end of stdin any more, even if they were killed."""
    with suppress(OSError):
        os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
