"""Where the pairs of a data set are cut: images of a folder, their labels, and the places on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from changen2.errors import InputError
from changen2.gpcm.classes import ClassTable
from changen2.gpcm.labels import NODATA, Box, Labels
from changen2.jobs.cluster.same_file import SeenFile
from changen2.jobs.synthesis.image_series import SourceImage, mirrored_read
from changen2.jobs.synthesis.label_series import LabelSource, read_window
from changen2.raster.grid import Grid
from changen2.raster.ground import ground_sampling_distance
from changen2.raster.radiometry import Stretch
from changen2.raster.reading import AlignedRaster, check_overlap, open_raster, warp
from changen2.raster.validity import Validity

ENDINGS = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt", ".img"}

LEAST_VALID = 0.9
"""Share of a place that must hold an image."""

MOST_UNKNOWN = 0.01
"""Share of a place that may show an image whose labels are not known, where these become masks, which cannot say so."""


@dataclass(frozen=True)
class Source:
    """One image of the folder.

    Attributes:
        image: its path.
        labels: path of its label raster, or None.
        shape: rows, columns of the grid that it is read on.
        part: what of that grid its places lie in.
        factor: pixels of that grid per pixel of the image, along a side.
        bands: the three that are seen.
        stretch: its radiometry, measured once so that every process sees the same.
        may_be_invalid: whether it has nodata, a mask or NaN.
        gsd: metres of a pixel of that grid.
        tells_gsd: whether the image itself says how large its pixels are.
        split: ``train`` or ``val``.
        seen: its files as they were found when the run began.
    """

    image: str
    labels: str | None
    shape: tuple[int, int]
    part: Box
    factor: float
    bands: tuple[int, int, int]
    stretch: Stretch
    may_be_invalid: bool
    gsd: float
    tells_gsd: bool
    split: str
    seen: tuple[SeenFile, ...] = ()


@dataclass(frozen=True)
class Place:
    """A square of a source, by its first row and column."""

    source: Source
    top: int
    left: int


class MaskSource:
    """A raster that marks objects by numbers: 1 there, 0 elsewhere, ``NODATA`` where it is masked out.

    On another grid than its own it is warped by nearest neighbour. Use as a context manager.

    Args:
        path: the raster; its first band is read.
        grid: grid to read on.
        objects: numbers of the objects; empty: 1 or 255, whichever alone is there.
    """

    def __init__(self, path: str, grid: Grid, objects: frozenset[int] = frozenset()) -> None:
        self._stack = ExitStack()
        dataset = self._stack.enter_context(open_raster(path))
        self._reader = dataset
        self._path, self._objects, self._marks = path, objects, set[float]()
        # A mask whose background is written as nodata says "no object" there, not "unknown".
        self._validity = Validity(dataset, (1,), zero_counts=True)
        own = Grid.of(dataset).beside(grid)
        if own != grid:
            check_overlap(own, grid, path, "the image")
            source, destination = self._validity.to_warp()
            self._reader = self._stack.enter_context(warp(source, grid, Resampling.nearest, **destination))

    def __enter__(self) -> MaskSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, box: Box) -> Labels:
        """The labels of a window [h, w].

        Raises:
            InputError: a broken file, or one that turns out to hold other numbers, or both 1 and 255.
        """
        values, known = read_window(self._reader, box, self._validity)
        if self._objects:
            return np.where(known, np.isin(values, sorted(self._objects)), NODATA).astype(np.uint8)
        self._marks |= set(np.unique(values[known & (values != 0)]).tolist())
        if len(self._marks) > 1 or not self._marks <= {1, 255}:
            marks = ", ".join(f"{mark:g}" for mark in sorted(self._marks)[:5])
            raise InputError(
                f"{self._path} holds {marks} beside 0 and names no classes: which of them are objects?",
                hint="Mark objects by 1 or by 255 alone, list the numbers that do (--object-classes 1,2), or give a "
                "table of the classes (--classes).",
                code="bad_labels",
            )
        return np.where(known, values != 0, NODATA).astype(np.uint8)


@dataclass(frozen=True)
class LabelReading:
    """How label rasters are to be understood.

    Attributes:
        classes: of the data set.
        is_mask: whether they mark objects alone.
        objects: the numbers that mark them there; empty: 1 or 255.
        most_unknown: share of a place that may show an image whose labels are not known.
    """

    classes: ClassTable
    is_mask: bool
    objects: frozenset[int] = frozenset()
    most_unknown: float = 1.0

    def open(self, path: str, grid: Grid) -> MaskSource | LabelSource:
        """The labels on a grid."""
        return (
            MaskSource(path, grid, self.objects)
            if self.is_mask
            else LabelSource(path, grid, self.classes, unknown_counts=False)
        )

    def suffices(self, valid: NDArray[np.bool_], labels: Labels) -> bool:
        """Whether enough of a place is known: of its image, where ``valid`` [h, w], and there of its labels [h, w]."""
        unknown = valid & (labels == NODATA)
        return bool(valid.mean() >= LEAST_VALID and unknown.mean() <= self.most_unknown)


class Crop:
    """An image with its labels, read by boxes that may reach over its edges, beyond which it is mirrored.

    Use as a context manager.

    Args:
        source: which image.
        reading: how its labels are understood.

    Raises:
        JobError: ``other_input`` where this process finds other files under the paths.
    """

    def __init__(self, source: Source, reading: LabelReading) -> None:
        for file in source.seen:
            file.check()
        self._shape = source.shape
        self._stack = ExitStack()
        own = _grid_of(Path(source.image))
        grid = _scaled(own, source.factor)
        self._image = self._stack.enter_context(AlignedRaster(source.image, grid, source.bands, source.stretch))
        self._labels: MaskSource | LabelSource | None = None
        if source.labels is not None:
            beneath = _grid_of(Path(source.labels))
            # Labels without coordinates lie on an image of their size, whatever coordinates that has.
            self._labels = reading.open(
                source.labels, _scaled(beneath, source.factor) if _lies_on(beneath, own) else grid
            )
            self._stack.push(self._labels)

    def __enter__(self) -> Crop:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def rgb(self, box: Box) -> NDArray[np.uint8]:
        """RGB [3, h, w]."""
        return mirrored_read(lambda inner: self._image.read(inner.window)[0], box, self._shape).astype(np.uint8)

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Where there is an image [h, w]."""
        return mirrored_read(lambda inner: self._image.read(inner.window)[1], box, self._shape).astype(bool)

    def labels(self, box: Box) -> Labels:
        """Classes [h, w]; 0 everywhere where there are no labels."""
        if self._labels is None:
            return np.zeros(box.shape, np.uint8)
        return mirrored_read(self._labels.read, box, self._shape).astype(np.uint8)


def find_sources(
    image_dir: str,
    label_dir: str | None,
    bands: tuple[int, ...] | None,
    gsd_of: Callable[[float | None], tuple[float, float]],
    hold_out: Callable[[int], set[int]],
    check: Callable[[], None],
) -> tuple[list[Source], list[str]]:
    """The images of a folder, in the order of their names, and what to say of those that are left out.

    Args:
        image_dir: the folder.
        label_dir: folder of label rasters; images without one are left out.
        bands: which are seen.
        gsd_of: from metres of an image's pixel (None without CRS) to metres it is read at, and the factor.
        hold_out: from the number of images to the numbers of those that are held out.
        check: called before each image; may raise to cancel.

    Raises:
        InputError: no folder, no image in it, no labels that go with any, or several files of one name.
    """
    images = _rasters(image_dir, "images")
    labels: dict[str, Path] = {}
    chosen = images
    if label_dir:
        labelled = _rasters(label_dir, "labels")
        stems = {path.stem for path in labelled}
        chosen = [path for path in images if path.stem in stems]
        names = _by_name(chosen).keys()
        labels = _by_name(path for path in labelled if path.stem in names)
    if not chosen:
        raise InputError(
            f"No image in {image_dir} has labels of the same name in {label_dir}.",
            hint="Name them alike: town.tif and town.png.",
            code="no_labels",
        )
    left_out = [path.name for path in images if label_dir and path.stem not in labels]
    warnings = []
    if left_out:
        warnings.append(
            f"{len(left_out)} of {len(images)} images have no labels of the same name and are left out, {left_out[0]} "
            "among them."
        )
    held_out = hold_out(len(chosen))
    found = []
    for number, path in enumerate(chosen):
        check()
        split = "val" if number in held_out else "train"
        found.append(_source(path, labels.get(path.stem), bands, gsd_of, split))
    return found, warnings


def _by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Files by their names without the endings.

    Raises:
        InputError: ``bad_labels``; two have the same, so that nobody knows which image goes with which labels.
    """
    found: dict[str, Path] = {}
    for file in files:
        if (other := found.setdefault(file.stem, file)) != file:
            raise InputError(
                f"{other} and {file.name} differ by their endings alone: which image goes with which labels?",
                hint="Keep one of the two in the folder, or give them other names.",
                code="bad_labels",
            )
    return found


def find_places(
    sources: Sequence[Source],
    reading: LabelReading,
    object_classes: frozenset[int],
    size: int,
    min_area: int,
    on_row: Callable[[int, int], None],
) -> list[tuple[Place, bool]]:
    """Squares that cover all sources, each with whether it holds objects.

    Args:
        sources: the images.
        reading: how labels are understood.
        object_classes: classes that count as objects; without labels every place has some.
        size: pixels along a side.
        min_area: pixels of these classes that a place must show.
        on_row: told rows of squares that were looked through and rows in all; may raise to cancel.
    """
    objects = np.zeros(256, bool)
    objects[sorted(object_classes)] = True
    found: list[tuple[Place, bool]] = []
    covers = [_squares(source.shape, size) for source in sources]
    done, total = 0, sum(map(len, covers))
    for source, rows in zip(sources, covers, strict=True):
        with Crop(source, reading) as crop:
            for row in rows:
                on_row(done, total)
                done += 1
                for box in row:
                    valid = crop.valid(box) if source.may_be_invalid else np.ones(box.shape, bool)
                    labels = crop.labels(box)
                    if not reading.suffices(valid, labels):
                        continue
                    has_objects = source.labels is None or int(objects[labels].sum()) > min_area
                    found.append((Place(source, box.top, box.left), has_objects))
    on_row(total, total)
    return found


def _rasters(folder: str | None, what: str) -> list[Path]:
    path = Path(folder or "")
    if not path.is_dir():
        raise InputError(f"There is no folder {folder} for the {what}.", hint="Check the path.", code="missing_file")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
    if not found:
        raise InputError(
            f"{folder} holds no raster for the {what}.",
            hint=f"Files that end in {', '.join(sorted(ENDINGS))} are looked for.",
            code="missing_file",
        )
    return found


def _source(
    path: Path,
    labels: Path | None,
    bands: tuple[int, ...] | None,
    gsd_of: Callable[[float | None], tuple[float, float]],
    split: str,
) -> Source:
    with SourceImage(path, bands) as image:
        if labels is not None:
            _check_size(path, image.grid, labels)
        own = ground_sampling_distance(image.grid)
        gsd, factor = gsd_of(own)
        seen = _scaled(image.grid, factor)
        files = [str(file.absolute()) for file in (path, labels) if file]  # workers have other current folders
        return Source(
            image=files[0],
            labels=files[1] if labels else None,
            shape=(seen.height, seen.width),
            part=Box(0, 0, seen.height, seen.width),
            factor=factor,
            bands=image.aligned.bands,
            stretch=image.aligned.stretch,
            may_be_invalid=image.may_be_invalid,
            gsd=gsd,
            tells_gsd=own is not None,
            split=split,
            seen=tuple(map(SeenFile.at, files)),
        )


def _scaled(grid: Grid, factor: float) -> Grid:
    return grid if factor == 1 else grid.scaled(factor)


def _check_size(image: Path, grid: Grid, labels: Path) -> None:
    """Without coordinates only equal sizes say that two rasters lie on each other."""
    own = _grid_of(labels)
    if own.crs is None and not _lies_on(own, grid):
        raise InputError(
            f"{labels} has {own.width} × {own.height} pixels and no coordinate system, {image} has {grid.width} × "
            f"{grid.height} pixels.",
            hint="Make them equal in size, or georeference both.",
            code="bad_labels",
        )


def _grid_of(path: Path) -> Grid:
    with open_raster(path) as dataset:
        return Grid.of(dataset)


def _lies_on(labels: Grid, image: Grid) -> bool:
    return labels.crs is None and (labels.width, labels.height) == (image.width, image.height)


def _squares(shape: tuple[int, int], size: int) -> list[list[Box]]:
    """Rows of squares that cover a raster; the last of each way is moved back inside, a small raster gets one."""
    starts = [[min(start, max(length - size, 0)) for start in range(0, length, size)] for length in shape]
    return [[Box(top, left, top + size, left + size) for left in starts[1]] for top in starts[0]]
