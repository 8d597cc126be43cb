"""One scene at two dates, with labels that are right by construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError
from changen2.scenes import ground
from changen2.scenes.buildings import draw_house
from changen2.scenes.canvas import Canvas, Floats, Noise
from changen2.scenes.layout import Layout
from changen2.scenes.light import expose, illuminate, lean
from changen2.scenes.objects import draw_cars, draw_tree
from changen2.scenes.plan import plan
from changen2.scenes.style import DateStyle, SceneStyle

OVERSAMPLING = 2


@dataclass(frozen=True)
class ScenePair:
    """Two pictures of one place.

    Attributes:
        before: uint8 [h, w, 3].
        after: uint8 [h, w, 3].
        semantic_before: uint8 [h, w], see ``changen2.scenes.classes``.
        semantic_after: uint8 [h, w].
        change: bool [h, w], where a building was built or taken away, at its place in the picture.
        style: what was drawn.
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    semantic_before: NDArray[np.uint8]
    semantic_after: NDArray[np.uint8]
    change: NDArray[np.bool_]
    style: SceneStyle


def draw_pair(
    seed: int | np.random.Generator,
    height: int,
    width: int,
    gsd: float,
    style: SceneStyle | None = None,
    check: Callable[[], None] = lambda: None,
) -> ScenePair:
    """Draw a scene before and after.

    Between the dates houses are built and removed, often with the ground around them; light, season, viewing
    angle, crops, cars, trees and empty lots change as well and are no change in the label.

    Args:
        seed: an integer, or a generator that is advanced by one draw.
        height: pixels.
        width: pixels.
        gsd: ground sampling distance in metres, 0.1 to 2.
        style: what to draw; random by default.
        check: called between objects and steps; what it raises ends the drawing.

    Raises:
        InputError: a size below 16 pixels or a ground sampling distance out of range.
    """
    if min(height, width) < 16:
        raise InputError(f"A scene of {height} × {width} pixels is too small.", hint="Use at least 16 × 16.")
    if not 0.1 <= gsd <= 2:
        raise InputError(f"A ground sampling distance of {gsd} m cannot be drawn.", hint="Use 0.1 to 2 m.")
    root = seed if isinstance(seed, int) else int(seed.integers(2**63))
    children = np.random.SeedSequence(root).spawn(6)
    style = style or SceneStyle.random(np.random.default_rng(children[0]))
    pixel = gsd / OVERSAMPLING
    shape = (height * OVERSAMPLING, width * OVERSAMPLING)
    layout = plan(np.random.default_rng(children[1]), style, height * gsd, width * gsd)
    noise = Noise(np.random.default_rng(children[2]), shape)
    pictures, semantics, buildings = [], [], []
    for index, date in enumerate((style.before, style.after)):
        canvas = Canvas(shape, pixel)
        season = np.random.default_rng(children[3 + index])
        place = np.random.default_rng(children[5])
        _paint(canvas, noise, place, season, style, layout, date, index, check)
        check()
        light = illuminate(canvas, date)
        check()
        lean(canvas, light, date)
        pictures.append(expose(shrink(light), date, season))
        middle = (slice(OVERSAMPLING // 2, None, OVERSAMPLING),) * 2
        semantics.append(canvas.semantic[middle].copy())
        buildings.append(canvas.building[middle])
    changed = [house.identity for house in layout.houses if house.dates[0] != house.dates[1]]
    change = np.isin(buildings[0], changed) | np.isin(buildings[1], changed)
    return ScenePair(pictures[0], pictures[1], semantics[0], semantics[1], change, style)


def _paint(
    canvas: Canvas,
    noise: Noise,
    place: np.random.Generator,
    season: np.random.Generator,
    style: SceneStyle,
    layout: Layout,
    date: DateStyle,
    index: int,
    check: Callable[[], None],
) -> None:
    """Paint one date from the ground up: land, water, lots, streets, cars, houses, trees."""
    ground.open_land(canvas, noise, place, style, date)
    if style.fields:
        wild = canvas.colour.copy(), canvas.semantic.copy()
        ground.fields(canvas, noise, place, season, style, layout, date)
        ground.fallow(canvas, layout, index, *wild)
    ground.water(canvas, noise, place, style, layout)
    salt = int(place.integers(2**31))
    for number, lot in enumerate(layout.lots):
        check()
        # The same lot looks alike at both dates unless its own state changed.
        ground.lot(canvas, noise, np.random.default_rng((salt, number)), style, date, lot, index)
    ground.streets(canvas, noise, place, style, layout, index)
    draw_cars(canvas, season, style, layout, index)
    for house in layout.houses:
        check()
        if house.dates[index]:
            age = float(np.random.default_rng((salt, 1, house.identity)).random())
            draw_house(canvas, noise, salt + house.identity, house, date, age if house.dates[0] else 0.1)
    for number, tree in enumerate(layout.trees):
        check()
        if tree.scale[index] > 0:
            draw_tree(canvas, noise, salt - number - 1 if salt > number else number, tree, date, index)


def shrink(light: Floats) -> Floats:
    """Average ``OVERSAMPLING``² subpixels into one pixel."""
    height, width = light.shape[0] // OVERSAMPLING, light.shape[1] // OVERSAMPLING
    return light.reshape(height, OVERSAMPLING, width, OVERSAMPLING, 3).mean((1, 3))
