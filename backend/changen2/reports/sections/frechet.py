"""How far drawn tiles are from real ones, and whether few steps draw as well as many."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.reports.frechet import Moments, Projection, cell_features, distance, distance_score, ratio_score
from changen2.reports.held_out import Tile
from changen2.reports.page import Section, coloured, sheet
from changen2.reports.subject import Subject
from changen2.training.bootstrap import rounded
from changen2.training.loop import read_encoder

FEW = ("dpmpp", 20)
NAMES = {"dpmpp": "DPM-Solver++", "ddpm": "DDPM"}
SPLITS = 20
SHOWN = 6
MOST_RATIO = 1.15


def frechet_section(subject: Subject, tell: Callable[[str], None]) -> Section:
    """Draw every held-out tile from its labels with both samplers and compare."""
    options = subject.options
    many = ("ddpm", options.ancestral_steps)
    tiles = subject.tiles(options.tiles)
    drawn = {sampler: draw_tiles(subject, tiles, *sampler, tell) for sampler in (FEW, many)}
    encoder = read_encoder(EfficientNetLite("lite0"), options.encoder).eval()
    real_features = cell_features(encoder, np.stack([tile.image for tile in tiles]))
    project = Projection.fit(real_features)
    real = Moments.of(project(real_features))
    moments = {sampler: Moments.of(project(cell_features(encoder, pictures))) for sampler, pictures in drawn.items()}
    ratio = ratio_score(moments[FEW], moments[many], real, options.resamples)
    figures: dict[str, Any] = {"tiles": len(tiles)}
    for sampler, drawn_moments in moments.items():
        found = distance_score(drawn_moments, real, options.resamples)
        figures[f"{_name(sampler)}: distance to real tiles"] = rounded(found)
    figures.update(halves(moments[FEW], real, options.seed))
    figures["ratio of distances, few steps over many"] = rounded(ratio)
    figures[f"upper bound of the ratio at most {MOST_RATIO}"] = bool(ratio.high <= MOST_RATIO)
    rows = [
        [tile.image, coloured(tile.label, subject.classes), *(drawn[sampler][index] for sampler in drawn)]
        for index, tile in enumerate(tiles[:SHOWN])
    ]
    columns = ["real", "labels", *(_name(sampler) for sampler in drawn)]
    return Section(
        "frechet",
        "Fully generated tiles",
        [
            "Squared Fréchet distance between real held-out tiles and tiles drawn from their labels alone: "
            "EfficientNet-Lite0 features (ImageNet) of the middle 224² pixels, 49 cells a tile, on the 64 main axes of "
            "the real ones. Intervals: 95 % bootstrap over tiles. Distances depend on the number of tiles, so the "
            "halves are compared at half of it.",
            "South Tyrol's and Banepa's labels know buildings only, Estonia's are contours of segments; all other "
            "ground is for the generator to invent there.",
        ],
        figures,
        [(f"The first {len(rows)} tiles, not chosen.", sheet(columns, rows))],
    )


def draw_tiles(
    subject: Subject, tiles: list[Tile], sampler: str, steps: int, tell: Callable[[str], None]
) -> NDArray[np.uint8]:
    """Draw tiles from their labels [n, 3, size, size]; those of an earlier, broken run are taken from its files."""
    options = subject.options
    folder = options.out / "drawn" / f"{subject.identity}-{sampler}-{steps}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    drawn, began = [], time.monotonic()
    for index, tile in enumerate(tiles):
        path = folder / f"{index:04d}.png"
        if not path.exists():
            _save(subject.whole(tile.label, tile.gsd, options.seed + index, sampler, steps), path)
        drawn.append(np.moveaxis(np.asarray(Image.open(path)), -1, 0))
        if (index + 1) % 16 == 0:
            tell(f"{sampler} {steps}: {index + 1} of {len(tiles)} tiles, {time.monotonic() - began:.0f} s")
    return np.stack(drawn)


def halves(drawn: Moments, real: Moments, seed: int) -> dict[str, float]:
    """Mean distances between random halves: real to real, and drawn to the real tiles of the other half."""
    rng = np.random.default_rng(seed)
    same, other = [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(real))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        same.append(distance(_some(real, first), _some(real, second)))
        other.append(distance(_some(drawn, first), _some(real, second)))
    return {
        "between two halves of the real tiles": round(float(np.mean(same)), 2),
        "between drawn tiles of one half and real ones of the other": round(float(np.mean(other)), 2),
    }


def _some(moments: Moments, chosen: NDArray[np.int64]) -> Moments:
    return Moments(moments.means[chosen], moments.products[chosen])


def _save(picture: NDArray[np.uint8], path: Path) -> None:
    part = path.with_suffix(".part")
    Image.fromarray(np.ascontiguousarray(np.moveaxis(picture, 0, -1))).save(part, format="PNG")
    part.replace(path)


def _name(sampler: tuple[str, int]) -> str:
    return f"{NAMES[sampler[0]]} {sampler[1]} steps"
