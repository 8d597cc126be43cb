"""Houses: roof planes with their slope light, coverings, and what stands on roofs."""

from __future__ import annotations

import numpy as np

from changen2.scenes.canvas import Bools, Canvas, Floats, Noise, Patch, linear
from changen2.scenes.classes import BUILDING
from changen2.scenes.layout import House
from changen2.scenes.style import DateStyle

Rng = np.random.Generator


def sun_vector(date: DateStyle) -> tuple[float, float, float]:
    """The unit vector towards the sun (x right, y down, z up)."""
    flat = float(np.cos(date.sun_elevation))
    return (
        flat * float(np.cos(date.sun_azimuth)),
        flat * float(np.sin(date.sun_azimuth)),
        float(np.sin(date.sun_elevation)),
    )


def slope_light(date: DateStyle, dx: Floats, dy: Floats) -> Floats:
    """Direct light on a surface of slope (dx, dy), relative to flat ground (Lambert)."""
    x, y, z = sun_vector(date)
    return np.maximum((z - dx * x - dy * y) / (np.sqrt(1 + dx * dx + dy * dy) * z), 0).astype(np.float32)


def draw_house(canvas: Canvas, noise: Noise, seed: int, house: House, date: DateStyle, age: float) -> None:
    """Paint one house.

    Args:
        canvas: painted in place.
        noise: texture source.
        seed: fixes the details of this house, so that both dates show the same roof.
        house: its geometry.
        date: light.
        age: 0 new … 1 stained.
    """
    margin = house.reach + 0.5
    patch = canvas.patch(house.x, house.y, house.angle, margin, margin)
    if patch is None:
        return
    rng = np.random.default_rng(seed)
    height, du, dv, inside, ridge = _roof(house, patch)
    if not inside.any():
        return
    dx, dy = patch.to_canvas(du, dv)
    colour = _covering(house, noise, rng, patch, du, dv, age)
    colour = colour * np.where(ridge, 1.1 if house.covering == "tile" else 0.9, 1.0)[..., None].astype(np.float32)
    canvas.paint(patch, inside, colour, BUILDING)
    canvas.elevation[patch.window][inside] = height[inside]
    canvas.slope_light[patch.window][inside] = slope_light(date, dx, dy)[inside]
    canvas.building[patch.window][inside] = house.identity
    if house.roof == "flat":
        _parapet(canvas, rng, patch, house, inside, height)
    _furniture(canvas, rng, house, patch, inside, height)


def _roof(house: House, patch: Patch) -> tuple[Floats, Floats, Floats, Bools, Bools]:
    """Height, slope along u and v, footprint, and ridge or hip lines, all [h, w].

    Where parts overlap the higher plane wins, which gives the valleys of L- and T-shaped roofs.
    """
    shape = patch.u.shape
    height = np.full(shape, -np.inf, np.float32)
    du, dv = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    ridge = np.zeros(shape, bool)
    for u, v, a, b in house.parts:
        along, across, long, short = patch.u - u, patch.v - v, a, b
        turned = b > a
        if turned:
            along, across, long, short = across, along, b, a
        here = patch.box(u, v, a, b)
        if house.roof == "shed":
            rise = 0.4 * house.pitch * (across + short)
            slope_across, slope_along = np.full(shape, 0.4 * house.pitch), np.zeros(shape)
            top = np.zeros(shape, bool)
        elif house.roof == "flat":
            rise, slope_across, slope_along = np.zeros(shape), np.zeros(shape), np.zeros(shape)
            top = np.zeros(shape, bool)
        else:
            to_side, to_end = short - np.abs(across), long - np.abs(along)
            hipped = (to_end < to_side) if house.roof == "hip" else np.zeros(shape, bool)
            rise = house.pitch * np.where(hipped, to_end, to_side)
            slope_across = np.where(hipped, 0, -house.pitch * np.sign(across))
            slope_along = np.where(hipped, -house.pitch * np.sign(along), 0)
            top = np.abs(across) < 0.14
            if house.roof == "hip":
                top = (top & ~hipped) | (np.abs(to_end - to_side) < 0.14)
        plane = (house.eave + rise).astype(np.float32)
        best = here & (plane > height)
        height[best] = plane[best]
        local_u, local_v = (slope_across, slope_along) if turned else (slope_along, slope_across)
        du[best] = local_u[best]
        dv[best] = local_v[best]
        ridge = np.where(best, top, ridge)
    inside = np.isfinite(height)
    return height, du, dv, inside, ridge & inside


def _covering(house: House, noise: Noise, rng: Rng, patch: Patch, du: Floats, dv: Floats, age: float) -> Floats:
    """The roof's colour [h, w, 3]: base tone, courses or ribs, weather."""
    shape = patch.u.shape
    fine, grain = noise.cut("fine", shape, rng), noise.cut("grain", shape, rng)
    patchy = noise.cut("patchy", shape, rng)
    base = linear(house.colour)
    # Courses run level, ribs run down the slope.
    down_v = np.abs(dv) >= np.abs(du)
    level, falling = np.where(down_v, patch.v, patch.u), np.where(down_v, patch.u, patch.v)
    if house.covering == "shingle":
        factor = 1 + 0.07 * fine + 0.03 * np.sin(2 * np.pi * level / 0.45) + 0.04 * grain
    elif house.covering == "tile":
        factor = 1 + 0.08 * fine + 0.06 * np.sin(2 * np.pi * falling / 0.55) + 0.06 * grain
    elif house.covering == "metal":
        ribs = 0.06 * np.sign(np.sin(2 * np.pi * falling / float(rng.uniform(0.6, 1.4))))
        sheets = 0.05 * np.sign(np.sin(2 * np.pi * level / float(rng.uniform(2, 5))))
        factor = 1 + ribs * rng.random() + sheets * rng.random() + 0.02 * fine
    else:
        seams = np.mod(falling, float(rng.uniform(1.5, 4))) < 0.15
        factor = 1 + 0.035 * fine - 0.06 * seams + 0.03 * grain
    colour = base * factor[..., None].astype(np.float32)
    stain = (np.clip(patchy + 2 * age - 1.4, 0, 1) * 0.5)[..., None].astype(np.float32)
    rust = linear((132, 84, 58)) if house.covering == "metal" and rng.random() < 0.5 else base * 0.55
    colour = colour + stain * age * (rust - colour)
    return np.clip(colour * (1 - 0.04 * patchy[..., None]), 0.004, 1.2)


def _parapet(canvas: Canvas, rng: Rng, patch: Patch, house: House, inside: Bools, height: Floats) -> None:
    """A rim around a flat roof, a little higher and of another tone, casting its own thin shadow."""
    inner = np.zeros_like(inside)
    width = float(rng.uniform(0.25, 0.5))
    for u, v, a, b in house.parts:
        inner |= patch.box(u, v, a - width, b - width)
    rim = inside & ~inner
    tone = float(rng.choice([0.7, 1.2, 1.35]))
    canvas.colour[patch.window][rim] *= tone
    canvas.elevation[patch.window][rim] = height[rim] + float(rng.uniform(0.2, 0.7))


def _furniture(canvas: Canvas, rng: Rng, house: House, patch: Patch, inside: Bools, height: Floats) -> None:
    """Chimneys, vents, plant boxes, skylights and solar panels."""
    _, _, a, b = house.parts[0]
    boxes: list[tuple[float, float, float, float, tuple[float, float, float], float]] = []

    def somewhere(share: float) -> tuple[float, float]:
        return float(rng.uniform(-share, share)) * a, float(rng.uniform(-share, share)) * b

    if house.roof == "flat":
        for _ in range(int(rng.poisson(0.012 * a * b * 4))):
            size = float(rng.uniform(0.5, 1.6))
            grey = float(rng.uniform(120, 225))
            boxes.append((*somewhere(0.8), size, size * float(rng.uniform(0.6, 1.4)), (grey, grey, grey), 1.3))
        if rng.random() < 0.3:
            for k in range(int(rng.integers(2, 8))):
                boxes.append((-0.75 * a + k * 1.5 * a / 8, 0.0, 0.5, min(1.0, b / 3), (205, 214, 218), 0.1))
    else:
        for _ in range(int(rng.integers(0, 3))):
            size = float(rng.uniform(0.25, 0.5))
            boxes.append((*somewhere(0.7), size, size, (130, 90, 75) if rng.random() < 0.5 else (90, 90, 90), 0.9))
        for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.4 else 0):
            boxes.append((*somewhere(0.75), 0.35, 0.5, (88, 102, 116), 0.05))
    for u, v, half_u, half_v, tone, rise in boxes:
        where = patch.box(u, v, half_u, half_v) & inside
        canvas.paint(patch, where, linear(tone))
        canvas.elevation[patch.window][where] = height[where] + rise
    if rng.random() < 0.12:
        side = float(rng.choice([-1, 1])) * b * 0.5
        where = patch.box(float(rng.uniform(-0.2, 0.2)) * a, side, a * 0.45, b * 0.32) & inside
        frames = (np.mod(patch.u, 1.05) < 0.1) | (np.mod(patch.v, 1.7) < 0.1)
        canvas.paint(patch, where, linear((36, 46, 78)))
        canvas.paint(patch, where & frames, linear((92, 98, 116)))
