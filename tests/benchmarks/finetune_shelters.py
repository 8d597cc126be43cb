"""Shelters drawn over real images, for the benchmark of fine-tuning.

Each is 3 to 10 m long, in a colour of the ground around it. Two dates show the image in another season, light and
sensor each; none of that is a change.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from changen2.jobs.generation.look import Look
from changen2.training.places import IGNORE, Place, PlacePair

SIZE = 256
GSD = 0.3
GROUND_GSD = 0.27
"""Metres per pixel of the images."""
LOOK = Look(photometry=0.6, season=0.6, misregistration=1.5, view_shift=0.0)
"""How the dates of a real image differ."""
OVERSAMPLING = 3


def draw_shelter(
    picture: NDArray[np.uint8], place: tuple[float, ...], tarp: NDArray[np.float64], look: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a shelter with two slopes and its shadow over a picture.

    Args:
        picture: uint8 ``[h, w, 3]``.
        place: x, y of the centre, half length and half width in metres, angle in radians.
        tarp: its colour, 0..255 ``[3]``.
        look: randomness of the day: brightness, where the sun stands.

    Returns:
        The picture, and which pixels the shelter covers ``[h, w]``.
    """
    x, y, half_u, half_v, angle = place
    fine = (np.arange(SIZE * OVERSAMPLING) + 0.5) / OVERSAMPLING * GSD
    sun = look.uniform(0, 2 * np.pi)
    reach = look.uniform(0.8, 2.2)

    def frame(along: float, down: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        dx, dy = fine[None] - x - along, fine[:, None] - y - down
        return dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)

    u, v = frame(0, 0)
    inside = (np.abs(u) < half_u) & (np.abs(v) < half_v)
    shaded_u, shaded_v = frame(-reach * np.cos(sun), -reach * np.sin(sun))
    shadow = (np.abs(shaded_u) < half_u) & (np.abs(shaded_v) < half_v) & ~inside
    towards = float(np.cos(sun - angle - np.pi / 2))  # of the sun, across the ridge
    light = float(look.uniform(0.8, 1.2)) * picture.mean() / 110
    slopes = np.where(v > 0, 1 - 0.25 * towards, 1 + 0.25 * towards) * (1 - 0.12 * (np.abs(v) < 0.15))
    result = picture.astype(np.float64)
    share = shadow.reshape(SIZE, OVERSAMPLING, SIZE, OVERSAMPLING).mean((1, 3))[..., None]
    result *= 1 - 0.55 * share
    cloth = np.where(inside, slopes * light, 0.0).reshape(SIZE, OVERSAMPLING, SIZE, OVERSAMPLING).mean((1, 3))
    share = inside.reshape(SIZE, OVERSAMPLING, SIZE, OVERSAMPLING).mean((1, 3))[..., None]
    grain = look.normal(0, 3, (SIZE, SIZE, 1))
    result = result * (1 - share) + np.clip(cloth[..., None] * tarp + share * grain, 0, 255)
    covered = inside[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]
    return np.clip(np.rint(result), 0, 255).astype(np.uint8), covered


def ground_of(path: Path, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Part of an image as two dates show it, uint8 ``[h, w, 3]`` each."""
    image = Image.open(path).convert("RGB")
    span = round(SIZE * GSD / GROUND_GSD)
    left, top = (int(rng.integers(length - span + 1)) for length in image.size)
    part = image.crop((left, top, left + span, top + span)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    picture = np.asarray(part, np.float32)
    moved = LOOK.moved(picture, np.zeros((SIZE, SIZE), bool), rng)
    return [np.clip(np.rint(LOOK.seen(date, rng)), 0, 255).astype(np.uint8) for date in (picture, moved)]


def tarp_of(ground: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour of the ground, paler and mostly lighter, 0..255 ``[3]``."""
    colour = ground[tuple(rng.integers(ground.shape[:2]))].astype(np.float64)
    grey = colour.mean()
    return np.clip((grey + (colour - grey) * rng.uniform(0.5, 1.2)) * rng.uniform(0.8, 1.5), 20, 245)


def draw_example(seed: int, held_out: bool, images: list[Path]) -> PlacePair:
    """One place at two dates: shelters that stayed, came and went, while the ground only looked different."""
    rng = np.random.default_rng((7, seed))
    dates = ground_of(images[int(rng.integers(len(images)))], rng)
    ground = dates[0]
    states = [(True, True), (False, True), (True, False)]
    change, taken = np.zeros((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), bool)
    for number in range(int(rng.integers(3, 9))):
        place = (*rng.uniform(0.05, 0.95, 2) * SIZE * GSD, *rng.uniform((2.5, 1.6), (5, 3)), rng.uniform(0, np.pi))
        tarp = tarp_of(ground, rng)
        covered = draw_shelter(ground, place, tarp, rng)[1]
        if (covered & taken).any() or not covered.any():
            continue
        there = states[1 + int(rng.integers(2)) if number == 0 else int(rng.integers(3))]
        taken |= covered
        change |= covered & (there[0] != there[1])
        for index in range(2):
            if there[index]:
                dates[index] = draw_shelter(dates[index], place, tarp, np.random.default_rng((seed, index)))[0]
    unknown = np.full((SIZE, SIZE), IGNORE, np.uint8)
    layers = ((dates[0], unknown), (dates[1], unknown), (dates[1], change.astype(np.uint8)))
    return PlacePair(*(Place("shelters", str(seed), image, label, GSD, held_out) for image, label in layers))


def examples(imagery: Path, seed: int, pairs: int, measured: int) -> tuple[list[PlacePair], list[PlacePair]]:
    """Pairs to learn from, every fifth held out, and some of other images to measure on.

    Args:
        imagery: the folder that holds ``val/south_tyrol``.
        seed: decides what is drawn, and where.
        pairs: how many to learn from.
        measured: how many to measure on.
    """
    # Every other image: the rest the embedded detector has seen, without labels.
    images = sorted((imagery / "val" / "south_tyrol" / "images").iterdir())[1::2]
    first = 1000 * seed
    known = [draw_example(first + index, index % 5 == 4, images[::2]) for index in range(pairs)]
    return known, [draw_example(first + 500 + index, True, images[1::2]) for index in range(measured)]
