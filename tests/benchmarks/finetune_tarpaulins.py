"""Roofs that are covered with tarpaulins, as after a storm, for the benchmark of fine-tuning.

The same sheets lie on open ground, where they are no damage: what tells them apart is the roof beneath. Two dates show
a place in another season, light and sensor each; none of that is a change either.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from changen2.jobs.generation.look import Look
from changen2.training.crops import Crop, resample
from changen2.training.places import BUILDING, IGNORE, Place, PlacePair
from changen2.training.sources import SOURCES, read_south_tyrol

GSD = 0.3
LEARNED_SIDE, MEASURED_SIDE = 160, 256
"""Pixels; what the embedded detectors left out of the towns they learned from is narrow."""
TOWNS = ("banepa", "spacenet1_rio", "spacenet2")
OVERLAPPING = {
    "2af2c358-1248468_5819929",
    "77c2a03f-1248333_5819831",
    "991683c9-1248340_5819673",
    "9c062ace-1248468_5819673",
    "a3668af2-1248468_5819545",
}
"""Images of South Tyrol that show a part of what others, which the embedded detectors have seen, show as well."""
LOOK = Look(photometry=0.6, season=0.6, misregistration=1.5, view_shift=0.0)
"""How the dates of a real image differ."""

SHEETS = np.array([[35, 85, 160], [70, 110, 80], [190, 190, 185], [120, 105, 90]], float)
OFTEN = np.array([0.6, 0.1, 0.15, 0.15])
"""Colours 0..255, blue, green, white and brown, and how often each is met."""
STATES = ((False, True), (True, False), (True, True))
STATE_OFTEN = np.array([5, 2, 2]) / 9
"""Whether a sheet lies there at either date."""
FIRST_SEED = 3000
"""The rate of learning was chosen on what seeds below draw."""
LEAST_ROOF, LEAST_SHEET = 150, 25  # pixels
OVERSAMPLING = 3

Colours = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Sheet(NamedTuple):
    """A rectangle: middle in pixels, half length and half width in metres, angle in radians."""

    x: float
    y: float
    half_u: float
    half_v: float
    angle: float

    def share(self, side: int) -> Colours:
        """How much of each pixel it covers, 0..1 ``[side, side]``."""
        fine = (np.arange(side * OVERSAMPLING) + 0.5) / OVERSAMPLING
        dx, dy = (fine[None] - self.x) * GSD, (fine[:, None] - self.y) * GSD
        u = dx * np.cos(self.angle) + dy * np.sin(self.angle)
        v = dy * np.cos(self.angle) - dx * np.sin(self.angle)
        inside = (np.abs(u) < self.half_u) & (np.abs(v) < self.half_v)
        return inside.reshape(side, OVERSAMPLING, side, OVERSAMPLING).mean((1, 3))


def along(part: Mask) -> float:
    """Angle of the longer axis of a region, radians."""
    rows, columns = np.nonzero(part)
    _, axes = np.linalg.eigh(np.cov(np.stack([columns, rows])) + 1e-3 * np.eye(2))
    return float(np.arctan2(axes[1, 1], axes[0, 1]))


def lay(date: Colours, share: Colours, colour: Colours, rng: np.random.Generator) -> Colours:
    """Lay a sheet over a date ``[h, w, 3]``; the relief beneath it shows through."""
    grey = date.mean(axis=2)
    relief = ndimage.gaussian_filter(grey, 0.7) / np.maximum(ndimage.gaussian_filter(grey, 8), 10)
    cloth = colour * np.clip(relief, 0.7, 1.35)[..., None] * date.mean() / 105 + rng.normal(0, 4, date.shape)
    return date * (1 - share[..., None]) + np.clip(cloth, 0, 255) * share[..., None]


def draw_example(ground: Crop, name: str, held_out: bool, seed: int) -> PlacePair | None:
    """One place at two dates, with sheets on roofs and as many on open ground; None if it has no place for both."""
    rng = np.random.default_rng((9, seed))
    roofs = ground.label == BUILDING
    side = len(roofs)
    numbers, count = ndimage.label(roofs)
    large = [n for n in range(1, count + 1) if (numbers == n).sum() > LEAST_ROOF]
    open_ground = ~ndimage.binary_dilation(roofs, iterations=3) & (ground.label != IGNORE)
    if not large or open_ground.mean() < 0.15:
        return None
    moved = LOOK.moved(ground.image, np.zeros_like(roofs), rng)
    dates = [np.clip(np.rint(LOOK.seen(date, rng)), 0, 255).astype(np.float64) for date in (ground.image, moved)]
    change, taken = np.zeros_like(roofs), np.zeros_like(roofs)
    each = int(rng.integers(2, 6))
    for on_roof in [True] * each + [False] * each:
        for _ in range(20):
            part = numbers == rng.choice(large) if on_roof else open_ground
            rows, columns = np.nonzero(part)
            at = rng.integers(len(rows))
            angle = along(part) + rng.normal(0, 0.06) if on_roof else rng.uniform(0, np.pi)
            sheet = Sheet(columns[at] + 0.5, rows[at] + 0.5, rng.uniform(1.5, 4.5), rng.uniform(1.2, 3.0), angle)
            share = sheet.share(side)
            share = share * part if on_roof else share  # a sheet ends where its roof does
            fits = on_roof or not ((share > 0) & ~open_ground).any()
            if fits and (share > 0.5).sum() > LEAST_SHEET and not ((share > 0) & taken).any():
                break
        else:
            continue
        taken |= ndimage.binary_dilation(share > 0, iterations=2)
        there = STATES[0] if on_roof and not change.any() else STATES[rng.choice(3, p=STATE_OFTEN)]
        colour = SHEETS[rng.choice(4, p=OFTEN)] * rng.uniform(0.8, 1.2, 3)
        for index in range(2):
            if there[index]:
                dates[index] = lay(dates[index], share, colour, np.random.default_rng((seed, index)))
        if on_roof and there[0] != there[1]:
            change |= share > 0.5
    if not change.any():
        return None
    unknown = np.full(roofs.shape, IGNORE, np.uint8)
    label = np.where(ground.label == IGNORE, IGNORE, change.astype(np.uint8))
    images = [np.clip(np.rint(date), 0, 255).astype(np.uint8) for date in dates]
    layers = ((images[0], unknown), (images[1], unknown), (images[1], label))
    return PlacePair(*(Place("tarpaulins", name, image, label, GSD, held_out) for image, label in layers))


def cut(place: Place, side: int, rng: np.random.Generator) -> Crop | None:
    """A square of ``side`` pixels of GSD somewhere in a place; None if it is too small."""
    span = round(side * GSD / place.gsd)
    room = [length - span for length in place.label.shape]
    if min(room) < 0:
        return None
    row, column = (int(rng.integers(free + 1)) for free in room)
    return resample(place, slice(row, row + span), slice(column, column + span), (side, side))


def draw(places: list[Place], side: int, held_out: bool, seed: int) -> PlacePair:
    """The first example that a seed finds room for.

    Raises:
        ValueError: none of these places has room for one.
    """
    rng = np.random.default_rng((10, seed))
    for _ in range(1000):
        place = places[int(rng.integers(len(places)))]
        ground = cut(place, side, rng)
        example = ground and draw_example(ground, place.name, held_out, seed)
        if example:
            return example
    raise ValueError(f"none of {len(places)} places has roofs and open ground on {side} x {side} pixels of {GSD} m")


def divided(town: list[Place]) -> dict[bool, list[Place]]:
    """The places of a town to learn from (False) and to hold out (True), which share no ground."""
    if len(town) > 1:
        return {False: town[:-1], True: town[-1:]}
    (place,) = town
    rows = len(place.label) * 3 // 4
    parts = (slice(0, rows), slice(rows, None))
    above, below = (replace(place, image=place.image[part], label=place.label[part]) for part in parts)
    return {False: [above], True: [below]}


def examples(imagery: Path, seed: int, pairs: int, measured: int) -> tuple[list[PlacePair], list[PlacePair]]:
    """Pairs of towns to learn from, every fifth held out, and some of another country to measure on.

    Args:
        imagery: the folder that holds ``train`` and ``val``.
        seed: decides what is drawn, and where.
        pairs: how many to learn from.
        measured: how many to measure on.
    """
    # What the embedded detectors' training left out of these towns, and images of Tyrol that they have not seen.
    towns = [divided([place for place in SOURCES[name](imagery / "train" / name) if place.held_out]) for name in TOWNS]
    tyrol = read_south_tyrol(imagery / "val" / "south_tyrol")
    tyrol = [place for place in tyrol if place.name not in OVERLAPPING]
    first = FIRST_SEED + 1000 * seed
    held_out = [index % 5 == 4 for index in range(pairs)]
    known = [
        draw(towns[index % len(towns)][held_out[index]], LEARNED_SIDE, held_out[index], first + index)
        for index in range(pairs)
    ]
    return known, [draw(tyrol, MEASURED_SIDE, True, first + 500 + index) for index in range(measured)]
