"""Augmented crops on disk, in shards: drawn once, read by both runs, added to at any time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from changen2.errors import InputError
from changen2.gpcm.instances import contours, segment
from changen2.models.rsdit_tiny import BACKGROUND, CONTOUR
from changen2.training.crops import Cut, random_cut
from changen2.training.generator.config import CropsConfig
from changen2.training.generator.imagery import read_places
from changen2.training.photometry import relight
from changen2.training.places import IGNORE, Bytes, Place

SHARD = 128  # crops a file: a broken run loses no more than this many
UNSEEN_SHARE = 0.02  # of a crop's pixels; with more of them another place is cut
TRIES = 20
RELIT_SHARE = 0.6

SETTINGS = "crops.json"
"""In a folder of crops: what they were drawn by."""

OnCrops = Callable[[str, int, int], None]
"""Called with (stage, done, total); may raise to cancel."""


@dataclass(frozen=True)
class LabelledCrop:
    """An image, its classes and its scale.

    Attributes:
        image: uint8 [3, size, size].
        label: class indices [size, size]; contours where the image has no labels.
        gsd: metres per pixel.
    """

    image: Bytes
    label: Bytes
    gsd: float


def draw_crop(places: dict[str, list[Place]], config: CropsConfig, index: int) -> LabelledCrop:
    """Crop number ``index``: a source by its weight, a place by its area, a random turn, scale and light.

    Raises:
        InputError: no place has an area of that size that was seen.
    """
    rng = np.random.default_rng((config.seed, 0, index))
    names = list(config.sources)
    weights = np.array([config.sources[name] for name in names])
    for _ in range(TRIES):
        candidates = places[names[rng.choice(len(names), p=weights / weights.sum())]]
        areas = np.array([place.label.size for place in candidates], float)
        place = candidates[rng.choice(len(candidates), p=areas / areas.sum())]
        cut = random_cut(place, config.size, rng, config.gsd_range)
        label = cut_classes(cut, place)
        unlabelled = bool((place.label == IGNORE).all())
        if not unlabelled and (label == IGNORE).mean() > UNSEEN_SHARE:
            continue
        image = cut.of(place).image
        if rng.random() < RELIT_SHARE:
            image = relight(image, rng, config.colour_strength)
        pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        label = contour_classes(pixels) if unlabelled else np.where(label == IGNORE, BACKGROUND, label)
        gsd = (cut.rows.stop - cut.rows.start) * place.gsd / cut.shape[0]
        return LabelledCrop(np.moveaxis(pixels, -1, 0), label.astype(np.uint8), gsd)
    raise InputError(f"No seen area of {config.size}² pixels in {TRIES} tries.", hint="Use a smaller crop size.")


def cut_classes(cut: Cut, place: Place) -> Bytes:
    """The class indices of a cut, by nearest neighbour."""
    window = Image.fromarray(np.ascontiguousarray(place.label[cut.rows, cut.columns]))
    label = np.asarray(window.resize((cut.shape[1], cut.shape[0]), Image.Resampling.NEAREST))
    label = np.pad(label, [(0, cut.size - side) for side in cut.shape], "reflect")
    label = np.rot90(label, cut.quarter_turns)
    return np.ascontiguousarray(label[:, ::-1] if cut.mirrored else label)


def contour_classes(pixels: Bytes) -> Bytes:
    """Contours of the instances of an image without labels ``[h, w, 3]``, as class indices."""
    return np.where(contours(segment(pixels)), CONTOUR, BACKGROUND).astype(np.uint8)


class CropStore:
    """The crops of a folder, memory-mapped.

    Args:
        folder: as ``draw_crops`` fills it.
        latents: also open the latents.
    """

    def __init__(self, folder: Path, latents: bool = False) -> None:
        shards = shard_paths(folder, "images")
        self.images = [np.load(path, mmap_mode="r") for path in shards]
        self.labels = [np.load(path, mmap_mode="r") for path in shard_paths(folder, "labels")]
        self.gsd = [np.load(path) for path in shard_paths(folder, "gsd")]
        self.latents = [np.load(path, mmap_mode="r") for path in shard_paths(folder, "latents")] if latents else []
        self.ends = np.cumsum([len(shard) for shard in self.images])

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def place(self, index: int) -> tuple[int, int]:
        """The shard of a crop and its place there."""
        shard = int(np.searchsorted(self.ends, index, side="right"))
        return shard, index - (int(self.ends[shard - 1]) if shard else 0)


def shard_paths(folder: Path, layer: str) -> list[Path]:
    """The files of a layer (images, labels, gsd, latents), in order."""
    return sorted(folder.glob(f"{layer}-[0-9]*.npy"))


def save_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an array, whole or not at all."""
    part = path.with_name(f".{path.name}")
    np.save(part, array)
    part.replace(path)


def draw_crops(config: CropsConfig, on_crops: OnCrops) -> None:
    """Draw the crops that are not in ``config.out`` yet.

    Raises:
        InputError: a source is unknown or empty; ``other_crops``: those in the folder were drawn by other settings.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    _keep_settings(config)
    starts = range(0, config.count, SHARD)
    # Images are written last: a shard that has them is whole.
    missing = [start for start in starts if not (config.out / f"images-{start:07d}.npy").exists()]
    if not missing:
        return
    places = read_places(config, lambda done, total: on_crops("scenes", done, total))
    for start in missing:
        crops = []
        for index in range(start, min(start + SHARD, config.count)):
            crops.append(draw_crop(places, config, index))
            on_crops("crops", index + 1, config.count)
        save_array(config.out / f"gsd-{start:07d}.npy", np.array([crop.gsd for crop in crops], np.float32))
        save_array(config.out / f"labels-{start:07d}.npy", np.stack([crop.label for crop in crops]))
        save_array(config.out / f"images-{start:07d}.npy", np.stack([crop.image for crop in crops]))


def _keep_settings(config: CropsConfig) -> None:
    """Note what crops are drawn by, and refuse to go on with others'."""
    path = config.out / SETTINGS
    settings = config.model_dump(mode="json", exclude={"out", "count"})
    made_by = json.loads(path.read_text(encoding="utf-8")) if path.exists() else settings
    differing = [name for name in settings if settings[name] != made_by.get(name)]
    if differing:
        raise InputError(
            f"The crops in {config.out} were drawn with other values of {', '.join(differing)}.",
            hint="Draw these into another folder (crops: out), or remove that one.",
            code="other_crops",
        )
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
