"""Labelled imagery to train on, as it is held in memory, and how folders of pairs and of single dates are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from changen2.errors import InputError
from changen2.raster.gdal import gdal_environment
from changen2.raster.reading import open_raster
from changen2.training.image_files import IMAGES, Bytes, Mask, metres_per_pixel, read_rgb, read_values
from changen2.training.split import is_held_out, split
from changen2.training.watched import Check, Watched, go_on

BACKGROUND, BUILDING, IGNORE = 0, 1, 255

SEMANTIC = ("semantic_A", "semantic_B")

EVERY = 10
"""Every so manieth image or pair of a folder is held out."""

BYTES_PER_PIXEL = 11
"""Of a pair in memory, as measured: 6 of two images, 3 of three labels, and what is lost between them."""

ReadLabel = Callable[[Path], Bytes]
Scale = tuple[float, bool]
"""Metres per pixel, and whether nothing but a file's name told them."""


@dataclass(frozen=True)
class Place:
    """One image of one place.

    Attributes:
        source: name of the source it comes from.
        name: file or area, for messages.
        image: ``[h, w, 3]`` RGB.
        label: ``[h, w]``, 0 background, 1 building, 255 not known.
        gsd: metres per pixel.
        held_out: kept from training, to measure on.
        gsd_named: whether nothing but its file's name told ``gsd``.
    """

    source: str
    name: str
    image: Bytes
    label: Bytes
    gsd: float
    held_out: bool = False
    gsd_named: bool = False


@dataclass(frozen=True)
class PlacePair:
    """Two dates of one place with their change; ``change.image`` is that of ``after``."""

    before: Place
    after: Place
    change: Place


class Layer:
    """The files of a folder that go with images of another one; it is listed once, for it may hold many thousands.

    Args:
        folder: of images or labels.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        images = (path for path in folder.iterdir() if path.suffix.lower() in IMAGES and path.is_file())
        self._first = {path.stem: path for path in sorted(images, reverse=True)}

    def of(self, path: Path) -> Path:
        """The file that goes with an image: of its name, or of its stem with another ending.

        Raises:
            InputError: ``missing_file``.
        """
        same = self._folder / path.name
        # A name may have dots: tile.1.png is of another one than tile.tif.
        found = same if same.is_file() else self._first.get(path.stem)
        if found is None:
            raise InputError(
                f"{self._folder} has no {path.name}.",
                hint="Images and labels that belong together need equal names.",
                code="missing_file",
            )
        return found


def read_mask(path: Path) -> Bytes:
    """Read a mask ``[h, w]``: 0 where it is 0, 1 where it is anything else, 255 where a GeoTIFF has no data.

    Raises:
        InputError: ``bad_value``: it holds both 1 and 255, of which the latter then means change to some and not known
            to others; or the file cannot be read.
    """
    return _mask(*read_values(path), path)


def _mask(values: NDArray[Any], known: Mask, path: Path) -> Bytes:
    found = values[known]
    if (found == 1).any() and (found == 255).any() and np.isin(found, (0, 1, 255)).all():
        raise InputError(
            f"{path} holds 0, 1 and 255: whether 255 is marked as 1 is, or not known, it does not tell.",
            hint="Mark with 1 or with 255 alone. What is not known is the nodata value of a GeoTIFF: "
            "gdal_translate -a_nodata 255 mask.png mask.tif.",
            code="bad_value",
        )
    return np.where(known, values != 0, IGNORE).astype(np.uint8)


def read_images(
    root: Path, gsd: float | None = None, read_label: ReadLabel = read_mask, check: Check = go_on
) -> list[Place]:
    """Labelled images of single dates: ``images`` and ``masks`` with equal file names.

    Every tenth is held out; of fewer than ten the last.

    Args:
        root: the folder.
        gsd: metres per pixel; None where each image is georeferenced, or its name tells as that of a pair does.
        read_label: makes a label of a mask; by default any value but 0 is a building.
        check: called before each image; may raise to cancel.

    Raises:
        InputError: ``missing_file``, ``bad_value`` or ``unreadable``; the folder or an image in it is not whole.
    """
    paths = _images(root, "labelled images", ("images", "masks"))
    scales, masks = _scales(paths, gsd, check), Layer(root / "masks")
    places = []
    for index, path in enumerate(Watched(paths, check)):
        (image, seen), label = read_rgb(path), read_label(masks.of(path))
        _check_sizes(root, path, seen, label)
        own, named = scales[path]
        held_out = is_held_out(index, len(paths), EVERY)
        places.append(Place(root.name, path.stem, image, _where(seen, label), own, held_out, named))
    return places


def read_pairs(
    root: Path,
    gsd: float | None = None,
    every: int = EVERY,
    object_class: int | None = None,
    read_date: ReadLabel | None = None,
    check: Check = go_on,
    on_pair: Callable[[int, int], None] = lambda done, total: None,
) -> list[PlacePair]:
    """Pairs in the LEVIR-CD layout: A, B and label with equal file names; any value of label but 0 is change.

    ``semantic_A`` and ``semantic_B`` tell both dates' objects where they are there; else those are not known. Nothing
    is known where an image or a label has no data. Pairs of ``list/test.txt`` are not read, nor are those that
    ``list/train.txt`` and ``list/val.txt`` pass over.

    Args:
        root: the folder.
        gsd: metres per pixel; None where each image is georeferenced, or its name ends in ``_`` and the centimetres per
            pixel, in which no two of them may differ alone: such numbers count images.
        every: every so manieth pair is held out, of fewer than that the last, unless ``list/val.txt`` names any or
            ``changen2 generate`` was asked to hold out none; see :func:`changen2.training.split.split`.
        object_class: the class of the semantic maps that is looked for (255 is not known); None where they are plain
            masks, in which any value but 0 is an object.
        read_date: makes a label of a semantic map in another way.
        check: called before each pair; may raise to cancel.
        on_pair: told pairs read and pairs in all; may raise to cancel.

    Raises:
        InputError: ``missing_file``, ``bad_value`` or ``unreadable``; the folder or a pair in it is not whole.
            ``too_large``: the pairs take more memory than is free.
    """
    # A small data set has an empty list/val.txt without anybody's having wished so.
    wished = read_manifest(root).get("parameters", {}).get("val_share") == 0
    parts = split(root, _pair_files(root), every, wished)
    read_date = read_date or partial(_read_objects, object_class, tells_classes(root))
    paths = [path for path, _ in parts]
    scales = _scales(paths, gsd, check)
    _check_memory(root, Watched(paths, check), psutil.virtual_memory().available)
    layers = {name: Layer(root / name) for name in ("A", "B", "label", *SEMANTIC) if (root / name).is_dir()}
    pairs = []
    for path, held_out in Watched(parts, check):
        pairs.append(_read_pair(root, layers, path, scales[path], held_out, read_date))
        on_pair(len(pairs), len(parts))
    return pairs


def _check_memory(root: Path, paths: Sequence[Path], free: int) -> None:
    """Refuse pairs that take more than the free bytes of memory, of which one image each is given."""
    pixels = 0
    for path in paths:
        with gdal_environment(), open_raster(path) as dataset:
            pixels += dataset.width * dataset.height
    needed = pixels * BYTES_PER_PIXEL
    if needed > free:
        fitting, lists = len(paths) * free // needed, "list/train.txt and list/val.txt, one a line; or"
        some = f"Name about {fitting} of them, those to learn from and to hold out, in {lists} give smaller ones, or"
        if fitting < 2:  # one to learn from and one to hold out
            some = f"Cut the images into smaller ones and name some of those in {lists}"
        raise InputError(
            f"The {len(paths)} pairs in {root} take {needed / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free.",
            hint=f"{some} close other programs.",
            code="too_large",
        )


def left_out(root: Path, pairs: Sequence[PlacePair]) -> str | None:
    """What to say of the pairs of a folder that its lists keep from a training; None where they keep none.

    Args:
        root: the folder.
        pairs: what was read of it.
    """
    count = len(_pair_files(root))
    if len(pairs) == count:
        return None
    return (
        f"{count - len(pairs)} of {count} pairs in {root} are left out, neither learned from nor held out: "
        "list/test.txt names them, or list/train.txt does not."
    )


def named_scales(root: Path, places: Sequence[Place]) -> str | None:
    """What to say of a folder where names tell the scale; None where none does, or ``changen2 generate`` gave them.

    Args:
        root: the folder.
        places: what was read of it, of pairs one date.
    """
    gsds = [place.gsd for place in places if place.gsd_named]
    if not gsds or read_manifest(root):
        return None
    told = " to ".join(f"{gsd:g}" for gsd in sorted({min(gsds), max(gsds)}))
    return (
        f"The pixel size of {len(gsds)} images in {root}, {told} m, is taken from the centimetres that their names end "
        "in. If that is not what these numbers mean, give the metres per pixel "
        "(`gsds` in a configuration, --gsd for a fine-tuning)."
    )


def _pair_files(root: Path) -> list[Path]:
    return _images(root, "pairs", ("A", "B", "label"))


def _images(root: Path, what: str, layers: tuple[str, ...]) -> list[Path]:
    """The files of the first layer of a folder."""
    if not all((root / layer).is_dir() for layer in layers):
        raise InputError(
            f"{root} is no folder of {what}: it needs the folders {', '.join(layers[:-1])} and {layers[-1]}.",
            hint="Images and labels that belong together have equal file names there, as in LEVIR-CD.",
            code="missing_file",
        )
    paths = sorted(path for path in (root / layers[0]).iterdir() if path.suffix.lower() in IMAGES)
    if not paths:
        raise InputError(
            f"{root / layers[0]} holds no image.", hint=f"Allowed: {', '.join(IMAGES)}.", code="missing_file"
        )
    return paths


def read_manifest(root: Path) -> dict[str, Any]:
    """What ``changen2 generate`` tells of a folder that it made; nothing of any other."""
    path = root / "manifest.json"
    try:
        content = json.loads(path.read_text(encoding="utf8")) if path.is_file() else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) and content.get("job") == "generate" else {}


def tells_classes(root: Path) -> bool:
    """Whether ``changen2 generate`` tells that it wrote classes, whatever numbers a folder's semantic maps hold."""
    return read_manifest(root).get("kind") == "S9"


def _read_pair(
    root: Path, layers: Mapping[str, Layer], path: Path, scale: Scale, held_out: bool, read_date: ReadLabel
) -> PlacePair:
    (before, seen_before), (after, seen_after) = (read_rgb(layers[date].of(path)) for date in "AB")
    change = read_mask(layers["label"].of(path))
    dates = [
        read_date(layers[name].of(path)) if name in layers else np.full(change.shape, IGNORE, np.uint8)
        for name in SEMANTIC
    ]
    _check_sizes(root, path, seen_before, seen_after, change, *dates)
    parts = (
        (before, seen_before, dates[0]),
        (after, seen_after, dates[1]),
        (after, seen_before & seen_after, change),
    )
    gsd, named = scale
    return PlacePair(
        *(Place(root.name, path.stem, image, _where(seen, label), gsd, held_out, named) for image, seen, label in parts)
    )


def _where(seen: Mask, label: Bytes) -> Bytes:
    return label if seen.all() else np.where(seen, label, IGNORE).astype(np.uint8)


def _check_sizes(root: Path, path: Path, *arrays: NDArray[Any]) -> None:
    if len({array.shape for array in arrays}) > 1:
        raise InputError(
            f"The files named {path.stem} in {root} differ in size.",
            hint="Images and labels must show the same pixels.",
            code="bad_value",
        )


def _read_objects(object_class: int | None, classes: bool, path: Path) -> Bytes:
    values, known = read_values(path)
    if object_class is not None:
        return np.where(known & (values != IGNORE), values == object_class, IGNORE).astype(np.uint8)
    if classes or not np.isin(values[known], (0, 1, 255)).all():
        raise InputError(
            f"{path} holds classes, not a mask of objects.",
            hint="Name the class to look for (`object_classes` in a configuration), or leave the folder away.",
            code="bad_value",
        )
    return _mask(values, known, path)


def _scales(paths: Sequence[Path], gsd: float | None, check: Check) -> dict[Path, Scale]:
    """The scale of each image: what is given, else what it tells itself, else what its name does."""
    if gsd:
        return dict.fromkeys(paths, (gsd, False))
    own = {path: metres_per_pixel(path) for path in Watched(paths, check)}
    scales = {path: (known, False) if known else (_named_gsd(path), True) for path, known in own.items()}
    told: dict[str, Path] = {}
    for path, (_, named) in scales.items():
        other = told.setdefault(path.stem.rpartition("_")[0], path) if named else path
        if other.stem != path.stem:
            raise _no_scale(
                f"{other.name} and {path.name} differ in the number at their end alone: it counts images, rather than "
                "tell the centimetres per pixel"
            )
    return scales


def _named_gsd(path: Path) -> float:
    _, underscore, ending = path.stem.rpartition("_")
    # Numbers that count images are no centimetres: nothing that these models see is finer than 5 or coarser than 999.
    if underscore and ending.isdigit() and 5 <= int(ending) <= 999 and not ending.startswith("0"):
        return int(ending) / 100
    raise _no_scale(f"{path.name} is not georeferenced and its name does not end in _ and the centimetres per pixel")


def _no_scale(why: str) -> InputError:
    return InputError(
        f"{why}, so the scale is not known.",
        hint="Give the metres per pixel (`gsds` in a configuration, --gsd for a fine-tuning).",
        code="bad_value",
    )
