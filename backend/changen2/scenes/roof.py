"""One roof by itself, on a footprint that somebody gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from changen2.scenes.buildings import draw_house
from changen2.scenes.canvas import Canvas, Noise, linear
from changen2.scenes.layout import BOTH, COVERINGS, ROOF_SHAPES, House
from changen2.scenes.light import expose, illuminate
from changen2.scenes.pair import OVERSAMPLING, shrink
from changen2.scenes.style import ROOF_COLOURS, Colour, DateStyle

GROUND = (120, 116, 100)
"""Behind the roof, for the sensor's blur along its eaves."""

PITCHED, HALL_M2 = (0.42, 0.38, 0.12, 0.08), 400.0
"""Weights of gable, hip, flat and shed; from so many square metres on a roof is a hall's, and flat."""

COVERED = (0.35, 0.35, 0.15, 0.15)
"""Weights of shingle, tile, metal and membrane."""

TRIES = 3
"""Colours among which the one least like the ground is taken."""


def clear_day(seed: Sequence[int]) -> DateStyle:
    """A day of some sun without haze or colour cast, seen from straight above: all roofs of a seed share its sun."""
    day = DateStyle.random(np.random.default_rng(seed))
    return replace(
        day, lean=(0.0, 0.0), haze=0.0, exposure=1.0, cast=(1.0, 1.0, 1.0), contrast=1.0, blur=0.5, noise=1.0, jpeg=None
    )


def draw_roof(
    parts: Sequence[tuple[float, float, float, float]],
    place: tuple[float, float, float],
    shape: tuple[int, int],
    gsd: float,
    day: DateStyle,
    around: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Draw a roof of some common kind that can be told from the ground.

    Args:
        parts: rectangles (u, v, half_u, half_v) of its footprint in metres, in its own frame.
        place: x to the right, y downwards in metres, and the angle of u from +x towards +y.
        shape: rows, columns of the picture.
        gsd: metres a pixel.
        day: light and sensor.
        around: usual colour of what the roof will lie on, sRGB [3].
        rng: decides shape, covering and colour.

    Returns:
        sRGB [h, w, 3]; plain ground beside the roof.
    """
    is_hall = sum(4 * a * b for _, _, a, b in parts) > HALL_M2
    roof = "flat" if is_hall else str(rng.choice(ROOF_SHAPES, p=PITCHED))
    tried = [_covered(roof, rng) for _ in range(TRIES)]
    covering, colour = max(tried, key=lambda each: float(np.abs(np.array(each[1]) - around).sum()))
    eave, pitch = float(rng.uniform(2.4, 6)), float(rng.uniform(0.35, 0.8))
    x, y, angle = place
    house = House(1, x, y, angle, tuple(parts), roof, covering, colour, eave, pitch, BOTH)
    fine = (shape[0] * OVERSAMPLING, shape[1] * OVERSAMPLING)
    canvas = Canvas(fine, gsd / OVERSAMPLING)
    canvas.colour[:] = linear(GROUND)
    draw_house(canvas, Noise(rng, fine), int(rng.integers(2**31)), house, day, float(rng.random()))
    return expose(shrink(illuminate(canvas, day)), day, rng)


def _covered(roof: str, rng: np.random.Generator) -> tuple[str, Colour]:
    """A covering and its colour."""
    covering = str(rng.choice(COVERINGS, p=COVERED))
    if roof == "flat" and covering in ("shingle", "tile"):
        covering = "membrane"
    tones = ROOF_COLOURS[covering]
    tone = np.clip(np.array(tones[int(rng.integers(len(tones)))]) * np.exp(rng.normal(0, 0.08)), 25, 245)
    return covering, (float(tone[0]), float(tone[1]), float(tone[2]))
