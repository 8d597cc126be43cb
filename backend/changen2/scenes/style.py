"""What a scene is like: the kind of settlement, its materials, and how each date is seen.

Lengths are metres, angles radians, colours sRGB 0..255. ``SceneStyle.random`` is made for variety, so that a
detector trained on many scenes cannot lean on any one kind of roof, ground or light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

KINDS = ("suburb", "village", "rural", "town", "industrial", "informal")

ROOF_COLOURS: dict[str, list[Colour]] = {
    "shingle": [
        (112, 110, 108),
        (78, 76, 78),
        (122, 100, 84),
        (158, 140, 120),
        (94, 92, 98),
        (138, 128, 118),
    ],
    "tile": [(168, 96, 72), (188, 118, 86), (150, 84, 66), (176, 130, 104), (128, 78, 66), (120, 74, 70)],
    "metal": [(196, 200, 204), (92, 132, 182), (96, 128, 106), (142, 98, 74), (168, 172, 178), (158, 70, 62)],
    "membrane": [(224, 224, 220), (186, 184, 180), (150, 150, 150), (118, 116, 114), (206, 196, 178)],
}
SOILS: list[Colour] = [(142, 118, 92), (164, 112, 82), (196, 178, 148), (128, 112, 96), (176, 158, 130)]
LUSH_GRASS: list[Colour] = [(86, 108, 60), (74, 98, 58), (104, 120, 72), (66, 86, 54)]
DRY_GRASS: list[Colour] = [(156, 142, 104), (138, 124, 96), (168, 156, 122), (124, 114, 94)]
LEAVES: list[Colour] = [(54, 76, 42), (44, 66, 44), (74, 92, 52), (60, 74, 50), (84, 98, 60), (40, 58, 40)]


@dataclass(frozen=True)
class DateStyle:
    """Light, season and sensor of one date.

    Attributes:
        sun_azimuth: direction *towards* the sun in image axes, from +x (right) to +y (down).
        sun_elevation: above the horizon.
        greenness: 0 dry or brown grass … 1 lush.
        leaf: 0 bare deciduous trees … 1 full leaf.
        skylight: light in shadow as a share of full light, 0..1.
        lean: displacement of a point per metre of height (x, y): the tangent of the viewing angle.
        haze: share of path light, 0..1.
        exposure: factor on linear light.
        cast: factor per channel on linear light.
        contrast: factor on display values about mid grey.
        blur: sensor blur, standard deviation in output pixels.
        noise: standard deviation in display levels (0..255).
        jpeg: quality, or None for no compression artefacts.
    """

    sun_azimuth: float
    sun_elevation: float
    greenness: float
    leaf: float
    skylight: float
    lean: tuple[float, float]
    haze: float
    exposure: float
    cast: Colour
    contrast: float
    blur: float
    noise: float
    jpeg: int | None

    @staticmethod
    def random(rng: np.random.Generator, sun_azimuth: float | None = None) -> DateStyle:
        """A random date; ``sun_azimuth`` fixes the sun's side (satellites pass at like hours)."""
        azimuth = rng.uniform(0, 2 * np.pi) if sun_azimuth is None else sun_azimuth + rng.normal(0, 0.5)
        tilt = 0.0 if rng.random() < 0.4 else rng.uniform(0, 0.28)
        view = rng.uniform(0, 2 * np.pi)
        cast = np.exp(rng.normal(0, 0.06, 3))
        return DateStyle(
            sun_azimuth=float(azimuth),
            sun_elevation=float(np.radians(rng.uniform(28, 68))),
            greenness=float(rng.beta(1.3, 1.1)),
            leaf=float(np.clip(rng.normal(0.8, 0.4), 0, 1)),
            skylight=float(rng.uniform(0.2, 0.45)),
            lean=(float(tilt * np.cos(view)), float(tilt * np.sin(view))),
            haze=float(rng.beta(1, 10)),
            exposure=float(np.exp(rng.normal(-0.05, 0.33))),
            cast=(float(cast[0]), float(cast[1]), float(cast[2])),
            contrast=float(rng.uniform(0.85, 1.25)),
            blur=float(rng.uniform(0.3, 0.95)),
            noise=float(rng.uniform(0.5, 4.0)),
            jpeg=int(rng.integers(55, 95)) if rng.random() < 0.5 else None,
        )


@dataclass(frozen=True)
class SceneStyle:
    """The place and its two dates.

    Attributes:
        kind: one of ``KINDS``.
        road_surface: "asphalt", "concrete" or "dirt"; ``road_width`` in metres.
        lot_width, lot_depth: mean lot.
        house_length, house_depth: range of the main part of a house.
        roofs: weights of the roof shapes gable, hip, flat, shed.
        coverings: weights of ``ROOF_COLOURS``' keys; ``uniform_roofs`` 0..1 is how alike neighbours are.
        vacancy: share of lots that stay empty.
        created, removed: share of houses that appear, disappear.
        growth: share of the scene in which a whole new quarter appears (0 = none).
        tree_density: trees per hectare; ``forest`` 0..1: how much of it stands in groves.
        pools: share of lots with a pool.
        paved_yards: share of yards that are paved or bare.
        fields: whether open land is farmed in parcels.
        water: "none", "pond" or "river".
        soil, lush, dry, leaves: base colours.
        before, after: how each date is seen.
    """

    kind: str
    road_surface: str
    road_width: float
    lot_width: float
    lot_depth: float
    house_length: tuple[float, float]
    house_depth: tuple[float, float]
    roofs: tuple[float, float, float, float]
    coverings: tuple[float, float, float, float]
    uniform_roofs: float
    vacancy: float
    created: float
    removed: float
    growth: float
    tree_density: float
    forest: float
    pools: float
    paved_yards: float
    fields: bool
    water: str
    soil: Colour
    lush: Colour
    dry: Colour
    leaves: tuple[Colour, ...]
    before: DateStyle
    after: DateStyle

    @staticmethod
    def random(rng: np.random.Generator, kind: str | None = None) -> SceneStyle:
        """A random style; the kind is drawn too unless it is given."""
        weights = (0.36, 0.2, 0.12, 0.14, 0.08, 0.1)
        name = kind or str(rng.choice(KINDS, p=weights))
        low, high = _RANGES[name]
        lot_width, lot_depth, road_width, vacancy, trees, pools, paved, fields = (
            float(rng.uniform(a, b)) for a, b in zip(low, high, strict=True)
        )
        length, depth = _HOUSES[name]
        factor = float(np.exp(rng.normal(0, 0.12)))
        alike = rng.dirichlet(np.array(_ROOFS[name]) * 3 + 0.05)
        covers = rng.dirichlet(np.array(_COVERINGS[name]) * 2.5 + 0.05)
        first = DateStyle.random(rng)
        second = DateStyle.random(rng, first.sun_azimuth if rng.random() < 0.7 else None)
        surface = _SURFACES[name][int(rng.integers(len(_SURFACES[name])))]
        return SceneStyle(
            kind=name,
            road_surface=surface,
            road_width=road_width * (0.7 if surface == "dirt" else 1.0),
            lot_width=lot_width,
            lot_depth=lot_depth,
            house_length=(length[0] * factor, length[1] * factor),
            house_depth=(depth[0] * factor, depth[1] * factor),
            roofs=(float(alike[0]), float(alike[1]), float(alike[2]), float(alike[3])),
            coverings=(float(covers[0]), float(covers[1]), float(covers[2]), float(covers[3])),
            uniform_roofs=float(rng.beta(1.5, 1.5)),
            vacancy=vacancy,
            created=float(rng.choice([0.1, 0.25, 0.45, 0.7])),
            removed=float(rng.choice([0.0, 0.04, 0.12])),
            growth=float(rng.uniform(0.3, 0.8)) if rng.random() < 0.3 and name != "rural" else 0.0,
            tree_density=trees,
            forest=float(rng.uniform(0, 1)),
            pools=pools,
            paved_yards=paved,
            fields=bool(rng.random() < fields),
            water=str(rng.choice(["none", "pond", "river"], p=[0.82, 0.11, 0.07])),
            soil=SOILS[int(rng.integers(len(SOILS)))],
            lush=LUSH_GRASS[int(rng.integers(len(LUSH_GRASS)))],
            dry=DRY_GRASS[int(rng.integers(len(DRY_GRASS)))],
            leaves=tuple(LEAVES[int(i)] for i in rng.choice(len(LEAVES), 3, replace=False)),
            before=first,
            after=second,
        )


# Per kind, low and high: lot width, lot depth, road width, vacancy, trees/ha, pools, paved yards, fields.
_RANGES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "suburb": ((15, 24, 6.5, 0.0, 8, 0.0, 0.0, 0.0), (30, 42, 10, 0.25, 130, 0.35, 0.35, 0.3)),
    "village": ((20, 26, 4.5, 0.1, 20, 0.0, 0.1, 0.4), (42, 55, 7.5, 0.45, 160, 0.08, 0.5, 1.0)),
    "rural": ((45, 45, 4, 0.3, 15, 0.0, 0.2, 0.8), (90, 80, 7, 0.7, 140, 0.05, 0.6, 1.0)),
    "town": ((8, 17, 6, 0.0, 3, 0.0, 0.3, 0.0), (17, 28, 11, 0.15, 70, 0.02, 0.9, 0.0)),
    "industrial": ((45, 45, 8, 0.1, 1, 0.0, 0.7, 0.0), (90, 90, 13, 0.4, 15, 0.0, 1.0, 0.4)),
    "informal": ((10, 12, 3.5, 0.0, 5, 0.0, 0.7, 0.0), (18, 20, 6, 0.3, 90, 0.0, 1.0, 0.2)),
}
_HOUSES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "suburb": ((11, 20), (8, 13)),
    "village": ((9, 19), (7, 11)),
    "rural": ((12, 34), (8, 15)),
    "town": ((8, 16), (8, 15)),
    "industrial": ((24, 66), (17, 42)),
    "informal": ((5, 12), (4, 8)),
}
_ROOFS = {  # gable, hip, flat, shed
    "suburb": (0.4, 0.5, 0.07, 0.03),
    "village": (0.6, 0.25, 0.1, 0.05),
    "rural": (0.7, 0.15, 0.1, 0.05),
    "town": (0.25, 0.2, 0.5, 0.05),
    "industrial": (0.25, 0.0, 0.7, 0.05),
    "informal": (0.45, 0.15, 0.2, 0.2),
}
_COVERINGS = {  # shingle, tile, metal, membrane (flat roofs always take membrane or metal)
    "suburb": (0.7, 0.25, 0.05, 0.0),
    "village": (0.2, 0.6, 0.2, 0.0),
    "rural": (0.3, 0.3, 0.4, 0.0),
    "town": (0.3, 0.4, 0.2, 0.1),
    "industrial": (0.05, 0.0, 0.6, 0.35),
    "informal": (0.0, 0.1, 0.85, 0.05),
}
_SURFACES = {
    "suburb": ("asphalt", "asphalt", "concrete"),
    "village": ("asphalt", "dirt"),
    "rural": ("asphalt", "dirt"),
    "town": ("asphalt", "concrete"),
    "industrial": ("asphalt", "concrete"),
    "informal": ("dirt", "dirt", "asphalt"),
}
