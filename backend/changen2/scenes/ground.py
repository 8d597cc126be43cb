"""Everything flat: open land, fields, water, streets, yards, drives and pools."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from changen2.scenes.canvas import Bools, Canvas, Floats, Noise, linear
from changen2.scenes.classes import BACKGROUND, LAND, ROAD, VEGETATION, WATER
from changen2.scenes.layout import Layout, Lot, Street
from changen2.scenes.style import DateStyle, SceneStyle

Rng = np.random.Generator


def grass(style: SceneStyle, date: DateStyle) -> Floats:
    """The colour of grass in this season."""
    return linear(style.dry) * (1 - date.greenness) + linear(style.lush) * date.greenness


def textured(colour: Floats, *layers: Floats) -> Floats:
    """A colour [h, w, 3] whose brightness follows the product of ``1 + layer``."""
    factor = np.ones_like(layers[0])
    for layer in layers:
        factor = factor * (1 + layer)
    return colour * np.maximum(factor, 0.15)[..., None]


def open_land(canvas: Canvas, noise: Noise, place: Rng, style: SceneStyle, date: DateStyle) -> None:
    """Grass and soil in patches, with tufts; the patches belong to the place, their colour to the date."""
    cover = noise.field("patchy", place) + 0.4 * noise.field("grain", place)
    tufts = noise.field("grain", place)
    light = noise.field("smooth", place)
    share = 0.35 + 0.75 * date.greenness
    green = np.clip((cover + share) * 1.2 + 0.5, 0, 1)[..., None]
    colour = green * grass(style, date) + (1 - green) * linear(style.soil)
    hue = noise.field("patchy", place)[..., None] * np.array([0.07, 0.0, -0.06], np.float32)
    strength = float(place.uniform(0.08, 0.22))
    canvas.colour[:] = textured(
        colour * (1 + hue), strength * tufts, 0.12 * light, 0.05 * cover, 0.05 * noise.field("fine", place)
    )
    bushes = np.clip(tufts - 1.9, 0, 0.5) * 2 * float(place.uniform(0, 1))
    canvas.colour *= (1 - 0.55 * bushes)[..., None]
    canvas.elevation[:] = 0.8 * bushes
    canvas.semantic[:] = np.where(green[..., 0] > 0.5, VEGETATION, LAND)


def fields(
    canvas: Canvas, noise: Noise, place: Rng, season: Rng, style: SceneStyle, layout: Layout, date: DateStyle
) -> None:
    """Farmed parcels in a turned grid; crops and rows change from date to date."""
    frame = canvas.whole(layout.angle + 0.3)
    width = float(place.uniform(35, 110))
    length = float(place.uniform(60, 200))
    column = np.floor(frame.u / width).astype(np.int32)
    column -= column.min()
    offsets = place.uniform(0, length, column.max() + 1).astype(np.float32)
    row = np.floor((frame.v + offsets[column]) / length).astype(np.int32)
    row -= row.min()
    parcel = column * (row.max() + 1) + row
    count = int(parcel.max()) + 1
    farmed = place.random(count) < 0.85
    across = place.random(count) < 0.5
    period = season.uniform(0.7, 3.5, count).astype(np.float32)
    depth = (season.uniform(0, 0.1, count) * (season.random(count) < 0.7)).astype(np.float32)
    crop = season.random(count)
    palette = np.stack(
        [
            grass(style, date),
            linear(style.soil),
            linear(style.dry),
            linear((92, 112, 64)),
            linear(style.soil) * 0.7,
        ]
    )
    chances = np.cumsum([0.2 + 0.3 * date.greenness, 0.2, 0.25, 0.2 * date.greenness, 0.15])
    kind = np.searchsorted(chances / chances[-1], crop)
    shade = np.exp(season.normal(0, 0.12, count)).astype(np.float32)
    colours = palette[kind] * shade[:, None]
    rows = np.sin(2 * np.pi * np.where(across[parcel], frame.u, frame.v) / period[parcel])
    colour = textured(
        colours[parcel],
        depth[parcel] * rows,
        0.05 * noise.field("fine", season),
        0.1 * noise.field("patchy", season),
        0.05 * noise.field("smooth", place),
    )
    edge = np.minimum(np.abs(frame.u / width - np.rint(frame.u / width)) * width, 99)
    where = farmed[parcel] & (edge > 0.8)
    canvas.paint(frame, where, colour)
    canvas.elevation[where] = 0
    planted = np.isin(kind, (0, 2, 3))
    canvas.semantic[where] = np.where(planted, VEGETATION, LAND)[parcel][where]


def fallow(canvas: Canvas, layout: Layout, index: int, colour: Floats, semantic: NDArray[np.uint8]) -> None:
    """Give settled land back to grass: nobody ploughs between houses.

    Args:
        canvas: painted in place.
        layout: its lots.
        index: the date.
        colour: the open land before fields were painted [h, w, 3].
        semantic: its classes [h, w].
    """
    for plot in layout.lots:
        patch = canvas.patch(plot.x, plot.y, plot.angle, plot.half_u + 4, plot.half_v + 4)
        if patch is None or not plot.kept[index]:
            continue
        soft = _soft_edge(patch.u, patch.v, plot.half_u + 4, plot.half_v + 4, 2.0)
        canvas.paint(patch, soft, colour[patch.window])
        inside = soft > 0.5
        canvas.semantic[patch.window][inside] = semantic[patch.window][inside]


def water(canvas: Canvas, noise: Noise, place: Rng, style: SceneStyle, layout: Layout) -> None:
    """A pond or a river with a noisy bank."""
    if style.water == "none":
        return
    frame = canvas.whole(layout.angle + 0.8)
    x, y = float(place.uniform(0, layout.width)), float(place.uniform(0, layout.height))
    u0 = x * frame.cosine + y * frame.sine
    v0 = -x * frame.sine + y * frame.cosine
    size = float(place.uniform(8, 22))
    bank = 2.5 * noise.field("smooth", place)
    if style.water == "river":
        wave = 14 * np.sin(frame.u / float(place.uniform(25, 60)))
        distance = np.abs(frame.v - v0 + wave) - size * 0.6
    else:
        distance = np.hypot(frame.u - u0, (frame.v - v0) * float(place.uniform(1, 2.2))) - size
    distance = distance + bank
    tint = linear((52, 70, 72)) * float(place.uniform(0.6, 1.6)) + linear((20, 24, 12))
    shore = linear(style.soil) * 0.75
    canvas.paint(frame, np.clip(1 - distance / 1.5, 0, 1).astype(np.float32), shore, LAND)
    canvas.paint(
        frame,
        np.clip(0.5 - distance, 0, 1).astype(np.float32),
        textured(tint[None, None], 0.04 * noise.field("fine", place)),
        WATER,
    )
    canvas.elevation[distance < 0.5] = 0


SURFACES = {"asphalt": (118, 117, 118), "concrete": (172, 169, 160), "dirt": (172, 150, 122)}


def streets(canvas: Canvas, noise: Noise, place: Rng, style: SceneStyle, layout: Layout, date: int) -> None:
    """Carriageways with verge or sidewalk, wear along the wheel tracks, and markings on some."""
    tones = {name: linear(np.array(c) * place.uniform(0.78, 1.2)) for name, c in SURFACES.items()}
    tones["dirt"] = linear(style.soil) * 0.6 + linear(SURFACES["dirt"]) * 0.5
    wear = 0.05 * noise.field("patchy", place) + 0.035 * noise.field("fine", place)
    cracks = 1 - 0.12 * np.clip(noise.field("grain", place) - 1.6, 0, 1)
    shine = ((1 + wear) * cracks)[..., None]
    there = [street for street in layout.streets if street.dates[date]]
    for layer in ("side", "road", "line"):
        for street in there:
            _street(canvas, shine, tones, style, street, layer)


def _street(
    canvas: Canvas, shine: Floats, tones: dict[str, Floats], style: SceneStyle, street: Street, layer: str
) -> None:
    """One layer of one street; painting a place twice gives the same, so segments may overlap."""
    half = street.width / 2
    along = 0.0
    ragged = 0.5 if street.surface == "dirt" else 0.0
    for (x0, y0), (x1, y1) in zip(street.points[:-1], street.points[1:], strict=True):
        length = float(np.hypot(x1 - x0, y1 - y0))
        angle = float(np.arctan2(y1 - y0, x1 - x0))
        patch = canvas.patch((x0 + x1) / 2, (y0 + y1) / 2, angle, length / 2 + half + 2, half + 2.5)
        along += length
        if patch is None:
            continue
        past = np.maximum(np.abs(patch.u) - length / 2, 0)
        distance = np.hypot(past, patch.v)
        texture = shine[patch.window]
        if layer == "side" and street.sidewalk:
            canvas.paint(patch, (distance < half + 2) & (distance > half + 0.6), linear((186, 182, 172)) * texture)
            canvas.paint(patch, distance < half + 0.6, linear((160, 156, 148)) * texture)
        elif layer == "side":
            soft = np.clip((half + 1.2 - distance) / 1.2, 0, 1) * 0.7
            canvas.paint(patch, soft.astype(np.float32), linear(style.soil) * texture)
        elif layer == "road":
            tracks = 0.07 * np.exp(-(((np.abs(patch.v) - half * 0.5) / 0.6) ** 2))
            colour = tones[street.surface] * texture * (1 - tracks)[..., None]
            rim = distance + ragged * (texture[..., 0] - 1) * 12
            canvas.paint(patch, rim < half, colour, ROAD)
            canvas.elevation[patch.window][rim < half + 1] = 0
        elif layer == "line" and street.marked:
            dash = np.mod(patch.u + along, 9.0) < 3.5
            centre = (np.abs(patch.v) < 0.12) & (past <= 0) & dash
            canvas.paint(patch, centre, linear((222, 220, 208)))


def lot(canvas: Canvas, noise: Noise, rng: Rng, style: SceneStyle, date: DateStyle, plot: Lot, index: int) -> None:
    """The ground of one lot at date ``index``: yard with drive and pool, or what an empty lot shows."""
    patch = canvas.patch(plot.x, plot.y, plot.angle, plot.half_u, plot.half_v)
    if patch is None or not plot.kept[index]:
        return
    inside = patch.box(0, 0, plot.half_u, plot.half_v)
    shape = patch.u.shape
    grain, fine = noise.cut("grain", shape, rng), noise.cut("fine", shape, rng)
    patchy = noise.cut("patchy", shape, rng)
    standing = plot.house is not None and plot.house.dates[index]
    state = "yard" if standing else plot.state[index]
    if state == "wild":
        return
    tone = float(np.exp(rng.normal(0, 0.1)))
    lawn = grass(style, date) * tone * np.array([1, 1 + rng.normal(0, 0.06), 1], np.float32)
    soil = linear(style.soil) * tone
    bare_share = {"yard": plot.paved * 0.7, "lawn": 0.08, "bare": 0.95, "slab": 0.7}[state]
    bare = np.clip((patchy + 3.4 * bare_share - 1.7) * 2 + 0.5, 0, 1)
    soft = _soft_edge(patch.u, patch.v, plot.half_u, plot.half_v, 0.6)
    colour = textured(lawn + bare[..., None] * (soil - lawn), 0.08 * grain, 0.06 * fine, 0.05 * patchy)
    canvas.paint(patch, soft * (0.95 if state == "yard" else 0.85), colour)
    canvas.elevation[patch.window][inside] = 0
    canvas.semantic[patch.window][inside] = np.where(bare > 0.5, LAND, VEGETATION)[inside]
    if state == "slab":
        size = (plot.half_u * 0.55, plot.half_v * 0.35)
        canvas.paint(
            patch,
            patch.box(0, -plot.half_v * 0.2, *size),
            textured(linear((196, 192, 184)), 0.03 * fine),
            BACKGROUND,
        )
    if standing:
        _yard(canvas, noise, rng, style, plot)
    if standing and rng.random() < 0.35:
        _fence(canvas, rng, plot, style)


def _soft_edge(u: Floats, v: Floats, half_u: float, half_v: float, width: float) -> Floats:
    """Opacity that falls to 0 at the rectangle's border within ``width`` metres."""
    inner = np.minimum(half_u - np.abs(u), half_v - np.abs(v))
    return np.clip(inner / width, 0, 1).astype(np.float32)


def _yard(canvas: Canvas, noise: Noise, rng: Rng, style: SceneStyle, plot: Lot) -> None:
    """Drive, paved forecourt, terrace and pool around a standing house."""
    house = plot.house
    patch = canvas.patch(plot.x, plot.y, plot.angle, plot.half_u, plot.half_v + 2.5)
    if house is None or patch is None:
        return
    fine = noise.cut("fine", patch.u.shape, rng)
    dx, dy = house.x - plot.x, house.y - plot.y
    centre_v = -dx * np.sin(plot.angle) + dy * np.cos(plot.angle)
    _, _, a, b = house.parts[0]
    tones = [(190, 186, 176), (150, 148, 146), (176, 160, 136), (200, 196, 190), (128, 126, 126)]
    paving = textured(linear(np.array(tones[int(rng.integers(len(tones)))]) * rng.uniform(0.85, 1.1)), 0.05 * fine)
    if style.kind == "industrial" or (plot.paved > 0.75 and plot.half_u < 14):
        canvas.paint(patch, patch.box(0, 0, plot.half_u - 0.7, plot.half_v - 0.7), paving, BACKGROUND)
    else:
        half_width = float(rng.uniform(1.4, 3.2)) if style.kind in ("suburb", "town") else float(rng.uniform(1.2, 2))
        at = float(rng.choice([-1, 1])) * max(a - half_width, 0) * float(rng.uniform(0.5, 1))
        front = -plot.half_v - 2.5
        middle = (front + centre_v) / 2
        drive = patch.box(at, middle, half_width, (centre_v - front) / 2)
        canvas.paint(patch, drive, paving, BACKGROUND)
    if rng.random() < 0.5:
        back = centre_v + b + float(rng.uniform(0.5, 2))
        canvas.paint(patch, patch.box(float(rng.uniform(-0.4, 0.4)) * a, back, a * 0.4, 2.2), paving * 1.04, BACKGROUND)
    if plot.pool and plot.half_v - centre_v - b > 5:
        _pool(canvas, rng, plot, centre_v + b + 1.5, paving.mean((0, 1)))
    if style.kind in ("town", "suburb") and rng.random() < 0.25:
        canvas.paint(patch, patch.box(0, -plot.half_v - 1, plot.half_u, 0.4), linear((182, 178, 170)))


def _pool(canvas: Canvas, rng: Rng, plot: Lot, start_v: float, deck: Floats) -> None:
    """A blue pool with a light rim behind the house."""
    a, b = float(rng.uniform(2, 4.5)), float(rng.uniform(1.4, 2.4))
    u = float(rng.uniform(-0.5, 0.5)) * plot.half_u
    v = min(start_v + b + 1, plot.half_v - b - 0.8)
    patch = canvas.patch(plot.x, plot.y, plot.angle, plot.half_u, plot.half_v)
    if patch is None:
        return
    if rng.random() < 0.5:
        distance = np.hypot((patch.u - u) / a, (patch.v - v) / b)
    else:
        distance = np.maximum(np.abs(patch.u - u) / a, np.abs(patch.v - v) / b)
    canvas.paint(patch, distance < 1 + 1.2 / b, deck * 1.15, BACKGROUND)
    tint = linear(np.array([(96, 186, 206), (80, 150, 190), (120, 200, 205)][int(rng.integers(3))]))
    canvas.paint(patch, distance < 1, tint * float(rng.uniform(0.7, 1.1)), WATER)


def _fence(canvas: Canvas, rng: Rng, plot: Lot, style: SceneStyle) -> None:
    """A fence, wall or hedge around the back of a lot; thin, but it casts a shadow."""
    patch = canvas.patch(plot.x, plot.y, plot.angle, plot.half_u, plot.half_v)
    if patch is None:
        return
    hedge = rng.random() < 0.4
    width = 0.8 if hedge else 0.25
    where: Bools = patch.box(0, 0, plot.half_u, plot.half_v) & ~patch.box(
        0, -width - 0.5, plot.half_u - width, plot.half_v
    )
    where &= patch.v > -plot.half_v * float(rng.uniform(0, 0.9))
    colour = linear(style.leaves[0]) if hedge else linear(np.array((150, 138, 120)) * rng.uniform(0.7, 1.35))
    canvas.paint(patch, where, colour, VEGETATION if hedge else None)
    canvas.elevation[patch.window][where] = float(rng.uniform(1.0, 1.9))
