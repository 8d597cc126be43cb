"""Whether a segmenter of real buildings sees the buildings that were created."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changen2.gpcm.synthesis import Settings
from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.models.registry import embedded_detector
from changen2.models.rsdit_tiny import BUILDING
from changen2.reports.consistency import LEAST_CEILING, ObjectScore, object_iou, summarize
from changen2.reports.drawing import INITS, draw_edit
from changen2.reports.held_out import SOUTH_TYROL, Tile
from changen2.reports.page import Section, coloured, shaded, sheet
from changen2.reports.placing import place_buildings, whole_buildings
from changen2.reports.segmenter import building_iou, found_buildings, real_segmenter
from changen2.reports.subject import Subject

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SOURCES = ("banepa", "spacenet1_rio", SOUTH_TYROL)
"""Those whose held-out footprints are accurate; Dubai's are outlines of whole blocks."""

PER_TILE = 3
LEAST_M2 = 40.0
"""Of a footprint: the segmenters miss half of the sheds on real images too."""

SHOWN = 8
MOST_TILES = 400


@dataclass(frozen=True)
class Created:
    """A created building.

    Attributes:
        home: the tile that its footprint is from.
        own: where it stands there [h, w].
        new: where it is created [h, w].
    """

    home: Tile
    own: Mask
    new: Mask


Site = tuple[Tile, list[Created]]


def consistency_section(subject: Subject, tell: Callable[[str], None]) -> Section:
    """Create buildings on real tiles and ask each segmenter."""
    options = subject.options
    sites = choose_sites(subject.tiles(MOST_TILES, False, SOURCES), options.objects, options.seed)
    drawn = {init: [_create(subject, site, index, init) for index, site in enumerate(sites)] for init in INITS}
    tell(f"created {sum(len(placements) for _, placements in sites)} buildings on {len(sites)} tiles, twice")
    figures: dict[str, Any] = {}
    columns = ["before", "labels after", *(f"after, from {init}" for init in INITS)]
    shown = range(min(SHOWN, len(sites)))
    rows = [
        [sites[i][0].image, coloured(_wanted(sites[i]), subject.classes), *(drawn[init][i] for init in INITS)]
        for i in shown
    ]
    for name in options.segmenters:
        segmenter = _segmenter(name, subject, tell)
        figures[f"{name} segmenter"] = {
            "iou on the real tiles": round(building_iou(segmenter, [tile for tile, _ in sites]), 3)
        }
        for init in INITS:
            found = [found_buildings(segmenter, picture) for picture in drawn[init]]
            figures[f"{name} segmenter"][f"start from {init}"] = _scores(segmenter, sites, found)
            for row, i in zip(rows, shown, strict=True):
                row.append(shaded(found[i]))
            columns.append(f"{name}, {init}")
    return Section(
        "consistency",
        "Label consistency of created buildings",
        [
            f"Held-out footprints of at least {LEAST_M2:g} m² were moved to free ground of held-out tiles of the "
            "same source, and created there. Score: the segmenter's intersection over union "
            "within the footprint dilated by its own radius, other buildings left out. Floor: the same place on the "
            "untouched image. Ceiling: the footprint's own building on the real image. Label consistency = (score − "
            "floor) / (ceiling − floor) of the means, with a 95 % bootstrap over tiles; void where the ceiling is "
            f"below {LEAST_CEILING}.",
            "The embedded segmenter is the embedded detector's building head, trained on real and drawn scenes; the "
            "real segmenter was trained for this report on real images only. None of the tiles was trained on by "
            "either of them, nor by the generator.",
            "A start from an exemplar takes over the picture of another building of the same tile where one fits the "
            "footprint, else a roof drawn by code: it says how well the job does, not what the denoiser has learned. "
            "That is what the start from noise says.",
        ],
        figures,
        [(f"The first {len(rows)} tiles, not chosen; on the right what each segmenter finds.", sheet(columns, rows))],
    )


def choose_sites(tiles: list[Tile], objects: int, seed: int) -> list[Site]:
    """Tiles with places for created buildings, until there are enough of those."""
    pools: dict[str, list[tuple[Tile, Mask]]] = {}
    for tile in tiles:
        mine = whole_buildings(tile.label, LEAST_M2 / tile.gsd**2)
        pools.setdefault(tile.source, []).extend((tile, mask) for mask in mine)
    sites: list[Site] = []
    count = 0
    for index, tile in enumerate(tiles):
        pool = pools[tile.source]
        footprints = [mask for _, mask in pool]
        rng = np.random.default_rng((seed, index))
        placements = place_buildings(tile.label, footprints, min(PER_TILE, objects - count), rng)
        if placements:
            sites.append((tile, [Created(*pool[placement.number], placement.new) for placement in placements]))
            count += len(placements)
    return sites


def _wanted(site: Site) -> Picture:
    label = site[0].label.copy()
    label[_change(site)] = BUILDING
    return label


def _change(site: Site) -> NDArray[np.bool_]:
    return np.any([placement.new for placement in site[1]], axis=0)


def _create(subject: Subject, site: Site, index: int, init: str) -> Picture:
    tile = site[0]
    settings = Settings(seed=subject.options.seed + index, gsd=tile.gsd, label_guidance=subject.label_guidance)
    exemplars = tile.label if init == "exemplar" else None
    edit = tile.image, _wanted(site), _change(site)
    return draw_edit(subject.generator, *edit, settings, exemplars, subject.precision)


def _segmenter(name: str, subject: Subject, tell: Callable[[str], None]) -> ChangeStarTiny:
    if name == "embedded":
        return embedded_detector()
    return real_segmenter(
        subject.options.data,
        subject.options.cache,
        subject.options.encoder,
        on_step=lambda done, total: tell(f"segmenter: step {done} of {total}") if done % 250 == 0 else None,
    )


def _scores(segmenter: ChangeStarTiny, sites: list[Site], after: list[NDArray[np.bool_]]) -> dict[str, Any]:
    """The figures of all objects, and of each source's."""
    objects: list[ObjectScore] = []
    seen: dict[str, Mask] = {}

    def found_at(tile: Tile) -> Mask:
        if tile.name not in seen:
            seen[tile.name] = found_buildings(segmenter, tile.image)
        return seen[tile.name]

    for index, ((tile, placements), found_after) in enumerate(zip(sites, after, strict=True)):
        created = np.any([placement.new for placement in placements], axis=0)
        for placement in placements:
            objects.append(
                ObjectScore(
                    tile=index,
                    source=tile.source,
                    score=object_iou(found_after, placement.new, tile.buildings | created),
                    floor=object_iou(found_at(tile), placement.new, tile.buildings),
                    ceiling=object_iou(found_at(placement.home), placement.own, placement.home.buildings),
                )
            )
    figures = summarize(objects)
    for source in dict.fromkeys(each.source for each in objects):
        figures[source] = summarize([each for each in objects if each.source == source])
    return figures
