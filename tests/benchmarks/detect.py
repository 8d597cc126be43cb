"""What the raster engine costs beside the model, and what memory it takes: ratios of one run.

    make bench

Measured on a pair drawn at random into a temporary folder: (1) tiles per second of a whole
``detect`` against the bare model on tiles in memory; (2) peak memory for two sizes of raster, each in a
process of its own, with a model that costs nothing; (3) seconds of a detection of 1024² pixels; (4) the bare
model where freed memory is kept, as jobs do, against where it is given back. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window

from changen2.heap import kept_memory
from changen2.jobs import detect as job
from changen2.jobs.detection.plan import Plan
from changen2.jobs.runs.progress import Reporter
from changen2.models.detection import Detection
from changen2.models.devices import devices
from changen2.models.predictor import Predictor
from changen2.protocol import DetectRequest
from changen2.raster.gdal import gdal_environment
from changen2.raster.output_folder import OutputFolder

BARE_TILES = 4


class Free(torch.nn.Module):
    """A model that costs next to nothing: what is left is the engine."""

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> Detection:
        """Return the brightness difference as change."""
        change = (before - after).abs().mean(1, keepdim=True).clamp(0, 1)
        return Detection(change=change, semantic_before=change, semantic_after=change)


def write_pair(folder: Path, side: int) -> tuple[Path, Path]:
    """Write a pair of side² uint8 RGB rasters of smooth noise with some changed squares."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 200, (3, 65, 65)).astype(np.float32)
    patch = np.stack([np.kron(band, np.ones((16, 16), np.float32))[:1024, :1024] for band in coarse]).astype(np.uint8)
    paths = folder / f"before_{side}.tif", folder / f"after_{side}.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": side, "height": side, "tiled": True,
               "blockxsize": 512, "blockysize": 512, "crs": "EPSG:32633", "compress": "LZW",
               "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000)}  # fmt: skip
    for path in paths:
        with rasterio.open(path, "w", **profile) as dataset:
            for row in range(0, side, 1024):
                for column in range(0, side, 1024):
                    here = patch.copy()
                    if "after" in path.name and (row // 1024 + column // 1024) % 5 == 0:
                        here[:, 300:360, 500:580] = 250
                    height, width = min(1024, side - row), min(1024, side - column)
                    dataset.write(here[:, :height, :width], window=Window(column, row, width, height))
    return paths


def run_once(pair: tuple[Path, Path], out: Path, free: bool) -> tuple[float, Plan, Predictor]:
    """Run a whole detection with a loaded model; return its seconds, its plan and its predictor."""
    request = DetectRequest(before=str(pair[0]), after=str(pair[1]), out_dir=str(out), overwrite=True)
    with gdal_environment():
        plan = job.make_plan(request)
        predictor = Predictor(Free(), torch.device("cpu"), torch.float32, 1) if free else job.load_predictor(plan)
        began = time.perf_counter()
        job.run_plan(plan, predictor, OutputFolder(out, overwrite=True), Reporter())
        return time.perf_counter() - began, plan, predictor


def bare_rate(predictor: Predictor, tile: int) -> float:
    """Tiles per second of the model alone, on tiles in memory."""
    tiles = np.random.default_rng(1).integers(0, 255, (2, 1, 3, tile, tile)).astype(np.uint8)
    predictor.predict(*tiles)
    began = time.perf_counter()
    for _ in range(BARE_TILES):
        predictor.predict(*tiles)
    return BARE_TILES / (time.perf_counter() - began)


def peak_memory(side: int, folder: Path) -> float:
    """Peak resident memory in MB of a detection in a process of its own."""
    command = [sys.executable, __file__, "--memory", str(side), "--folder", str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--memory", type=int, help="only run this size and print the peak memory")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.memory:
        run_once(write_pair(options.folder, options.memory), options.folder / "out", free=True)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = {side: peak_memory(side, folder) for side in (4096, 16384)}
        pair = write_pair(folder, options.side)
        small = write_pair(folder, 1024)
        run_once(small, folder / "warm", free=False)
        seconds_1024, _, predictor = run_once(small, folder / "small", free=False)
        seconds, plan, _ = run_once(pair, folder / "out", free=False)
        tiles, tile = plan.tile_count, plan.tiles.rows.tile
        rates, given_back = [], []
        for _ in range(2):
            given_back.append(bare_rate(predictor, tile))
            with kept_memory():
                rates.append(bare_rate(predictor, tile))
    bare = sum(rates) / len(rates)
    report = {
        "date": date.today().isoformat(),
        "machine": devices()[0].label,
        "precision": str(predictor.precision),
        "seconds_1024": round(seconds_1024, 2),
        "side": options.side,
        "tile": tile,
        "tiles": tiles,
        "detect_tiles_per_s": round(tiles / seconds, 3),
        "bare_model_tiles_per_s": [round(rate, 3) for rate in rates],
        "ratio": round(tiles / seconds / bare, 3),
        "kept_memory_against_given_back": round(sum(rates) / sum(given_back), 3),
        "peak_memory_mb": {str(side): round(value) for side, value in memory.items()},
        "peak_memory_difference_mb": round(memory[16384] - memory[4096]),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
