"""Draw simulated scenes into a folder in the LEVIR-CD layout, to train on.

Run as ``python -m changen2.training.draw_scenes FOLDER --count 200``; scenes that are there already are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from changen2.scenes import ScenePair, SceneStyle, draw_pair
from changen2.scenes.classes import BUILDING
from changen2.scenes.style import KINDS

SIZE = 320
GSDS = (0.25, 0.3, 0.35, 0.4, 0.5)


def draw_scene(index: int) -> tuple[ScenePair, float]:
    """Scene number ``index`` and its metres per pixel; every other one is a suburb, the rest goes round."""
    rng = np.random.default_rng((2, index))
    gsd = float(rng.choice(GSDS))
    others = [kind for kind in KINDS if kind != "suburb"]
    style = SceneStyle.random(rng, "suburb" if index % 2 else others[index // 2 % len(others)])
    return draw_pair(rng, SIZE, SIZE, gsd, style), gsd


def write_scene(folder: Path, index: int) -> None:
    """Write one scene: both dates, change and building maps (255 = yes); the name holds the centimetres per pixel."""
    if list((folder / "A").glob(f"{index:05d}_*.png")):
        return
    pair, gsd = draw_scene(index)
    layers = {
        "A": pair.before,
        "B": pair.after,
        "semantic_A": (pair.semantic_before == BUILDING).astype(np.uint8) * 255,
        "semantic_B": (pair.semantic_after == BUILDING).astype(np.uint8) * 255,
        "label": pair.change.astype(np.uint8) * 255,
    }
    write_layers(folder, f"{index:05d}_{round(gsd * 100)}", layers)


def write_layers(folder: Path, name: str, layers: Mapping[str, NDArray[np.uint8]]) -> None:
    """Write the layers of one scene, each into its folder; one whose A is there is whole."""
    # A goes last, and each is renamed when it is written.
    for layer in sorted(layers, key=lambda layer: layer == "A"):
        (folder / layer).mkdir(parents=True, exist_ok=True)
        path = folder / layer / f"{name}.png"
        Image.fromarray(layers[layer]).save(path.with_suffix(".part"), "PNG")
        path.with_suffix(".part").replace(path)


def main(write: Callable[[Path, int], None] = write_scene, description: str | None = __doc__) -> None:
    """Draw the scenes asked for on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    for index in range(arguments.first, arguments.first + arguments.count):
        write(arguments.folder, index)


if __name__ == "__main__":
    main()
