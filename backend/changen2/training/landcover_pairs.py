"""Pairs of dates with land cover and its change, made from single dates.

The second date is the first one, wholly or in regions laid over with an unrelated place (single-temporal supervision,
Zheng et al., ICCV 2021). Where nothing was laid over nothing changed, whatever the place's label knows; elsewhere
change is what both classes tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from changen2.scenes.classes import LAND, VEGETATION
from changen2.training.config import TrainingConfig
from changen2.training.crops import Crop, Cut, random_cut
from changen2.training.examples import draw_key, kept, misregister
from changen2.training.landcover import class_change, greenness
from changen2.training.pairs import Pair, blob, feather, match_tone, overlay
from changen2.training.photometry import relight, resense
from changen2.training.places import IGNORE, Bytes, Place, PlacePair

Mask = NDArray[np.bool_]
DrawCrop = Callable[[], Crop]

CENTRED = 0.8  # share of crops put around a class, drawn evenly of those that the place has
RIM = 3  # pixels around change in which coarse labels do not tell where it ends


def cut_classes(place: Place, cut: Cut) -> Crop:
    """The crop of a place whose label holds classes; they are resampled to the nearest."""
    size = (cut.shape[1], cut.shape[0])
    image = np.ascontiguousarray(place.image[cut.rows, cut.columns])
    label = np.ascontiguousarray(place.label[cut.rows, cut.columns])
    crop = Crop(
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), dtype=np.float32),
        np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST)),
    )
    if cut.shape != (cut.size, cut.size):
        pads = ((0, cut.size - cut.shape[0]), (0, cut.size - cut.shape[1]))
        crop = Crop(np.pad(crop.image, (*pads, (0, 0)), "symmetric"), np.pad(crop.label, pads, "symmetric"))
    return crop.turned(cut.quarter_turns, cut.mirrored)


def draw_cut(place: Place, size: int, rng: np.random.Generator, gsd_range: tuple[float, float]) -> Cut:
    """Where to cut a crop, most often around a class drawn evenly of those that are known there."""
    known = np.unique(place.label[::8, ::8])
    known = known[known <= VEGETATION]
    centred = bool(len(known)) and rng.random() < CENTRED
    if centred:
        wanted = (place.label == rng.choice(known)).astype(np.uint8)
        place = Place(place.source, place.name, place.image, wanted, place.gsd)
    return random_cut(place, size, rng, gsd_range, centred=centred)


def parcels(size: int, rng: np.random.Generator) -> Mask:
    """One to five rectangles of any turn, as building sites and fields are."""
    rows, columns = np.mgrid[:size, :size] / size
    covered = np.zeros((size, size), bool)
    for _ in range(int(rng.integers(1, 6))):
        angle, y, x = rng.uniform(0, np.pi), *rng.uniform(0, 1, 2)
        half_length, half_width = rng.uniform(0.05, 0.35, 2)
        along = (rows - y) * np.sin(angle) + (columns - x) * np.cos(angle)
        across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        covered |= (np.abs(along) < half_length) & (np.abs(across) < half_width)
    return covered


def region(size: int, rng: np.random.Generator) -> Mask:
    """The part of a square that is laid over."""
    return parcels(size, rng) if rng.random() < 0.5 else blob(size, rng, rng.uniform(0.08, 0.7))


def season(crop: Crop, rng: np.random.Generator) -> Crop:
    """Fields and meadows at another time of the year: parts of what is green or bare take another colour.

    The label of what was recoloured is given up; that nothing changed there stays known to the pair.
    """
    fields = np.isin(crop.label, (LAND, VEGETATION)) | (greenness(crop.image) > 0.04)
    alpha = np.zeros(crop.label.shape, np.float32)
    image = crop.image
    for _ in range(int(rng.integers(1, 5))):
        reach = np.ones_like(fields) if rng.random() < 0.3 else region(len(fields), rng)
        share = feather(fields & reach, rng.uniform(0.5, 2)) * np.float32(rng.uniform(0.2, 0.9))
        tint = np.array([1, 1, 1]) + rng.uniform(-1, 1) * np.array([-0.25, 0.15, -0.25]) + rng.normal(0, 0.07, 3)
        recoloured = image.mean(axis=2, keepdims=True) * (tint * rng.uniform(0.6, 1.4)).astype(np.float32)
        image = image + share[..., None] * (recoloured - image)
        alpha = np.maximum(alpha, share)
    label = np.where(alpha > 0.3, IGNORE, crop.label).astype(np.uint8)
    return Crop(np.clip(image, 0, 255).astype(np.float32), label)


def sensed(crop: Crop, config: TrainingConfig, rng: np.random.Generator) -> Crop:
    """A crop as some day, haze and sensor show it, the sensor at times coarser than its pixels."""
    image = relight(crop.image, rng, config.colour_strength) if rng.random() < 0.95 else crop.image
    if rng.random() < 0.3:
        haze = rng.uniform(0.05, 0.45)
        veil = rng.uniform(120, 230) * (1 + rng.normal(0, 0.05, 3))
        image = (image * (1 - haze) + haze * veil).astype(np.float32)
    if rng.random() < 0.4:
        size = image.shape[0]
        coarse = round(size / rng.uniform(1.2, 3))
        picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
        picture = picture.resize((coarse, coarse), Image.Resampling.BOX)
        image = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    return Crop(resense(image, rng), crop.label)


def with_rim(change: Bytes, laid_over: Mask) -> Bytes:
    """Leave open what lies between and around changes, inside the part that was laid over."""
    changed = change == 1
    near = ndimage.binary_dilation(changed, iterations=RIM) & ~changed & laid_over
    return np.where(near, IGNORE, change).astype(np.uint8)


def dates_of(base: Crop, draw: DrawCrop, kind: str, rng: np.random.Generator) -> tuple[Crop, Bytes]:
    """What stands at the second date, and the change.

    Args:
        base: the first date.
        draw: gives a donor crop of the same size.
        kind: ``star`` (an unrelated crop), ``region`` or ``none``.
        rng: source of randomness.
    """
    if kind == "none":
        return base, np.zeros_like(base.label)
    donor = draw()
    if kind == "star":
        return donor, with_rim(class_change(base.label, donor.label), np.ones(base.label.shape, bool))
    alpha = feather(region(len(base.label), rng), rng.uniform(0, 2.5))
    laid_over = alpha > 0.5
    second = overlay(base, match_tone(donor, base, rng), alpha)
    change = np.where(laid_over, class_change(base.label, donor.label), 0).astype(np.uint8)
    return second, with_rim(change, laid_over)


def finish(first: Crop, second: Crop, change: Bytes, config: TrainingConfig, rng: np.random.Generator) -> Pair:
    """A pair of crops with a margin of ``max_shift``: order drawn, each in its own light and season, shifted."""
    if rng.random() < 0.5:
        first, second = second, first
    first, second = (season(crop, rng) if rng.random() < 0.35 else crop for crop in (first, second))
    middle = slice(config.max_shift, config.max_shift + config.crop_size)
    still = misregister(first, config.crop_size, 0, rng)
    moved = misregister(second, config.crop_size, config.max_shift if rng.random() < 0.7 else 0, rng)
    pair = Pair(sensed(still, config, rng), sensed(moved, config, rng), change[middle, middle])
    return kept(pair, config, rng)


def drawn_from(places: Mapping[str, Sequence[Place]], config: TrainingConfig, rng: np.random.Generator) -> DrawCrop:
    """What draws crops for one pair, with a margin of ``max_shift``: both dates are seen at one scale."""
    size = config.crop_size + 2 * config.max_shift
    low, high = (float(np.log(gsd)) for gsd in config.gsd_range)
    gsd = float(np.exp(rng.uniform(low, high)))

    def draw() -> Crop:
        source = places[draw_key(config.sources, rng)]
        areas = np.array([place.label.size * place.gsd**2 for place in source]) ** 0.5
        place = source[rng.choice(len(source), p=areas / areas.sum())]
        # A small place is seen closer: mirrored over and over it would teach kaleidoscopes.
        largest = 1.1 * min(place.label.shape) * place.gsd / size
        wanted = min(gsd, largest)
        return cut_classes(place, draw_cut(place, size, rng, (0.9 * wanted, 1.1 * wanted)))

    return draw


def make_pair(
    places: Mapping[str, Sequence[Place]], config: TrainingConfig, kind: str, rng: np.random.Generator
) -> Pair:
    """One pair made of single dates."""
    draw = drawn_from(places, config, rng)
    first = draw()
    return finish(first, *dates_of(first, draw, kind, rng), config, rng)


def cut_pair(pairs: Sequence[PlacePair], config: TrainingConfig, rng: np.random.Generator) -> Pair:
    """One pair cut out of two drawn dates, most often where something changed."""
    pair = pairs[int(rng.integers(len(pairs)))]
    size = config.crop_size + 2 * config.max_shift
    finest = pair.change.gsd
    cut = random_cut(pair.change, size, rng, (0.6 * finest, 1.3 * finest), centred=rng.random() < 0.6)
    before, after = (cut_classes(date, cut) for date in (pair.before, pair.after))
    return finish(before, after, cut_classes(pair.change, cut).label, config, rng)
