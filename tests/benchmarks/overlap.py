"""What overlap between tiles costs and what it buys: probability against a run with half-tile overlap.

    .venv/bin/python tests/benchmarks/overlap.py [BEFORE AFTER]

Without rasters of your own, the sample scene is drawn. For each overlap: the number of tiles and their side, the
pixels computed for one of the raster, and the 99th percentile of the probability's difference from half-tile
overlap. A rim of the raster is left out: there the runs differ in how far they mirror the image beyond its edge, which
no overlap mends. The smallest overlap with at most 0.02 belongs into the model's card. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from changen2.jobs.detect import detect
from changen2.models.registry import card_of
from changen2.scenes.sample import write_sample

OVERLAPS = (64, 128, 192, 256, 320, 384)
ALLOWED = 0.02
SIZE = 2600
"""Pixels along a side of the scene: several tiles, so that most seams are seen."""
RIM = 192


def probability(before: Path, after: Path, out: Path, **options: object) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the probability map 0..1 without its rim, and the manifest's entry on tiles."""
    result = detect(before, after, out, **options)
    with rasterio.open(result["outputs"]["change_probability"]) as dataset:
        stored = dataset.read(1).astype(np.float32)
    tiles = json.loads(Path(result["outputs"]["manifest"]).read_text(encoding="utf8"))["tiles"]
    return ((stored - 1) / 254)[RIM:-RIM, RIM:-RIM], tiles


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) == 3:
            pair = Path(sys.argv[1]), Path(sys.argv[2])
        else:
            scene = write_sample(folder / "scene", size=SIZE)
            pair = Path(scene["before"]), Path(scene["after"])
        tile = card_of("tiny").tile_size
        half, _ = probability(*pair, folder / "half", overlap=tile // 2)
        rows = []
        for overlap in OVERLAPS:
            found, tiles = probability(*pair, folder / str(overlap), overlap=overlap)
            difference = float(np.percentile(np.abs(found - half), 99))
            height, width = (side + 2 * RIM for side in found.shape)
            seen = tiles["count"] * tiles["size"][0] * tiles["size"][1] / (height * width)
            row = {"overlap": overlap, "tiles": tiles["count"], "size": tiles["size"][0], "computed": round(seen, 2)}
            rows.append({**row, "p99_difference": round(difference, 4)})
    enough = next((row["overlap"] for row in rows if row["p99_difference"] <= ALLOWED), None)
    print(json.dumps({"date": date.today().isoformat(), "tile": tile, "rows": rows, "smallest": enough}, indent=2))


if __name__ == "__main__":
    main()
