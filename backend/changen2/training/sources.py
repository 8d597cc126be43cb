"""This project's labelled imagery: each source read into a list of places, all in one form.

A source is one function from a folder to places, entered in ``SOURCES``; adding one is adding a function. They count
where a configuration says ``project_imagery``; a folder of anybody's own may have any of their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy import ndimage

from changen2.errors import InputError
from changen2.training.image_files import read_rgb, read_values
from changen2.training.places import BACKGROUND, BUILDING, IGNORE, Bytes, Place, read_images
from changen2.training.watched import Check, go_on


class ReadOwn(Protocol):
    """Reads a folder of anybody's own."""

    def __call__(self, root: Path, gsd: float | None, *, check: Check) -> list[Place]:
        """Return its places; see :func:`changen2.training.places.read_images`."""


def _mask_beside(path: Path) -> Path:
    return next((path.parent.parent / "masks").glob(f"{path.stem}.*"))


def _images(root: Path) -> list[Path]:
    return sorted(path for path in (root / "images").iterdir() if path.suffix in {".png", ".jpg", ".tif"})


def _buildings(path: Path) -> Bytes:
    """The label of an image: where its mask is bright there is a building."""
    return (read_values(_mask_beside(path))[0] > 127).astype(np.uint8)


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
    size = read_rgb(tiles[0][2])[0].shape[0]
    places = []
    for group in range(1, count + 1):
        rows, columns = ndimage.find_objects(groups)[group - 1]
        shape = ((rows.stop - rows.start) * size, (columns.stop - columns.start) * size)
        image, label = np.zeros((*shape, 3), np.uint8), np.full(shape, IGNORE, np.uint8)
        for (row, column), (_, _, path) in zip(at - at.min(axis=0), tiles, strict=True):
            if groups[row, column] == group:
                y, x = (row - rows.start) * size, (column - columns.start) * size
                image[y : y + size, x : x + size] = read_rgb(path)[0]
                label[y : y + size, x : x + size] = _buildings(path)
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
            read_rgb(path)[0],
            # Strips at a scene's edge hold black pixels that were never seen.
            np.where(read_rgb(path)[0].max(axis=2) == 0, IGNORE, _buildings(path)),
            0.5,
            path.stem in {"rio_img054", "rio_img063"},
        )
        for path in _images(root)
    ]


def read_spacenet2(root: Path) -> list[Place]:
    """Paris, Shanghai, Khartoum and Las Vegas; the lowest quarter of each is held out."""
    places = []
    for path in _images(root):
        image, label = read_rgb(path)[0], _buildings(path)
        cut = image.shape[0] * 3 // 4
        for rows, held_out in ((slice(0, cut), False), (slice(cut, None), True)):
            places.append(Place("spacenet2", path.stem, image[rows], label[rows], 0.3, held_out))
    return places


def read_dubai(root: Path) -> list[Place]:
    """Dubai. Building labels are whole blocks: their core counts as building, their rim as unknown."""
    places = []
    for path in _images(root):
        classes = read_values(_mask_beside(path))[0]
        block = classes == 4
        core = ndimage.binary_erosion(block, iterations=4)
        label = np.where(core, BUILDING, BACKGROUND).astype(np.uint8)
        label[(ndimage.binary_dilation(block, iterations=3) & ~core) | (classes == 0)] = IGNORE
        places.append(Place("dubai", path.stem, read_rgb(path)[0], label, 0.5))
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
        image = read_rgb(path)[0]
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
    image = read_rgb(path)[0]
    return Place(source, path.stem, image, np.full(image.shape[:2], IGNORE, np.uint8), gsd)


def read_south_tyrol(root: Path) -> list[Place]:
    """The other half of South Tyrol with masks, all held out: never trained on."""
    return [
        Place("south_tyrol", path.stem, read_rgb(path)[0], _buildings(path), 0.27, True) for path in _images(root)[1::2]
    ]


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


def read_source(
    name: str,
    root: Path,
    gsd: float | None = None,
    project_imagery: bool = False,
    known: Mapping[str, Callable[[Path], list[Place]]] = SOURCES,
    read_own: ReadOwn = read_images,
    check: Check = go_on,
) -> list[Place]:
    """The places of a source: of a folder with ``images`` and ``masks``, or of this project's imagery by its name.

    Args:
        name: of the source.
        root: its folder.
        gsd: metres per pixel of a folder that is not this project's, see :func:`read_images`.
        project_imagery: whether a name in ``known`` means that imagery, not a folder that happens to have its name.
        known: readers by name.
        read_own: reader of any other folder.
        check: called before each image of such a folder; may raise to cancel.

    Raises:
        InputError: ``missing_file`` where there is no such folder, ``bad_value`` where ``gsd`` would not count, or what
            the reader says.
    """
    if project_imagery and name in known:
        if gsd is not None:
            raise InputError(
                f"With `project_imagery` the source {name!r} is this project's own, whose scale is known: "
                f"{gsd:g} m in `gsds` would not count.",
                hint="Leave `project_imagery` away, or call your folder otherwise (`folders` says where it lies).",
                code="bad_value",
            )
        return known[name](root)
    if not (root / "images").is_dir():
        raise InputError(
            f"The source {name!r} is not known, and {root} is no folder with images and masks.",
            hint=f"Say under `folders` where it lies. Known with `project_imagery: true`: {', '.join(known)}.",
            code="missing_file",
        )
    return read_own(root, gsd, check=check)
