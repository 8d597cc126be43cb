"""What synthesis costs: whether it follows the change, not the raster. Ratios of one run.

    make bench
    make bench-synthesis

Measured with the embedded generator where it is installed, else with its architecture and random weights, which costs
the same: (1) the same ten polygons on a small and on a large raster, each in a process of its own; (2) writing one
image against copying the same file to the same format; (3) seconds per changed pixel for changes of growing size; (4)
pictures of growing size drawn whole; (5) one change of 256² in a worker that has done another before. Seconds are the
processor's, on one thread, so that ratios hold on a machine that does other work too; the worker's are the clock's as
well, on all cores. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE, Popen

import numpy as np
import psutil
import pyogrio
import rasterio
import rasterio.shutil
import shapely
import torch
from affine import Affine
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.gpcm.synthesis import Generator
from changen2.jobs.runs.progress import Progress, Reporter
from changen2.jobs.synthesize import run_with
from changen2.models.generator_tiny import TinyGenerator
from changen2.models.registry import ModelCard, card_of, load_model
from changen2.protocol import SynthesizeRequest
from changen2.reports.drawing import INITS, draw_whole

WHOLE = ((256, 256), (512, 512), (1024, 1024), (384, 1088))
WORKER = [sys.executable, "-m", "changen2", "worker"]
TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000)


def generator() -> tuple[ModelCard, Generator]:
    """The embedded generator, or one with random weights."""
    try:
        card = card_of("tiny", "synthesize")
        return card, load_model(card)  # type: ignore[return-value]
    except InputError:
        torch.manual_seed(0)
        names = ("background", "water", "land", "road", "building", "vegetation", "contour")
        classes = [{"index": index, "name": name, "color": "#808080"} for index, name in enumerate(names)]
        card = ModelCard(
            name="random weights", architecture="generator-tiny", title="", task="synthesize", gsd_min=0.2, gsd_max=1,
            gsd_native=0.5, licence="", sha256="", classes=classes,
        )  # fmt: skip
        return card, TinyGenerator()


def write_image(path: Path, side: int) -> None:
    """Write side² uint8 RGB pixels of textured ground."""
    random = np.random.default_rng(0)
    tile = np.kron(random.integers(70, 150, (3, 128, 128)), np.ones((8, 8))) + random.normal(0, 4, (3, 1024, 1024))
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": side, "height": side, "tiled": True,
               "crs": "EPSG:32633", "compress": "DEFLATE", "predictor": 2, "transform": TRANSFORM}  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for top in range(0, side, 1024):
            for left in range(0, side, 1024):
                height, width = min(1024, side - top), min(1024, side - left)
                dataset.write(tile[:, :height, :width].astype(np.uint8), window=Window(left, top, width, height))


def write_events(path: Path, boxes: list[tuple[int, int, int, int]]) -> None:
    """Write created buildings given as left, top, right, bottom in pixels."""
    corners = [(TRANSFORM @ (left, top), TRANSFORM @ (right, bottom)) for left, top, right, bottom in boxes]
    polygons = [shapely.box(x0, y1, x1, y0) for (x0, y0), (x1, y1) in corners]
    pyogrio.raw.write(
        path, geometry=shapely.to_wkb(np.array(polygons, dtype=object)), geometry_type="Polygon", crs="EPSG:32633",
        driver="GPKG", fields=["event", "to_class"],
        field_data=[np.array(["create"] * len(boxes), object), np.array(["building"] * len(boxes), object)],
    )  # fmt: skip


def run(folder: Path, side: int, boxes: list[tuple[int, int, int, int]], steps: int) -> dict[str, float]:
    """Synthesize once; return the seconds of each stage, counts and the peak memory of this process."""
    write_image(folder / "image.tif", side)
    write_events(folder / "events.gpkg", boxes)
    began: dict[str, float] = {}

    def note(progress: Progress) -> None:
        began.setdefault(progress.stage, time.process_time())

    request = SynthesizeRequest(
        image=str(folder / "image.tif"), out_dir=str(folder / "out"), events=str(folder / "events.gpkg"),
        sampling_steps=steps, device="cpu", threads=1, init="noise",
    )  # fmt: skip
    card, network = generator()
    clock = time.process_time()
    summary = run_with(request, card, lambda: network, Reporter(note))["summary"]
    end = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    copy = {"driver": "COG", "compress": "DEFLATE", "predictor": "YES", "num_threads": 2, "bigtiff": "IF_SAFER"}
    copied = time.process_time()
    rasterio.shutil.copy(folder / "image.tif", folder / "copy.tif", **copy)
    return {
        "labels_s": began["synthesize"] - clock,
        "drawing_s": began["write"] - began["synthesize"],
        "writing_s": end - began["write"],
        "copy_s": time.process_time() - copied,
        "encoded": summary["encoded_tiles"],
        "sampled": summary["sampled_tiles"],
        "changed_px": sum(summary["changed_px"]),
        "peak_mb": peak,
    }


def apart(side: int, boxes: list[tuple[int, int, int, int]], steps: int) -> dict[str, float]:
    """``run`` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--once", json.dumps([folder, side, boxes, steps])]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare_rasters(sides: list[int], steps: int) -> dict[str, object]:
    """The same ten buildings on a small and on a large raster."""
    ten = [(200 + i % 5 * 350, 300 + i // 5 * 800, 240 + i % 5 * 350 + i * 5, 350 + i // 5 * 800) for i in range(10)]
    small, large = (apart(side, ten, steps) for side in sides)
    return {
        "small": small,
        "large": large,
        "drawing_ratio": large["drawing_s"] / small["drawing_s"],
        "writing_over_copy": large["writing_s"] / large["copy_s"],
        "memory_difference_mb": large["peak_mb"] - small["peak_mb"],
    }


def growing_changes(sides: list[int], steps: int) -> dict[int, dict[str, float]]:
    """One square change of each size, with what a changed pixel costs against one of the smallest change."""
    found: dict[int, dict[str, float]] = {}
    for side in sides:
        cost = apart(side + 512, [(250, 250, 250 + side, 250 + side)], steps)
        found[side] = {**cost, "drawing_us_per_px": 1e6 * cost["drawing_s"] / cost["changed_px"]}
        found[side]["over_the_smallest"] = found[side]["drawing_us_per_px"] / found[sides[0]]["drawing_us_per_px"]
    return found


def whole_pictures(steps: int) -> dict[str, dict[str, float]]:
    """Draw pictures of growing size from labels alone, each in one piece."""
    torch.set_num_threads(1)
    _, network = generator()
    found = {}
    for height, width in WHOLE:
        labels = np.random.default_rng(0).integers(0, 6, (1, height // 64, width // 64)).astype(np.uint8)
        clock, began = time.process_time(), time.perf_counter()
        draw_whole(network, labels.repeat(64, 1).repeat(64, 2), [0.5], [0], "dpmpp", steps)
        seconds = time.process_time() - clock
        found[f"{height} x {width}"] = {
            "cpu_s": seconds,
            "clock_s": time.perf_counter() - began,
            "cpu_us_per_px": 1e6 * seconds / (height * width),
        }
    return found


def warm_worker(steps: int) -> dict[str, dict[str, float]]:
    """One change of 256² by a worker process that has done another before, from noise and from an exemplar."""
    card_of("tiny", "synthesize")  # says so where the worker has no generator
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place, Popen(WORKER, stdin=PIPE, stdout=PIPE, text=True) as worker:
        folder, process = Path(place), psutil.Process(worker.pid)
        write_image(folder / "image.tif", 1024)
        write_events(folder / "events.gpkg", [(300, 300, 556, 556)])
        for number, init in enumerate(("noise", *INITS)):
            used, began = sum(process.cpu_times()[:2]), time.perf_counter()
            params = {
                "image": str(folder / "image.tif"), "events": str(folder / "events.gpkg"), "device": "cpu",
                "out_dir": str(folder / str(number)), "sampling_steps": steps, "init": init,
            }  # fmt: skip
            request = {"jsonrpc": "2.0", "id": number, "method": "synthesize", "params": params}
            print(json.dumps(request), file=worker.stdin, flush=True)
            answer = next(line for line in map(json.loads, worker.stdout) if line.get("id") == number)
            if "error" in answer:
                raise InputError(answer["error"]["message"])
            clock, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - used
            found[f"from {init}"] = {"clock_s": clock, "cpu_s": cpu}
        worker.kill()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--once", help=argparse.SUPPRESS)
    parser.add_argument("--sides", type=int, nargs=2, default=[2048, 8192])
    parser.add_argument("--changes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--parts", nargs="+", choices=["rasters", "changes", "whole", "worker"],
                        default=["rasters", "changes"])  # fmt: skip
    given = parser.parse_args()
    if given.once:
        folder, side, boxes, steps = json.loads(given.once)
        print(json.dumps(run(Path(folder), side, boxes, steps)))
        return
    report: dict[str, object] = {}
    if "rasters" in given.parts:
        report |= compare_rasters(given.sides, given.steps)
    if "changes" in given.parts:
        report["changes"] = growing_changes(given.changes, given.steps)
    if "whole" in given.parts:
        report["whole"] = whole_pictures(given.steps)
    if "worker" in given.parts:
        report["warm_worker"] = warm_worker(given.steps)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
