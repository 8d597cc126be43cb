"""Labelled imagery to train on: each source read into a list of places, all in one form.

A source is one function from a folder to places, entered in ``SOURCES``; adding one is adding a function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from changen2.errors import InputError

Bytes = NDArray[np.uint8]

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

BACKGROUND, BUILDING, IGNORE = 0, 1, 255


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
    """

    source: str
    name: str
    image: Bytes
    label: Bytes
    gsd: float
    held_out: bool = False


@dataclass(frozen=True)
class PlacePair:
    """Two dates of one place with their change; ``change.image`` is that of ``after``."""

    before: Place
    after: Place
    change: Place


def _read(path: Path, mode: str) -> Bytes:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))


def _mask_beside(path: Path) -> Path:
    return next((path.parent.parent / "masks").glob(f"{path.stem}.*"))


def _images(root: Path) -> list[Path]:
    return sorted(path for path in (root / "images").iterdir() if path.suffix in {".png", ".jpg", ".tif"})


def _buildings(mask: Bytes) -> Bytes:
    return (mask > 127).astype(np.uint8)


def _web_tiles(root: Path, zoom: int) -> Iterator[tuple[int, int, Path]]:
    for path in _images(root):
        column, row, level = map(int, re.findall(r"\d+", path.stem))
        if level == zoom:
            yield column, row, path


def _mosaic(source: str, tiles: list[tuple[int, int, Path]], gsd: float, held_out: bool) -> list[Place]:
    """Join web map tiles that touch, so that crops may be larger than a tile; gaps are of unknown label."""
    at = np.array([(row, column) for column, row, _ in tiles])
    grid = np.zeros(np.ptp(at, axis=0) + 1, np.uint8)
    grid[tuple((at - at.min(axis=0)).T)] = 1
    groups, count = ndimage.label(grid)
    size = _read(tiles[0][2], "RGB").shape[0]
    places = []
    for group in range(1, count + 1):
        rows, columns = ndimage.find_objects(groups)[group - 1]
        shape = ((rows.stop - rows.start) * size, (columns.stop - columns.start) * size)
        image, label = np.zeros((*shape, 3), np.uint8), np.full(shape, IGNORE, np.uint8)
        for (row, column), (_, _, path) in zip(at - at.min(axis=0), tiles, strict=True):
            if groups[row, column] == group:
                y, x = (row - rows.start) * size, (column - columns.start) * size
                image[y : y + size, x : x + size] = _read(path, "RGB")
                label[y : y + size, x : x + size] = _buildings(_read(_mask_beside(path), "L"))
        places.append(Place(source, f"{source} {group}", image, label, gsd, held_out))
    return places


def read_banepa(root: Path) -> list[Place]:
    """A Nepali town; its easternmost column of tiles is held out."""
    tiles = list(_web_tiles(root, 19))
    east = max(column for column, _, _ in tiles)
    kept = [tile for tile in tiles if tile[0] < east]
    away = [tile for tile in tiles if tile[0] == east]
    return _mosaic("banepa", kept, 0.132, False) + _mosaic("banepa", away, 0.132, True)


def read_kampala(root: Path) -> list[Place]:
    """Two parts of Kampala. The three zooms show the same ground: the middle one has all that is needed."""
    return _mosaic("kampala", list(_web_tiles(root, 20)), 0.149, False)


def read_spacenet1_rio(root: Path) -> list[Place]:
    """Suburbs of Rio de Janeiro; two tiles are held out."""
    return [
        Place(
            "spacenet1_rio",
            path.stem,
            _read(path, "RGB"),
            # Strips at a scene's edge hold black pixels that were never seen.
            np.where(_read(path, "RGB").max(axis=2) == 0, IGNORE, _buildings(_read(_mask_beside(path), "L"))),
            0.5,
            path.stem in {"rio_img054", "rio_img063"},
        )
        for path in _images(root)
    ]


def read_spacenet2(root: Path) -> list[Place]:
    """Paris, Shanghai, Khartoum and Las Vegas; the lowest quarter of each is held out."""
    places = []
    for path in _images(root):
        image, label = _read(path, "RGB"), _buildings(_read(_mask_beside(path), "L"))
        cut = image.shape[0] * 3 // 4
        for rows, held_out in ((slice(0, cut), False), (slice(cut, None), True)):
            places.append(Place("spacenet2", path.stem, image[rows], label[rows], 0.3, held_out))
    return places


def read_dubai(root: Path) -> list[Place]:
    """Dubai. Building labels are whole blocks: their core counts as building, their rim as unknown."""
    places = []
    for path in _images(root):
        classes = _read(_mask_beside(path), "L")
        block = classes == 4
        core = ndimage.binary_erosion(block, iterations=4)
        label = np.where(core, BUILDING, BACKGROUND).astype(np.uint8)
        label[(ndimage.binary_dilation(block, iterations=3) & ~core) | (classes == 0)] = IGNORE
        places.append(Place("dubai", path.stem, _read(path, "RGB"), label, 0.5))
    return places


def read_dubai_blocks(root: Path) -> list[Place]:
    """Dubai with its blocks left for a teacher to tell roof from yard."""
    return [
        replace(place, source="dubai_blocks", label=np.where(place.label == BUILDING, IGNORE, place.label))
        for place in read_dubai(root)
    ]


def read_estonia(root: Path) -> list[Place]:
    """Estonian orthophotos with rough boxes: a box's inner part is building, the rest of it unknown."""
    boxes = json.loads((root / "building_boxes_xywh.json").read_text())
    places = []
    for path in _images(root):
        if path.name not in boxes:
            continue
        image = _read(path, "RGB")
        label = np.zeros(image.shape[:2], np.uint8)
        for inner, value in ((1.2, IGNORE), (0.55, BUILDING)):
            for x, y, w, h in boxes[path.name]:
                # The middle of a large box may be a courtyard.
                if value == BUILDING and max(w, h) > 150:
                    continue
                cx, cy = x + w / 2, y + h / 2
                rows = slice(max(0, round(cy - h * inner / 2)), max(0, round(cy + h * inner / 2)))
                columns = slice(max(0, round(cx - w * inner / 2)), max(0, round(cx + w * inner / 2)))
                label[rows, columns] = value
        places.append(Place("estonia", path.stem, image, label, 0.2))
    return places


def read_estonia_rest(root: Path) -> list[Place]:
    """The Estonian orthophotos without boxes, for a teacher to label."""
    boxes = json.loads((root / "building_boxes_xywh.json").read_text())
    return [_unlabelled("estonia_rest", path, 0.2) for path in _images(root) if path.name not in boxes]


def read_south_tyrol_images(root: Path) -> list[Place]:
    """Every other image of South Tyrol, without its mask, for a teacher to label."""
    return [_unlabelled("south_tyrol_images", path, 0.27) for path in _images(root)[::2]]


def _unlabelled(source: str, path: Path, gsd: float) -> Place:
    image = _read(path, "RGB")
    return Place(source, path.stem, image, np.full(image.shape[:2], IGNORE, np.uint8), gsd)


def read_south_tyrol(root: Path) -> list[Place]:
    """The other half of South Tyrol with masks, all held out: never trained on."""
    return [
        Place("south_tyrol", path.stem, _read(path, "RGB"), _buildings(_read(_mask_beside(path), "L")), 0.27, True)
        for path in _images(root)[1::2]
    ]


def read_pairs(
    root: Path, gsd: float | None = None, every: int = 10, object_class: int | None = None
) -> list[PlacePair]:
    """Pairs in the LEVIR-CD layout: A, B and label with equal file names; any value of label but 0 is change.

    ``semantic_A`` and ``semantic_B`` tell both dates' objects where they are there; else those are not known.

    Args:
        root: the folder.
        gsd: metres per pixel; None where each name ends in ``_`` and the centimetres per pixel.
        every: every so manieth pair is held out, unless ``list/val.txt`` names the held-out ones.
        object_class: the class of the semantic maps that is looked for (255 is not known); None where they are plain
            masks, in which any value but 0 is an object.

    Raises:
        InputError: ``missing_file`` or ``bad_value``; the folder or a pair in it is not whole.
    """
    if not all((root / layer).is_dir() for layer in ("A", "B", "label")):
        raise InputError(
            f"{root} is no folder of pairs: it needs the folders A, B and label.",
            hint="Lay the pairs out as LEVIR-CD does, with equal file names in the three folders.",
            code="missing_file",
        )
    listed = root / "list" / "val.txt"
    named = {Path(line).stem for line in listed.read_text().split()} if listed.is_file() else None
    paths = sorted(path for path in (root / "A").iterdir() if path.suffix.lower() in IMAGES)
    if not paths:
        raise InputError(f"{root / 'A'} holds no image.", hint=f"Allowed: {', '.join(IMAGES)}.", code="missing_file")
    pairs = []
    for index, path in enumerate(paths):
        held_out = index % every == every - 1 if named is None else path.stem in named
        pairs.append(_read_pair(root, path, gsd or _named_gsd(path), held_out, object_class))
    return pairs


def _read_pair(root: Path, path: Path, gsd: float, held_out: bool, object_class: int | None) -> PlacePair:
    before, after = (_read(_layer(root, date, path), "RGB") for date in "AB")
    change = (_read(_layer(root, "label", path), "L") > 0).astype(np.uint8)
    dates = [_read_objects(root, layer, path, object_class, change.shape) for layer in ("semantic_A", "semantic_B")]
    if len({array.shape[:2] for array in (before, after, change, *dates)}) > 1:
        raise InputError(
            f"The files named {path.stem} in {root} differ in size.",
            hint="Both dates and the label must show the same pixels.",
            code="bad_value",
        )
    return PlacePair(
        *(
            Place(root.name, path.stem, image, label, gsd, held_out)
            for image, label in zip((before, after, after), (*dates, change), strict=True)
        )
    )


def _read_objects(root: Path, layer: str, path: Path, object_class: int | None, shape: tuple[int, ...]) -> Bytes:
    if not (root / layer).is_dir():
        return np.full(shape, IGNORE, np.uint8)
    values = _read(_layer(root, layer, path), "L")
    if object_class is not None:
        return np.where(values == IGNORE, IGNORE, values == object_class).astype(np.uint8)
    if not np.isin(values, (0, 1, 255)).all():
        raise InputError(
            f"{root / layer / path.name} holds classes, not a mask of objects.",
            hint="Name the class to look for (`object_classes` in a configuration), or leave the folder away.",
            code="bad_value",
        )
    return (values > 0).astype(np.uint8)


def _layer(root: Path, layer: str, path: Path) -> Path:
    found = [root / layer / path.name, *sorted((root / layer).glob(f"{path.stem}.*"))]
    for candidate in found:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{root / layer} has no {path.name}.", hint="A, B and label need equal names.", code="missing_file"
    )


def _named_gsd(path: Path) -> float:
    ending = path.stem.rpartition("_")[2]
    # Numbers that count images are no centimetres: nothing that these models see is finer than 5 or coarser than 999.
    if ending.isdigit() and 5 <= int(ending) <= 999 and not ending.startswith("0"):
        return int(ending) / 100
    raise InputError(
        f"The name {path.name} does not end in _ and the centimetres per pixel, so its scale is not known.",
        hint="Give the metres per pixel (`gsds` in a configuration, --gsd for a fine-tuning).",
        code="bad_value",
    )


SOURCES: dict[str, Callable[[Path], list[Place]]] = {
    "banepa": read_banepa,
    "kampala": read_kampala,
    "spacenet1_rio": read_spacenet1_rio,
    "spacenet2": read_spacenet2,
    "dubai": read_dubai,
    "dubai_blocks": read_dubai_blocks,
    "estonia": read_estonia,
    "estonia_rest": read_estonia_rest,
    "south_tyrol_images": read_south_tyrol_images,
    "south_tyrol": read_south_tyrol,
}
