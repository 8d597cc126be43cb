"""Label maps as files: reading any label raster on a grid, writing the maps of a series and the change between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from changen2.errors import InputError
from changen2.gpcm.classes import AERIAL, OPEN_EARTH_MAP, ClassTable
from changen2.gpcm.labels import NODATA, Box, Labels, Readable, change, whole
from changen2.jobs.detection.change_map import CHANGE_COLORS
from changen2.raster.grid import Grid
from changen2.raster.reading import broken_pixels, check_overlap, open_raster, warp
from changen2.raster.validity import Validity
from changen2.raster.vectors import class_tags, read_class_tags
from changen2.raster.writing import WindowedRaster

GREY = (128, 128, 128)
"""Of classes whose colour nobody tells."""


class LabelSource:
    """A label raster of any integer type, read as uint8 classes with ``NODATA``.

    On another grid than its own it is warped by nearest neighbour. Use as a context manager.

    Args:
        path: single-band raster.
        grid: grid to read on; its own where None.
        classes: the table; taken from the raster's own metadata where None, else OpenEarthMap's.
        may_be_mask: look through the raster: where it names no classes and holds 0 and 255 alone, 255 is the building,
            or the only class beside the background. Else 255 is ``NODATA``.
        unknown_counts: a nodata value of 0 is the class 0 also where that is called "unknown".

    Attributes:
        notes: how 0 and 255 are understood, where the raster does not tell; complete when all is read.

    Raises:
        InputError: unreadable, several bands, no overlap with the grid, a mask of nobody knows what.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid | None = None,
        classes: ClassTable | None = None,
        *,
        may_be_mask: bool = False,
        unknown_counts: bool = True,
    ) -> None:
        self._dataset = open_raster(path)
        if self._dataset.count != 1:
            raise InputError(
                f"{path} has {self._dataset.count} bands; labels are one band of class numbers.",
                hint="Export the band with the classes.",
                code="bad_labels",
            )
        own = Grid.of(self._dataset)
        self.grid = grid or own
        own = own.beside(self.grid)
        self.classes = classes or own_classes(self._dataset) or OPEN_EARTH_MAP
        self.is_warped = own != self.grid
        if self.is_warped:
            check_overlap(own, self.grid, path, "the image")
        self.notes: list[str] = []
        self._object = _object_class(self._dataset, self.classes) if may_be_mask and _is_mask(self._dataset) else None
        if self._object is not None:
            name = self.classes.names[self._object]
            self.notes.append(f"{path} is a mask of 0 and 255: 255 is taken for {name} ({self._object}).")
        # Of a mask 0 is the ground, also where it is called nodata; and what has a class 0 says so of its background.
        has_zero = 0 in self.classes.names and (unknown_counts or self.classes.names[0] != "unknown")
        zero_counts = self._object is not None or has_zero
        if zero_counts and self._object is None and self._dataset.nodata == 0:
            self.notes.append(f"Of {path} 0 is the nodata value and a class: it is taken for {self.classes.names[0]}.")
        self._says_nodata = False
        self._validity = Validity(self._dataset, (1,), zero_counts=zero_counts)
        self._reader = self._warped() if self.is_warped else self._dataset
        self._known = np.zeros(256, bool)
        self._known[[*self.classes.names, NODATA]] = True

    def __enter__(self) -> LabelSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_warped:
            self._reader.close()
        self._dataset.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns of the grid."""
        return self.grid.height, self.grid.width

    def read(self, box: Box) -> Labels:
        """The classes of a window [h, w].

        Raises:
            InputError: a broken file, or a value that is no class of the table.
        """
        return self._classes(*read_window(self._reader, box, self._validity))

    def _classes(self, values: NDArray[np.generic], valid: NDArray[np.bool_]) -> Labels:
        if self._object is not None:
            values = np.where(values == NODATA, np.uint8(self._object), values)
        elif not self._says_nodata and (valid & (values == NODATA)).any():
            self._says_nodata = True
            self.notes.append(
                f"{self._dataset.name} holds {NODATA}, which is no class and not its nodata value: it is taken for not "
                "known."
            )
        kept = np.where(valid, values, np.int16(NODATA))  # of int8 too, which cannot hold it
        outside = (kept < 0) | (kept > NODATA) | (kept != np.floor(kept))
        labels = np.where(outside, 0, kept).astype(np.uint8)
        outside |= ~self._known[labels]
        if outside.any():
            strange = ", ".join(f"{value:g}" for value in np.unique(kept[outside])[:5])
            known = ", ".join(f"{index} {name}" for index, name in self.classes.names.items())
            raise InputError(
                f"{self._dataset.name} holds {strange}, which is no class; there are: {known}.",
                hint="Give the classes as CSV (index, name, colour), or set the raster's nodata value.",
                code="bad_class",
            )
        return labels

    def _warped(self) -> WarpedVRT:
        source, destination = self._validity.to_warp()
        return warp(source, self.grid, Resampling.nearest, **destination)


class LabelRaster:
    """One map of a series on disk, a ``LabelMap``; finished as COG by ``finish``.

    Args:
        path: final name in a work folder.
        grid: of the series.
        classes: for the colour table and the names in the metadata.
    """

    def __init__(self, path: Path, grid: Grid, classes: ClassTable) -> None:
        self.path = path
        self.shape = grid.height, grid.width
        colours = {index: (*colour, 255) for index, colour in classes.colours.items()}
        self._raster = WindowedRaster(
            path,
            grid,
            NODATA,
            colors=colours,
            description="Class",
            tags=class_tags(dict(classes.names)),
            rewritten=True,
        )

    def read(self, box: Box) -> Labels:
        """The classes of a window [h, w]."""
        return self._raster.read(box.window)

    def write(self, box: Box, values: Labels) -> None:
        """Replace the classes of a window."""
        self._raster.write(box.window, values)

    def finish(self) -> None:
        """Write the COG."""
        self._raster.finish()

    def close(self) -> None:
        """Let go of the file."""
        self._raster.close()


def copy_labels(source: Readable, target: LabelRaster, on_block: Callable[[int, int], None]) -> None:
    """Copy a map block by block; ``on_block(done, total)`` may raise to cancel."""
    boxes = list(whole(target).blocks())
    for number, box in enumerate(boxes, 1):
        target.write(box, source.read(box))
        on_block(number, len(boxes))


def write_change(path: Path, grid: Grid, now: Readable, then: Readable) -> int:
    """Write the change map of one step (COG: 0/1, nodata 255); return the number of changed pixels."""
    changed = 0
    raster = WindowedRaster(path, grid, NODATA, colors=CHANGE_COLORS, description="Change")
    try:
        for box in Box(0, 0, grid.height, grid.width).blocks():
            values = change(now.read(box), then.read(box))
            raster.write(box.window, values)
            changed += int(np.count_nonzero(values == 1))
        raster.finish()
    finally:
        raster.close()
    return changed


def read_window(
    reader: DatasetReader | WarpedVRT, box: Box, validity: Validity
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of a window of the first band and where they are known, each [h, w].

    Raises:
        InputError: a broken file.
    """
    window = box.window
    with broken_pixels(reader.name):
        values = reader.read([1], window=window)
        return values[0], validity.of(values, reader, window=window)


def _is_mask(dataset: DatasetReader) -> bool:
    """Whether a raster that names no classes holds 0 and 255, and beside them nothing but nodata."""
    if dataset.nodata not in (None, 0) or own_classes(dataset) is not None:
        return False
    found: set[float] = set()
    validity = Validity(dataset, (1,), zero_counts=True)
    for box in Box(0, 0, dataset.height, dataset.width).blocks():
        values, valid = read_window(dataset, box, validity)
        found |= set(np.unique(values[valid]).tolist())
        if not found <= {0, NODATA}:
            return False
    return found == {0, NODATA}


def _object_class(dataset: DatasetReader, classes: ClassTable) -> int:
    """The class of what a mask marks."""
    others = [index for index in classes.names if index != 0]
    found = [index for index in others if classes.names[index].casefold() == "building"] or others
    if len(found) != 1:
        known = ", ".join(f"{index} {classes.names[index]}" for index in others)
        raise InputError(
            f"{dataset.name} is a mask of 0 and 255, and which class 255 stands for is not known: {known}.",
            hint="Write the number of the class instead of 255, or give a table with one class beside 0 (--classes).",
            code="bad_class",
        )
    return found[0]


def own_classes(dataset: DatasetReader) -> ClassTable | None:
    """Class names and colours from a raster's metadata, as this package writes them; None without names.

    Where it has no colours, those of the classes of these names in the built-in tables.
    """
    names = read_class_tags(dataset.tags()) or read_class_tags(dataset.tags(1))
    if not names:
        return None
    usual = {name: known.colours[index] for known in (AERIAL, OPEN_EARTH_MAP) for index, name in known.names.items()}
    try:
        table = {index: colour[:3] for index, colour in dataset.colormap(1).items()}
    except ValueError:
        table = {index: usual[name.casefold()] for index, name in names.items() if name.casefold() in usual}
    return ClassTable(dict(sorted(names.items())), {index: table.get(index, GREY) for index in names})
