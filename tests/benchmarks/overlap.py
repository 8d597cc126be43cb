"""What overlap between tiles costs and what it buys: probability against a run with half-tile overlap.

    .venv/bin/python tests/benchmarks/overlap.py [BEFORE AFTER]

Without rasters of your own, the sample scene is drawn. For each overlap: the number of
tiles, and the 99th percentile of the probability's difference from half-tile overlap. The
smallest overlap with at most 0.02 belongs into the model's card. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import rasterio

from changen2.jobs.detect import detect
from changen2.models.registry import card_of
from changen2.scenes.sample import write_sample

OVERLAPS = (0, 16, 32, 64, 96, 128)
ALLOWED = 0.02


def probability(before: Path, after: Path, out: Path, **options: object) -> tuple[np.ndarray, int]:
    """Return the probability map 0..1 and how many tiles it took."""
    result = detect(before, after, out, **options)
    with rasterio.open(result["outputs"]["change_probability"]) as dataset:
        stored = dataset.read(1).astype(np.float32)
    tiles = json.loads(Path(result["outputs"]["manifest"]).read_text(encoding="utf8"))["tiles"]["count"]
    return (stored - 1) / 254, tiles


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) == 3:
            pair = Path(sys.argv[1]), Path(sys.argv[2])
        else:
            scene = write_sample(folder / "scene", size=1400)
            pair = Path(scene["before"]), Path(scene["after"])
        tile = card_of("tiny").tile_size
        half, _ = probability(*pair, folder / "half", overlap=tile // 2)
        rows = []
        for overlap in OVERLAPS:
            found, tiles = probability(*pair, folder / str(overlap), overlap=overlap)
            difference = float(np.percentile(np.abs(found - half), 99))
            rows.append({"overlap": overlap, "tiles": tiles, "p99_difference": round(difference, 4)})
    enough = next((row["overlap"] for row in rows if row["p99_difference"] <= ALLOWED), None)
    print(json.dumps({"date": date.today().isoformat(), "tile": tile, "rows": rows, "smallest": enough}, indent=2))


if __name__ == "__main__":
    main()
