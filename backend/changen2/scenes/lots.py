"""Lots along streets with the houses on them, never one over another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from changen2.scenes.layout import BOTH, COVERINGS, ROOF_SHAPES, Dates, House, Layout, Lot, Street
from changen2.scenes.style import ROOF_COLOURS, Colour, SceneStyle


class Occupancy:
    """Which ground is taken, on a grid of one metre with a margin around the scene."""

    MARGIN = 60

    def __init__(self, width: float, height: float) -> None:
        rows, columns = int(height) + 2 * self.MARGIN + 1, int(width) + 2 * self.MARGIN + 1
        self._taken = np.zeros((rows, columns), bool)

    def _cells(
        self, x: float, y: float, angle: float, half_u: float, half_v: float
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        u = np.arange(-half_u, half_u + 0.7, 0.7)[None]
        v = np.arange(-half_v, half_v + 0.7, 0.7)[:, None]
        columns = np.rint(x + u * np.cos(angle) - v * np.sin(angle)).astype(np.intp) + self.MARGIN
        rows = np.rint(y + u * np.sin(angle) + v * np.cos(angle)).astype(np.intp) + self.MARGIN
        return (
            np.clip(rows, 0, self._taken.shape[0] - 1),
            np.clip(columns, 0, self._taken.shape[1] - 1),
        )

    def free(self, x: float, y: float, angle: float, half_u: float, half_v: float) -> bool:
        """Whether the rectangle is untaken and touches the scene's surroundings at all."""
        margin = self.MARGIN
        rows, columns = self._taken.shape
        if not (-margin < x < columns - margin and -margin < y < rows - margin):
            return False
        return not self._taken[self._cells(x, y, angle, half_u, half_v)].any()

    def take(self, x: float, y: float, angle: float, half_u: float, half_v: float) -> None:
        """Mark the rectangle as taken."""
        self._taken[self._cells(x, y, angle, half_u, half_v)] = True

    def take_street(self, street: Street) -> None:
        """Mark a street with its verge as taken."""
        for (x0, y0), (x1, y1) in zip(street.points[:-1], street.points[1:], strict=True):
            angle = float(np.arctan2(y1 - y0, x1 - x0))
            length = float(np.hypot(x1 - x0, y1 - y0))
            self.take((x0 + x1) / 2, (y0 + y1) / 2, angle, length / 2 + 0.5, street.width / 2 + 1)


class LotBuilder:
    """Lays out lots with their houses, never one over another."""

    def __init__(self, rng: np.random.Generator, style: SceneStyle, layout: Layout, occupancy: Occupancy) -> None:
        self.rng, self.style, self.layout, self.occupancy = rng, style, layout, occupancy
        self.built = Occupancy(layout.width, layout.height)
        covering = str(rng.choice(COVERINGS, p=style.coverings))
        self.usual = (covering, self._colour(covering))
        self.setback = float(rng.uniform(0.15, 0.5))

    def along(self, street: Street) -> None:
        """Lots on both sides of a street."""
        steps = np.hypot(*np.diff(street.points, axis=0).T)
        ends = np.concatenate([[0], np.cumsum(steps)])
        for side in (-1, 1):
            position = float(self.rng.uniform(0, self.style.lot_width))
            while position < ends[-1]:
                lot_width = self.style.lot_width * float(np.clip(self.rng.normal(1, 0.12), 0.7, 1.5))
                middle = position + lot_width / 2
                position += lot_width
                index = min(int(np.searchsorted(ends, middle)), len(ends) - 1)
                if index == 0 or middle > ends[-1]:
                    continue
                start, end = street.points[index - 1], street.points[index]
                tangent = float(np.arctan2(end[1] - start[1], end[0] - start[0]))
                place = start + (end - start) * (middle - ends[index - 1]) / max(steps[index - 1], 1e-6)
                # In the lot's frame v points away from the street, so the right-hand side is turned round.
                angle = tangent if side > 0 else tangent + np.pi
                depth = self.style.lot_depth * float(np.clip(self.rng.normal(1, 0.1), 0.7, 1.3))
                offset = street.width / 2 + 1.5 + depth / 2
                x = float(place[0] - np.sin(angle) * offset)
                y = float(place[1] + np.cos(angle) * offset)
                self._add(x, y, angle, lot_width / 2 - 0.3, depth / 2, street.dates)

    def scattered(self) -> None:
        """Buildings away from streets: yards of farms, or an unplanned quarter."""
        layout, style = self.layout, self.style
        area = layout.width * layout.height
        share = 0.6 if style.kind == "informal" else 0.05
        tries = int(share * 3 * area / (style.lot_width * style.lot_depth)) + 1
        for _ in range(min(tries, 4000)):
            x = float(self.rng.uniform(-10, layout.width + 10))
            y = float(self.rng.uniform(-10, layout.height + 10))
            angle = layout.angle + float(self.rng.normal(0, 0.5)) + float(self.rng.choice([0, np.pi / 2]))
            size = float(self.rng.uniform(0.6, 1.0))
            self._add(x, y, angle, style.lot_width / 2 * size, style.lot_depth / 2 * size, BOTH)

    def _add(self, x: float, y: float, angle: float, half_u: float, half_v: float, dates: Dates) -> None:
        if not self.occupancy.free(x, y, angle, half_u * 0.85, half_v * 0.85):
            return
        self.occupancy.take(x, y, angle, half_u, half_v)
        rng, style = self.rng, self.style
        grows = self.layout.grows(x, y) or not dates[0]
        house_dates, state = self._history(grows)
        house = None
        if house_dates != (False, False):
            house = self._house(x, y, angle, half_u, half_v, house_dates)
        kept = (not grows or house_dates[0], house_dates[1] or rng.random() < 0.8)
        paved = float(rng.uniform(0.4, 1)) if rng.random() < style.paved_yards else float(rng.uniform(0, 0.4))
        pool = bool(rng.random() < style.pools)
        self.layout.lots.append(Lot(x, y, angle, half_u, half_v, house, kept, state, paved, pool))

    def _history(self, grows: bool) -> tuple[Dates, tuple[str, str]]:
        """Whether a house stands at each date, and what the empty lot looks like at each."""
        rng, style = self.rng, self.style
        empty = [str(s) for s in rng.choice(["lawn", "bare", "slab", "wild"], 2, p=[0.35, 0.3, 0.05, 0.3])]
        if grows:
            built = bool(rng.random() < 0.8)
            return (False, built), ("wild", "bare" if rng.random() < 0.6 else empty[1])
        if rng.random() < style.vacancy:
            # Vacant ground changes too, as ground does, without being a building.
            return (False, False), (empty[0], empty[0] if rng.random() < 0.6 else empty[1])
        draw = rng.random()
        if draw < style.created:
            return (False, True), (empty[0], empty[1])
        if draw < style.created + style.removed:
            return (True, False), (empty[0], "bare" if rng.random() < 0.4 else empty[1])
        return BOTH, (empty[0], empty[1])

    def _house(self, x: float, y: float, angle: float, half_u: float, half_v: float, dates: Dates) -> House | None:
        rng, style = self.rng, self.style
        length = min(float(rng.uniform(*style.house_length)) / 2, half_u - (0.2 if style.kind == "town" else 1.0))
        depth = min(float(rng.uniform(*style.house_depth)) / 2, half_v - 1.5)
        if length < 1.8 or depth < 1.8:
            return None
        parts = self._footprint(length, depth, half_v)
        front, back = min(v - b for _, v, _, b in parts), max(v + b for _, v, _, b in parts)
        room = 2 * half_v - (back - front)
        shift = -half_v - front + max(room, 0) * float(np.clip(rng.normal(self.setback, 0.1), 0.05, 0.9))
        roof = str(rng.choice(ROOF_SHAPES, p=style.roofs))
        covering, colour = self.usual
        if rng.random() > style.uniform_roofs:
            covering = str(rng.choice(COVERINGS, p=style.coverings))
            colour = self._colour(covering)
        if roof == "flat" and covering in ("shingle", "tile"):
            covering = "membrane" if rng.random() < 0.7 else "metal"
            colour = self._colour(covering)
        turn = float(rng.normal(0, 0.02 if style.kind in ("suburb", "town") else 0.12))
        house = House(
            identity=len(self.layout.lots) + 1,
            x=x - np.sin(angle) * shift,
            y=y + np.cos(angle) * shift,
            angle=angle + turn,
            parts=parts,
            roof=roof,
            covering=covering,
            colour=colour,
            eave=self._eave(),
            pitch=float(rng.uniform(0.25, 0.85) if style.kind != "industrial" else rng.uniform(0.06, 0.2)),
            dates=dates,
        )
        return house if self._claim(house) else None

    def _eave(self) -> float:
        """Height of the walls: one storey, up to four in town, a hall in an industrial quarter."""
        height = float(self.rng.uniform(2.4, 3.6))
        if self.style.kind == "town":
            height += 2.8 * int(self.rng.integers(0, 4))
        elif self.style.kind == "industrial":
            height += float(self.rng.uniform(1, 5))
        return height

    def _claim(self, house: House) -> bool:
        """Take the ground of a house, unless another stands there at either date: labels must not overlap."""
        cosine, sine = np.cos(house.angle), np.sin(house.angle)
        places = [
            (house.x + u * cosine - v * sine, house.y + u * sine + v * cosine, house.angle, a, b)
            for u, v, a, b in house.parts
        ]
        if not all(self.built.free(x, y, turn, a + 0.7, b + 0.7) for x, y, turn, a, b in places):
            return False
        for x, y, turn, a, b in places:
            self.built.take(x, y, turn, a, b)
        return True

    def _footprint(self, a: float, b: float, half_v: float) -> tuple[tuple[float, float, float, float], ...]:
        """A rectangle, or with a wing an L or T, sometimes with a small porch."""
        rng = self.rng
        parts = [(0.0, 0.0, a, b)]
        if rng.random() < 0.55:
            wing_a = float(rng.uniform(0.3, 0.55)) * a
            reach = float(rng.uniform(0.25, 0.7)) * b
            side = float(rng.choice([-1, 1]))
            limit = a - wing_a
            u = float(rng.choice([-limit, limit, 0.0, rng.uniform(-limit, limit)], p=[0.35, 0.35, 0.15, 0.15]))
            if b + reach < half_v - 0.5:
                parts.append((u, side * reach, wing_a, b))
        if rng.random() < 0.25:
            size = float(rng.uniform(0.15, 0.3))
            side = float(rng.choice([-1, 1]))
            parts.append((float(rng.uniform(-0.5, 0.5)) * a, side * b, size * a, size * b))
        return tuple(parts)

    def _colour(self, covering: str) -> Colour:
        """A colour of the covering, lightened or darkened a little."""
        choices = ROOF_COLOURS[covering]
        base = np.array(choices[int(self.rng.integers(len(choices)))])
        varied = np.clip(base * np.exp(self.rng.normal(0, 0.08)) + self.rng.normal(0, 4, 3), 25, 245)
        return float(varied[0]), float(varied[1]), float(varied[2])
