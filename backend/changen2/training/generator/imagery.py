"""The imagery that the generator learns from, labelled with the classes of its condition.

A source is one function from a folder to places whose labels are class indices; 255 is no class but "not seen". A
place with nothing but 255 has no labels at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from changen2.errors import InputError
from changen2.models.rsdit_tiny import BACKGROUND, BUILDING
from changen2.scenes import SceneStyle, draw_pair
from changen2.training import places, sources
from changen2.training.generator.config import CropsConfig
from changen2.training.places import IGNORE, Place

SCENES = "scenes"
DUBAI_HELD_OUT = "tile8"  # one of eight areas


def read_places(config: CropsConfig, on_scene: Callable[[int, int], None]) -> dict[str, list[Place]]:
    """Read all sources of a configuration, without what is held out.

    Args:
        config: what to read; missing scenes are drawn.
        on_scene: called with (scenes there, scenes in all).

    Raises:
        InputError: an unknown source or one without imagery.
    """
    found = {}
    for name in config.sources:
        if name == SCENES:
            found[name] = read_scenes(config, on_scene)
        elif name in READERS:
            found[name] = [place for place in READERS[name](config.folder(name)) if not place.held_out]
        else:
            raise InputError(f"The source {name!r} is not known.", hint=f"Known: {', '.join([*READERS, SCENES])}.")
        if not found[name]:
            raise InputError(f"The source {name!r} holds no imagery.", hint=f"Look into {config.folder(name)}.")
    return found


def read_dubai(root: Path) -> list[Place]:
    """Dubai with its five classes; one area of eight is held out."""
    found = []
    for path in sorted((root / "images").iterdir()):
        image = np.asarray(Image.open(path).convert("RGB"))
        label = np.asarray(Image.open(next((root / "masks").glob(f"{path.stem}.*"))).convert("L"))
        found.append(Place("dubai", path.stem, image, label, 0.5, path.stem.startswith(DUBAI_HELD_OUT)))
    return found


def read_estonia(root: Path) -> list[Place]:
    """Estonian orthophotos as they are, without their rough boxes; every tenth is held out."""
    paths = sorted((root / "images").iterdir())
    return [_unlabelled("estonia", path, 0.2, held_out=index % 10 == 9) for index, path in enumerate(paths)]


def read_south_tyrol(root: Path) -> list[Place]:
    """The half of South Tyrol that serves unlabelled training, without its masks."""
    return [_unlabelled("south_tyrol", path, 0.27, held_out=False) for path in sorted((root / "images").iterdir())[::2]]


def _unlabelled(source: str, path: Path, gsd: float, held_out: bool) -> Place:
    image = np.asarray(Image.open(path).convert("RGB"))
    return Place(source, path.stem, image, np.full(image.shape[:2], IGNORE, np.uint8), gsd, held_out)


def _with_building_class(read: Callable[[Path], list[Place]]) -> Callable[[Path], list[Place]]:
    """A source of building masks, in the generator's class indices."""

    def reader(root: Path) -> list[Place]:
        indices = np.full(256, IGNORE, np.uint8)
        indices[places.BACKGROUND], indices[places.BUILDING] = BACKGROUND, BUILDING
        return [replace(place, label=indices[place.label]) for place in read(root)]

    return reader


READERS: dict[str, Callable[[Path], list[Place]]] = {
    "banepa": _with_building_class(sources.read_banepa),
    "kampala": _with_building_class(sources.read_kampala),
    "spacenet1_rio": _with_building_class(sources.read_spacenet1_rio),
    "spacenet2": _with_building_class(sources.read_spacenet2),
    "dubai": read_dubai,
    "estonia": read_estonia,
    "south_tyrol": read_south_tyrol,
}


def read_scenes(config: CropsConfig, on_scene: Callable[[int, int], None]) -> list[Place]:
    """Simulated scenes of both dates; those that are not there yet are drawn and kept in ``config.out``."""
    folder = config.out / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for index in range(config.scene_count):
        path = folder / f"{index:05d}.npz"
        if not path.exists():
            _draw_scene(path, config, index)
        on_scene(index + 1, config.scene_count)
        with np.load(path) as scene:
            for date in ("before", "after"):
                name = f"{index:05d} {date}"
                found.append(Place(SCENES, name, scene[date], scene[f"semantic_{date}"], float(scene["gsd"])))
    return found


def _draw_scene(path: Path, config: CropsConfig, index: int) -> None:
    rng = np.random.default_rng((config.seed, 1, index))
    gsd = float(rng.uniform(*config.gsd_range))
    # Every other scene is a suburb: that is where people look for new houses.
    style = SceneStyle.random(rng, "suburb" if index % 2 else None)
    pair = draw_pair(rng, config.scene_size, config.scene_size, gsd, style)
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        before=pair.before,
        after=pair.after,
        semantic_before=pair.semantic_before,
        semantic_after=pair.semantic_after,
        gsd=gsd,
    )
    part.replace(path)
