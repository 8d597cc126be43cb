"""Where trees grow: in groves on open land, in yards, along streets."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from changen2.scenes.layout import Layout, Lot, Points, Tree
from changen2.scenes.lots import Occupancy
from changen2.scenes.style import SceneStyle


def plant(rng: np.random.Generator, style: SceneStyle, layout: Layout, occupancy: Occupancy) -> list[Tree]:
    """Trees of both dates; none over a standing house, few where a new quarter is built."""
    area = layout.width * layout.height / 1e4
    total = style.tree_density * area
    trees: list[Tree] = []
    groves = scipy.ndimage.zoom(rng.normal(0, 1, (12, 12)), 10, order=3)
    spots = rng.uniform(0, 1, (int(total * style.forest * 2.5), 2))
    dense = groves[(spots[:, 1] * 119).astype(int), (spots[:, 0] * 119).astype(int)] > 0.35
    for fx, fy in spots[dense]:
        _try_tree(rng, style, layout, occupancy, trees, fx * layout.width, fy * layout.height, 1.0)
    yards = [lot for lot in layout.lots if rng.random() < 0.85]
    if yards:
        count = int(total * (1 - 0.6 * style.forest))
        for index in rng.integers(0, len(yards), count):
            _yard_tree(rng, style, trees, yards[int(index)])
    for street in layout.streets:
        if rng.random() < 0.25:
            _street_trees(rng, style, layout, occupancy, trees, street.points, street.width)
    return trees


def _tree(rng: np.random.Generator, style: SceneStyle, x: float, y: float, size: float) -> Tree:
    """A tree there at both dates, a little grown, unless it was felled or planted between them."""
    radius = float(np.clip(rng.lognormal(np.log(2.3), 0.4), 0.8, 6.0)) * size
    shade = style.leaves[int(rng.integers(len(style.leaves)))]
    factor = float(np.exp(rng.normal(0, 0.12)))
    fate = rng.random()
    scale = (1.0, float(rng.uniform(0.95, 1.2)))
    if fate < 0.05:
        scale = (1.0, 0.0)
    elif fate < 0.1:
        scale = (0.0, float(rng.uniform(0.4, 1)))
    colour = (shade[0] * factor, shade[1] * factor, shade[2] * factor)
    return Tree(x, y, radius, colour, bool(rng.random() < 0.35), scale)


def _try_tree(
    rng: np.random.Generator,
    style: SceneStyle,
    layout: Layout,
    occupancy: Occupancy,
    trees: list[Tree],
    x: float,
    y: float,
    size: float,
) -> None:
    """A tree on open land; lots of a growing quarter lose theirs."""
    tree = _tree(rng, style, x, y, size)
    half = tree.radius * 0.5
    if occupancy.free(x, y, 0, half, half):
        trees.append(tree)
    elif layout.grows(x, y):
        trees.append(Tree(x, y, tree.radius, tree.colour, tree.evergreen, (1.0, 0.0)))


def _yard_tree(rng: np.random.Generator, style: SceneStyle, trees: list[Tree], lot: Lot) -> None:
    """A tree in a lot, beside its house; where the lot is open land at a date, the tree is not there."""
    u = float(rng.uniform(-1, 1)) * lot.half_u
    v = float(rng.uniform(-1, 1)) * lot.half_v
    x = lot.x + u * np.cos(lot.angle) - v * np.sin(lot.angle)
    y = lot.y + u * np.sin(lot.angle) + v * np.cos(lot.angle)
    size = 0.75 if style.kind != "rural" else 1.1
    tree = _tree(rng, style, x, y, size * min(1.0, lot.half_u / 8))
    scale = [tree.scale[0], tree.scale[1]]
    house = lot.house
    if house is not None:
        dx, dy = x - house.x, y - house.y
        hu = dx * np.cos(house.angle) + dy * np.sin(house.angle)
        hv = -dx * np.sin(house.angle) + dy * np.cos(house.angle)
        clear = 0.7 * tree.radius
        if any(abs(hu - pu) < a + clear and abs(hv - pv) < b + clear for pu, pv, a, b in house.parts):
            scale = [0.0 if house.dates[i] else scale[i] for i in (0, 1)]
    for i in (0, 1):
        if not lot.kept[i]:
            scale[i] *= 0.0 if rng.random() < 0.8 else 1.0
    if scale[0] or scale[1]:
        trees.append(Tree(x, y, tree.radius, tree.colour, tree.evergreen, (scale[0], scale[1])))


def _street_trees(
    rng: np.random.Generator,
    style: SceneStyle,
    layout: Layout,
    occupancy: Occupancy,
    trees: list[Tree],
    points: Points,
    width: float,
) -> None:
    """A row at even distances on one side."""
    gap = int(rng.integers(1, 4))
    side = float(rng.choice([-1, 1])) * (width / 2 + 2.2)
    for start, end in zip(points[:-1:gap], points[1::gap], strict=False):
        direction = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
        x = float(start[0] - direction[1] * side + rng.normal(0, 0.3))
        y = float(start[1] + direction[0] * side + rng.normal(0, 0.3))
        if not layout.grows(x, y):
            trees.append(_tree(rng, style, x, y, 0.8))
