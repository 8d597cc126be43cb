"""Street patterns: a bent grid for planned places, winding roads for grown ones."""

from __future__ import annotations

import itertools

import numpy as np

from changen2.scenes.layout import Layout, Points, Street
from changen2.scenes.style import SceneStyle

STEP = 6.0  # metres between the points of a street


def draw_streets(rng: np.random.Generator, style: SceneStyle, layout: Layout) -> list[Street]:
    """The streets of a scene; those of a quarter that is yet to be built exist at the second date only."""
    if style.kind in ("suburb", "town", "industrial"):
        lines = _grid(rng, style, layout)
    else:
        count = {"village": (1, 3), "rural": (1, 1), "informal": (1, 3)}[style.kind]
        area = layout.width * layout.height / 120.0**2
        lines = [
            _winding(rng, layout) for _ in range(max(1, round(int(rng.integers(*count, endpoint=True)) * area**0.5)))
        ]
    sidewalk = style.kind in ("suburb", "town") and bool(rng.random() < 0.6)
    marked = style.road_surface == "asphalt" and bool(rng.random() < 0.4)
    streets = []
    for line in lines:
        width = style.road_width * float(np.clip(rng.normal(1, 0.1), 0.7, 1.4))
        for points, new in _split(line, layout):
            dates = (not new, True)
            streets.append(Street(points, width, style.road_surface, sidewalk, marked, dates))
    if style.kind == "rural" and rng.random() < 0.7:
        streets.append(Street(_winding(rng, layout), 3.2, "dirt", False, False))
    return streets


def _grid(rng: np.random.Generator, style: SceneStyle, layout: Layout) -> list[Points]:
    """Parallel streets two lots apart with a few cross streets, all bent by one smooth warp."""
    reach = float(np.hypot(layout.width, layout.height)) / 2 + 30
    centre = np.array([layout.width / 2, layout.height / 2])
    along = np.array([np.cos(layout.angle), np.sin(layout.angle)])
    across = np.array([-along[1], along[0]])
    bend = float(rng.choice([0, 0, 6, 14])) * float(rng.uniform(0.5, 1))
    wavelength, phase = float(rng.uniform(150, 400)), float(rng.uniform(0, 2 * np.pi))

    def place(u: Points, v: Points) -> Points:
        wave = bend * np.sin(2 * np.pi * u / wavelength + phase)
        return centre + u[:, None] * along + (v + wave)[:, None] * across

    run = np.arange(-reach, reach + STEP, STEP)
    spacing = 2 * style.lot_depth + style.road_width + 3
    lines = [
        place(run, np.full_like(run, offset))
        for offset in np.arange(-reach + float(rng.uniform(0, spacing)), reach, spacing)
        if rng.random() < 0.92
    ]
    block = float(rng.uniform(90, 220))
    for offset in np.arange(-reach + float(rng.uniform(0, block)), reach, block):
        if rng.random() < 0.75:
            lines.append(place(np.full_like(run, offset), run))
    return lines


def _winding(rng: np.random.Generator, layout: Layout) -> Points:
    """A road across the scene whose heading wanders."""
    heading = float(rng.uniform(0, 2 * np.pi))
    middle = np.array([layout.width, layout.height]) * rng.uniform(0.15, 0.85, 2)
    length = float(np.hypot(layout.width, layout.height)) + 60
    steps = int(length / STEP)
    kernel = np.hanning(25)
    turns = np.convolve(rng.normal(0, 1, 2 * steps + 24), kernel / kernel.sum(), mode="valid")
    headings = heading + np.cumsum(turns * float(rng.uniform(0, 0.12)))
    moves = np.stack([np.cos(headings), np.sin(headings)], 1) * STEP
    path = np.concatenate([[[0.0, 0.0]], np.cumsum(moves, 0)])
    return path - path[steps] + middle


def _split(line: Points, layout: Layout) -> list[tuple[Points, bool]]:
    """Cut a street where the growing quarter begins: pieces with whether they are new."""
    if layout.growth_line is None:
        return [(line, False)]
    a, b, c = layout.growth_line
    new = line @ np.array([a, b]) > c
    cuts = [0, *(np.flatnonzero(new[1:] != new[:-1]) + 1).tolist(), len(line) - 1]
    return [(line[start : end + 1], bool(new[start])) for start, end in itertools.pairwise(cuts) if end > start]
