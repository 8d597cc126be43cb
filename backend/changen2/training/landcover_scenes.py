"""Draw simulated scenes with land-cover maps of both dates, coarser than those for buildings alone, and read them.

Run as ``python -m changen2.training.landcover_scenes FOLDER --count 200``; scenes that are there already are kept. A
configuration names the folder ``landcover_scenes`` under ``pairs`` and says ``project_imagery``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from changen2.scenes import ScenePair, SceneStyle, draw_pair
from changen2.scenes.classes import BACKGROUND
from changen2.scenes.style import KINDS
from changen2.training import draw_scenes
from changen2.training.draw_scenes import write_layers
from changen2.training.landcover import region_change
from changen2.training.landcover_folders import read_class_pairs
from changen2.training.places import IGNORE, Bytes, PlacePair
from changen2.training.watched import Check, go_on

SIZE = 256
GSDS = (0.4, 0.6, 0.9, 1.3, 1.9)
LAYERS = ("label", "semantic_A", "semantic_B", "B", "A")


def draw_scene(index: int) -> tuple[ScenePair, float]:
    """Scene number ``index`` and its metres per pixel; kinds of place and scales go round."""
    rng = np.random.default_rng((7, index))
    gsd = GSDS[index % len(GSDS)]
    style = SceneStyle.random(rng, KINDS[index % len(KINDS)])
    return draw_pair(rng, SIZE, SIZE, gsd, style), gsd


def class_maps(pair: ScenePair) -> tuple[Bytes, Bytes]:
    """Both dates' classes; drives, terraces and cars are none of them, hence unknown."""
    before, after = (
        np.where(semantic == BACKGROUND, IGNORE, semantic).astype(np.uint8)
        for semantic in (pair.semantic_before, pair.semantic_after)
    )
    return before, after


def write_scene(folder: Path, index: int) -> None:
    """Write one scene in the LEVIR-CD layout with class maps; its name holds the centimetres per pixel.

    The label says where a building came or went (255); what else changed the class maps tell, see :func:`read_scenes`.
    """
    if list((folder / "A").glob(f"{index:05d}_*.png")):
        return
    pair, gsd = draw_scene(index)
    change = pair.change.astype(np.uint8) * np.uint8(255)
    arrays = dict(zip(LAYERS, (change, *class_maps(pair), pair.after, pair.before), strict=True))
    write_layers(folder, f"{index:05d}_{round(gsd * 100)}", arrays)


def read_scenes(root: Path, gsd: float | None = None, check: Check = go_on) -> list[PlacePair]:
    """Read drawn scenes: what the label does not mark, both class maps tell.

    Args, Raises:
        As :func:`changen2.training.landcover_folders.read_class_pairs`.
    """
    scenes = []
    for pair in read_class_pairs(root, gsd, check):
        change = region_change(pair.before.label, pair.after.label, pair.change.label == 1)
        scenes.append(replace(pair, change=replace(pair.change, label=change)))
    return scenes


if __name__ == "__main__":
    draw_scenes.main(write_scene, __doc__)
