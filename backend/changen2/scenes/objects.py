"""Trees and cars."""

from __future__ import annotations

import numpy as np

from changen2.scenes.buildings import slope_light
from changen2.scenes.canvas import Canvas, Noise, linear
from changen2.scenes.classes import BACKGROUND, VEGETATION
from changen2.scenes.layout import Layout, Street, Tree
from changen2.scenes.style import DateStyle, SceneStyle

Rng = np.random.Generator

CAR_COLOURS = [
    (225, 225, 225), (40, 42, 46), (130, 132, 136), (180, 182, 186), (150, 40, 38), (48, 70, 120),
    (95, 85, 75),
]  # fmt: skip


def draw_tree(canvas: Canvas, noise: Noise, seed: int, tree: Tree, date: DateStyle, index: int) -> None:
    """A lumpy crown lit from the sun's side; a bare deciduous one is a veil of twigs."""
    radius = tree.radius * tree.scale[index]
    if radius < 0.4:
        return
    patch = canvas.patch(tree.x, tree.y, 0.0, radius * 1.25, radius * 1.25)
    if patch is None or min(patch.u.shape) < 2:
        return
    rng = np.random.default_rng(seed)
    lumps = noise.cut("patchy", patch.u.shape, rng)
    grain = noise.cut("grain", patch.u.shape, rng)
    distance = np.hypot(patch.u, patch.v) / radius + 0.13 * lumps
    leaf = 1.0 if tree.evergreen else date.leaf
    cover = np.clip((1 - distance) * 6, 0, 1)
    if leaf < 0.99:
        twigs = np.clip(grain * 1.2 + 0.2 + 1.6 * leaf, 0, 1)
        cover = cover * (leaf + (1 - leaf) * (0.25 + 0.55 * twigs)) * np.clip(leaf + twigs, 0, 1)
    dome = np.sqrt(np.clip(1 - distance**2, 0, 1))
    top = radius * (1.15 + 0.9 * dome) + 0.35 * radius * lumps * dome + 0.12 * radius * grain
    dy, dx = np.gradient(top, canvas.pixel)
    limit = 1.6
    light = slope_light(date, np.clip(dx * 0.7, -limit, limit), np.clip(dy * 0.7, -limit, limit))
    bare = linear((120, 106, 90))
    colour = linear(tree.colour) * leaf + bare * (1 - leaf)
    if not tree.evergreen and date.greenness < 0.35 and leaf > 0.3:
        colour = colour * np.array([1.35, 1.1, 0.8], np.float32)
    tint = colour * (1 + 0.16 * grain + 0.1 * lumps)[..., None]
    canvas.paint(patch, cover.astype(np.float32), np.maximum(tint, 0.003).astype(np.float32))
    over = cover > 0.5
    houses = canvas.building[patch.window] > 0
    canvas.semantic[patch.window][over & ~houses] = VEGETATION
    # A bare crown is a veil: light falls through most of it.
    over &= 0.5 * grain + leaf > 0.35
    view = canvas.elevation[patch.window]
    view[over] = np.maximum(view[over], top[over])
    lit = canvas.slope_light[patch.window]
    lit[over] = 0.35 + 0.65 * light[over]


def draw_car(canvas: Canvas, rng: Rng, x: float, y: float, angle: float) -> None:
    """A car or van of random colour with dark glass."""
    length, width = float(rng.uniform(2.0, 2.5)), float(rng.uniform(0.85, 1.0))
    if rng.random() < 0.06:
        length, width = float(rng.uniform(3.5, 6)), 1.25
    patch = canvas.patch(x, y, angle, length, width)
    if patch is None:
        return
    colour = linear(np.array(CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))]) * rng.uniform(0.85, 1.1))
    body = patch.box(0, 0, length, width)
    houses = canvas.building[patch.window] > 0
    body &= ~houses
    canvas.paint(patch, body, colour, BACKGROUND)
    glass = body & (np.abs(np.abs(patch.u + 0.15) - length * 0.42) < 0.3) & (np.abs(patch.v) < width * 0.85)
    canvas.paint(patch, glass, linear((52, 58, 66)))
    canvas.elevation[patch.window][body] = 1.4
    canvas.slope_light[patch.window][body] = 1.1


def draw_cars(canvas: Canvas, rng: Rng, style: SceneStyle, layout: Layout, index: int) -> None:
    """Cars of one date: driving or parked along streets, and in yards."""
    busy = {"town": 0.16, "suburb": 0.06, "industrial": 0.08}.get(style.kind, 0.025)
    for street in layout.streets:
        if street.dates[index]:
            _street_cars(canvas, rng, street, busy)
    for lot in layout.lots:
        if lot.house is None or not lot.house.dates[index]:
            continue
        many = int(rng.poisson(4)) if style.kind == "industrial" else int(rng.random() < 0.35)
        for k in range(many):
            u = float(rng.uniform(-0.6, 0.6)) * lot.half_u if many == 1 else -lot.half_u * 0.8 + 3 * k
            v = -lot.half_v + float(rng.uniform(1.5, 3.5)) if many == 1 else -lot.half_v + 3
            x = lot.x + u * np.cos(lot.angle) - v * np.sin(lot.angle)
            y = lot.y + u * np.sin(lot.angle) + v * np.cos(lot.angle)
            draw_car(canvas, rng, x, y, lot.angle + np.pi / 2 + float(rng.normal(0, 0.06)))


def _street_cars(canvas: Canvas, rng: Rng, street: Street, busy: float) -> None:
    chosen = np.flatnonzero(rng.random(len(street.points) - 1) < busy)
    for i in chosen:
        (x0, y0), (x1, y1) = street.points[i], street.points[i + 1]
        angle = float(np.arctan2(y1 - y0, x1 - x0))
        lane = float(rng.choice([-1, 1])) * street.width * float(rng.choice([0.25, 0.4]))
        draw_car(
            canvas,
            rng,
            x0 - np.sin(angle) * lane,
            y0 + np.cos(angle) * lane,
            angle + float(rng.normal(0, 0.03)),
        )
