"""What a cluster's work costs: rates of one worker and of two, what the client spends itself, and what follows.

    make bench-scale

Detects change on a drawn pair with Dask workers of one thread on this machine, one and then two, and makes a small
data set in one process and then in two. Each worker is warm (its model loaded) before the clock starts. The client's
own share is timed with answers that cost it nothing: sums of a drawn probability, smooth noise of which a few percent
are change, so that there is something to compress and there are polygons to make. Prints one JSON object;
docs/scaling.md says what the numbers are for.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from distributed import LocalCluster
from numpy.typing import NDArray
from PIL import Image

from changen2.errors import InputError
from changen2.jobs.cluster.crew import Crew
from changen2.jobs.cluster.detection import ClusterPredictor, rows_of
from changen2.jobs.detect import detect
from changen2.jobs.detection.plan import make_plan
from changen2.jobs.generate import generate
from changen2.models.devices import devices
from changen2.models.predictor import QUANTUM
from changen2.protocol import DetectRequest
from changen2.raster.blending import BlockSums
from changen2.raster.tiles import Block
from changen2.scenes import draw_pair
from changen2.scenes.classes import BUILDING

sys.path.insert(0, str(Path(__file__).parent))
from detect import write_pair

KM2 = 1_000_000
"""Square metres."""
AREA = 1000
"""km² that costs are given for."""
CHANGED = 0.03
"""Share of the drawn probability that is change."""


def far_detection(pair: tuple[Path, Path], out: Path, workers: int) -> float:
    """Seconds of a detection on so many warm workers of one thread."""
    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster:
        options = {"dask": cluster.scheduler_address, "overwrite": True}
        # Rows of tiles go to whichever worker is free, so a detection loads the model on every one.
        detect(*pair, out, **options)
        began = time.perf_counter()
        detect(*pair, out, **options)
        return time.perf_counter() - began


def draw_probability(side: int) -> NDArray[np.uint16]:
    """Smooth noise of two scales as whole-numbered probabilities ``[side, side]``, ``CHANGED`` of them above a half."""
    random = torch.Generator().manual_seed(0)
    noise = torch.zeros(1, 1, side, side)
    for cell, weight in ((48, 1.0), (8, 0.3)):
        coarse = torch.randn(1, 1, side // cell + 2, side // cell + 2, generator=random)
        noise += weight * torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    logit = 4 * (noise[0, 0].numpy() - np.quantile(noise.numpy(), 1 - CHANGED))
    return np.rint(QUANTUM / (1 + np.exp(-logit))).astype(np.uint16)


class FreeCrew(Crew):
    """Workers that answer with the sums of a drawn probability.

    Args:
        side: of the pair, pixels.

    Attributes:
        seconds: spent on the answers, which workers would spend.
    """

    def __init__(self, side: int) -> None:
        self.seconds, self.on_gpus = 0.0, False
        self._probability = draw_probability(side)

    def in_order(self, task, items, check):  # type: ignore[no-untyped-def]
        """Answer each item as a worker would, but for its model."""
        for item in items:
            if not hasattr(item, "reach"):
                yield "cpu", "float32", 1
                continue
            began = time.perf_counter()
            answer = self._sums(item, task.args[2]), np.ones((item.reach.height, item.reach.width), bool)
            self.seconds += time.perf_counter() - began
            yield answer

    def _sums(self, block: Block, planes: int) -> NDArray[np.uint32]:
        sums, rows, columns = BlockSums(block, planes), block.grid.rows, block.grid.columns
        for row, column in block.tiles:
            (r0, r1), (c0, c1) = rows.seen(row), columns.seen(column)
            tile = np.zeros((planes, rows.tile, columns.tile), np.uint16)
            tile[:, : r1 - r0, : c1 - c0] = self._probability[r0:r1, c0:c1]
            sums.add(row, column, tile)
        return sums.sums


def client_seconds(pair: tuple[Path, Path], out: Path, side: int) -> tuple[float, dict[str, object]]:
    """Seconds that the client spends on blending, writing and polygons for a whole pair, and what it found."""
    from changen2.jobs.detect import run_plan
    from changen2.jobs.runs.progress import Reporter
    from changen2.raster.gdal import gdal_environment
    from changen2.raster.output_folder import OutputFolder

    with gdal_environment():
        request = DetectRequest(before=str(pair[0]), after=str(pair[1]), out_dir=str(out), threshold=0.5, dask="none")
        plan, crew = make_plan(request), FreeCrew(side)
        predictor = ClusterPredictor(plan, crew, lambda: None)
        began = time.perf_counter()
        found = run_plan(plan, predictor, OutputFolder(out, overwrite=True), Reporter())
        return time.perf_counter() - began - crew.seconds, found["summary"]


def detection(folder: Path, side: int) -> dict[str, object]:
    """Rates of detection and what follows from them."""
    pair = write_pair(folder, side)
    plan = make_plan(DetectRequest(before=str(pair[0]), after=str(pair[1]), out_dir=str(folder)))
    tiles, rows = plan.tile_count, plan.tiles.rows
    sent = sum(
        4 * plan.planes * row.decided.height * row.decided.width + row.reach.height * row.reach.width
        for block in plan.blocks
        for row in rows_of(block)
    )
    seconds = {workers: far_detection(pair, folder / f"far{workers}", workers) for workers in (1, 2)}
    client, drawn = client_seconds(pair, folder / "client", side)
    # Of a large raster, where tiles that reach over the edge do not count.
    per_area = AREA * KM2 / (rows.stride * float(plan.gsd or 1)) ** 2
    each, own = (seconds[1] - client) / tiles, client / tiles
    return {
        "side": side,
        "tile": rows.tile,
        "overlap": rows.overlap,
        "tiles": tiles,
        "worker_s_per_tile": round(each, 3),
        "client_s_per_tile": round(own, 4),
        "client_share_changed": round(drawn["change_px"] / drawn["valid_px"], 4),
        "client_polygons": drawn["polygons"],
        "bytes_to_client_per_tile": round(sent / tiles),
        "speedup_of_two_workers": round(seconds[1] / seconds[2], 2),
        f"tiles_per_{AREA}_km2_at_{plan.gsd:.2f}_m": round(per_area),
        f"worker_hours_per_{AREA}_km2": round(each * per_area / 3600, 2),
        "workers_that_keep_one_client_busy": round(each / own),
    }


def generation(folder: Path, pairs: int) -> dict[str, object]:
    """Rates of making a data set."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(4):
        scene = draw_pair(number, 512, 512, 0.5)
        Image.fromarray(scene.before).save(folder / "images" / f"{number}.png")
        buildings = (scene.semantic_before == BUILDING).astype(np.uint8) * np.uint8(255)
        Image.fromarray(buildings).save(folder / "masks" / f"{number}.png")
    seconds = {}
    for workers in (1, 2):
        # What a process costs before its first pair is taken off by a data set of a few pairs.
        times = []
        for count in (workers, workers + pairs):
            began = time.perf_counter()
            options = {"labels": folder / "masks", "workers": workers, "overwrite": True}
            generate(folder / "images", folder / f"set{workers}", pairs=count, unchanged=0.2, **options)
            times.append(time.perf_counter() - began)
        seconds[workers] = times[1] - times[0]
    written = sum(path.stat().st_size for path in (folder / "set2").rglob("*.png"))
    return {
        "pairs": pairs,
        "s_per_pair_one_process": round(seconds[1] / pairs, 2),
        "s_per_pair_two_processes": round(seconds[2] / pairs, 2),
        "bytes_per_pair": round(written / (pairs + 2)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=3072, help="pixels of the pair that is detected")
    parser.add_argument("--pairs", type=int, default=32, help="pairs of the data set that is made")
    options = parser.parse_args()
    report: dict[str, object] = {"date": date.today().isoformat(), "machine": devices()[-1].label}
    with tempfile.TemporaryDirectory() as name:
        report["detect"] = detection(Path(name), options.side)
    with tempfile.TemporaryDirectory() as name:
        try:
            report["generate"] = generation(Path(name), options.pairs)
        except InputError as error:
            report["generate"] = error.message
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
