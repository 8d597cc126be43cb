"""The image that a series starts from, and one step of it as the generator sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.gpcm.compositing import Radiometry, Spectrum, composite
from changen2.gpcm.labels import Box, mirrored_places
from changen2.gpcm.pieces import Drawn
from changen2.gpcm.regions import Region, within
from changen2.jobs.synthesis.overlays import SparseRaster
from changen2.raster.grid import Grid
from changen2.raster.patches import GDAL_NAMES, PatchWriter
from changen2.raster.reading import FILL, AlignedRaster, open_raster

SAMPLE_WINDOWS = 8
"""Windows along each side of an image, evenly spread, that its spectrum is sampled in."""

SAMPLE_SIDE = 64
SAMPLE_PIXELS = 8192


class SourceImage:
    """The image at the first date. Use as a context manager.

    Args:
        path: the raster.
        bands: one or three that the generator sees; None chooses.

    Raises:
        InputError: rotated, of a data type or with a colour table that nothing can be drawn in.
    """

    def __init__(self, path: str | Path, bands: tuple[int, ...] | None = None) -> None:
        self.dataset = open_raster(path)
        self.grid = Grid.of(self.dataset)
        _check(self.dataset, self.grid)
        self.aligned = AlignedRaster(path, self.grid, bands)
        self._distinct = list(dict.fromkeys(self.aligned.bands))
        flags = [flag for each in self.dataset.mask_flag_enums for flag in each]
        floating = self.dataset.dtypes[0].startswith("float")
        self.may_be_invalid = floating or any(flag != MaskFlags.all_valid for flag in flags)

    def __enter__(self) -> SourceImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.aligned.close()
        self.dataset.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.grid.height, self.grid.width

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """Where it holds an image [h, w]."""
        if not self.may_be_invalid:
            return np.ones((int(window.height), int(window.width)), bool)
        return self.aligned.valid(window)

    def rgb(self, values: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """What the generator sees [3, h, w] of all bands as stored [n, h, w]."""
        shown = self.aligned.stretch(values[[band - 1 for band in self._distinct]])
        rgb = shown[[self._distinct.index(band) for band in self.aligned.bands]]
        return np.where(valid, rgb, FILL[:, None, None]).astype(np.uint8)

    def shown(self, box: Box) -> NDArray[np.uint8]:
        """What the generator sees [3, h, w] of a box inside the raster."""
        return self.rgb(self.dataset.read(window=box.window), self.valid(box.window))

    @property
    def unknown(self) -> list[int]:
        """Indices (from 0) of the bands that the generator does not see and has to guess."""
        colours = enumerate(self.dataset.colorinterp)
        return [i for i, colour in colours if i + 1 not in self._distinct and colour != ColorInterp.alpha]

    def radiometry(self) -> Radiometry:
        """How bands and the generator's channels belong together."""
        dataset, stretch = self.dataset, self.aligned.stretch
        low, high = [0.0] * dataset.count, [255.0] * dataset.count
        for place, band in enumerate(self._distinct):
            low[band - 1], high[band - 1] = stretch.low[place], stretch.high[place]
        return Radiometry(
            dtype=np.dtype(dataset.dtypes[0]),
            nodata=dataset.nodatavals,
            channels=[
                tuple(channel for channel, seen in enumerate(self.aligned.bands) if seen == band)
                for band in range(1, dataset.count + 1)
            ],
            low=low,
            high=high,
            kept=[colour == ColorInterp.alpha for colour in dataset.colorinterp],
        )

    def spectrum(self, radiometry: Radiometry) -> Spectrum | None:
        """What tells the bands that the generator does not know; None where it knows all of them."""
        if not radiometry.unknown:
            return None
        colours, others = [], []
        for box in spread_boxes(self.shape, SAMPLE_WINDOWS, SAMPLE_SIDE):
            values, valid = self.dataset.read(window=box.window), self.valid(box.window)
            rest = values[radiometry.unknown]
            known = valid & np.isfinite(rest).all(axis=0)
            for band, index in zip(rest, radiometry.unknown, strict=True):
                known &= band != radiometry.nodata[index]
            colours.append(self.rgb(values, valid)[:, known].T)
            others.append(rest[:, known].T)
        rgb, rest = np.concatenate(colours), np.concatenate(others)
        keep = np.linspace(0, len(rgb) - 1, min(len(rgb), SAMPLE_PIXELS)).astype(int)
        return Spectrum(rgb[keep], rest[keep]) if len(rgb) else None


class StepScene:
    """One step for the generator: pixels before, wanted classes, change.

    Args:
        image: of the first date, for radiometry and valid pixels.
        before: the image before this step.
        change: where classes differ.
        condition: the wanted classes of a box inside the raster, as the generator numbers them.
        writer: of what is drawn.
        cell: pixels along the side of a region's cells.
        outlined_classes: the generator's classes whose objects have an outline of their own.
    """

    def __init__(
        self,
        image: SourceImage,
        before: DatasetReader,
        change: SparseRaster,
        condition: Callable[[Box], NDArray[np.uint8]],
        writer: PatchWriter,
        cell: int,
        outlined_classes: Sequence[int],
    ) -> None:
        self._image, self._before, self._change, self._condition = image, before, change, condition
        self._writer, self._cell, self._outlined_classes = writer, cell, outlined_classes
        self._radiometry = image.radiometry()
        self._spectrum = image.spectrum(self._radiometry)
        self._earlier = np.zeros((0, 2), np.int64)

    def rgb(self, box: Box) -> NDArray[np.uint8]:
        """The image before [3, h, w], with the parts of the same change that are drawn already."""
        return mirrored_read(self._rgb, box, self._image.shape).astype(np.uint8)

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """The wanted classes [h, w]."""
        return mirrored_read(self._condition, box, self._image.shape).astype(np.uint8)

    def change(self, box: Box) -> NDArray[np.bool_]:
        """What changes [h, w]."""
        return mirrored_read(self._change.read, box, self._image.shape) == 1

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Where there is an image [h, w]."""
        return mirrored_read(lambda inner: self._image.valid(inner.window), box, self._image.shape).astype(bool)

    def begin(self, region: Region) -> None:
        """See from now on what was drawn of the change that a region is part of."""
        self._earlier = region.drawn

    def paint(self, region: Region, pieces: Iterable[Drawn]) -> None:
        """Draw a region that was begun and lay it over the image, piece by piece."""
        for piece in pieces:
            self._paint(region, piece)

    def _paint(self, region: Region, piece: Drawn) -> None:
        seen, box = piece.seen.clip(self._image.shape), piece.box.clip(self._image.shape)
        down, across = seen.inside(piece.seen)
        original = self._before.read(window=seen.window)
        valid = self._image.valid(seen.window)
        change = self._change.read(seen) == 1
        place = box.inside(seen)
        paint = np.zeros(change.shape, bool)
        paint[place] = change[place] & within(region.cells, box, self._cell)
        new = composite(
            original,
            self._image.rgb(original, valid),
            piece.rgb[:, down, across],
            change,
            paint,
            valid,
            self._radiometry,
            self._spectrum,
            np.isin(self._condition(seen), self._outlined_classes),
        )
        self._writer.paint(box.window, new[:, place[0], place[1]], paint[place])

    def _rgb(self, box: Box) -> NDArray[np.uint8]:
        window = box.window
        values = self._before.read(window=window)
        if len(self._earlier):
            values = np.where(within(self._earlier, box, self._cell), self._writer.read(window), values)
        return self._image.rgb(values, self._image.valid(window))


def mirrored_read(read: Callable[[Box], NDArray[np.generic]], box: Box, shape: tuple[int, int]) -> NDArray[np.generic]:
    """Read a box [..., h, w] that may reach over a raster's edges, beyond which the raster is mirrored."""
    rows = mirrored_places(box.top, box.bottom, shape[0])
    columns = mirrored_places(box.left, box.right, shape[1])
    inner = Box(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
    values = read(inner)
    if inner == box:
        return values
    return values[..., (rows - inner.top)[:, None], (columns - inner.left)[None, :]]


def spread_boxes(shape: tuple[int, int], count: int, side: int) -> list[Box]:
    """At most ``count``² boxes of at most ``side`` pixels, evenly spread over a raster."""
    spans = []
    for length in shape:
        number = min(count, -(-length // side))
        starts = np.linspace(0, max(0, length - side), number).astype(int)
        spans.append([(int(start), min(int(start) + side, length)) for start in starts])
    return [Box(top, left, bottom, right) for top, bottom in spans[0] for left, right in spans[1]]


def _check(dataset: DatasetReader, grid: Grid) -> None:
    grid.require_north_up(dataset.name)
    kinds = sorted(set(dataset.dtypes))
    if len(kinds) > 1 or kinds[0] not in GDAL_NAMES:
        raise InputError(
            f"{dataset.name} has bands of type {', '.join(kinds)}.",
            hint="All bands must have one real data type; convert it with gdal_translate -ot.",
            code="bad_type",
        )
