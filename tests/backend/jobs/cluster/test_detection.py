"""Detection on a cluster of two worker processes gives what one machine gives, a lost worker included."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import rasterio

from changen2.errors import Cancelled, InputError
from changen2.jobs.cluster.crew import Crew
from changen2.jobs.cluster.detection import ClusterPredictor, Detector
from changen2.jobs.detect import detect, output_folder, run_plan
from changen2.jobs.detection.plan import make_plan
from changen2.jobs.runs.progress import Reporter
from changen2.models.devices import PRECISIONS
from changen2.protocol import DetectRequest, validate
from changen2.raster.gdal import gdal_environment

LAYERS = ("change_probability", "change", "semantic_before", "semantic_after")

SMALL = {"tile_size": 64, "overlap": 16, "precision": "fp32"}


@pytest.fixture
def dates(write_raster):
    """Two dates of 170 × 230 on different grids: blocks of several rows, an edge that is padded, some nodata."""
    rng = np.random.default_rng(4)
    ground = rng.integers(60, 140, (3, 22, 29)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    before, after = ground[:, :170, :230], ground[:, :170, :230].copy()
    after[:, 40:90, 150:210] = 230
    after[:, 120:160, :70] = 0
    moved = rasterio.Affine(0.5, 0, 500_001.3, 0, -0.5, 5_199_999.1)
    return write_raster("before.tif", before), write_raster("after.tif", after, transform=moved, nodata=0)


def layers(result):
    found = {}
    for name in LAYERS:
        with rasterio.open(result["outputs"][name]) as dataset:
            found[name] = dataset.read(1)
    return found


def test_a_cluster_gives_the_bytes_of_one_machine_also_when_it_loses_a_worker(dates, cluster, tmp_path, monkeypatch):
    # Small blocks, so that overlaps are carried from block to block.
    monkeypatch.setattr("changen2.raster.tiles.BLOCK_PIXELS", 128)
    here = detect(*dates, tmp_path / "here", threads=1, **SMALL)
    lost = []

    def kill(progress):
        if progress.stage == "detect" and progress.done >= progress.total // 2 and not lost:
            lost.append(cluster.workers[1].pid)
            os.kill(lost[0], signal.SIGKILL)

    far = detect(*dates, tmp_path / "far", dask=cluster.scheduler_address, on_progress=kill, **SMALL)
    assert lost
    for name, values in layers(here).items():
        assert (values == layers(far)[name]).all(), name
        paths = [result["outputs"][name] for result in (here, far)]
        assert len({Path(path).read_bytes() for path in paths}) == 1, name
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("here", "far")]
    for key in ("model", "tiles", "device", "precision", "threads", "inputs"):
        assert manifests[0][key] == manifests[1][key], key
    assert here["summary"]["polygons"] == far["summary"]["polygons"]


def test_a_run_begun_on_a_cluster_goes_on_here(dates, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("changen2.raster.tiles.BLOCK_PIXELS", 128)
    told = []
    with pytest.raises(Cancelled):
        detect(
            *dates,
            tmp_path / "out",
            dask=cluster.scheduler_address,
            on_progress=told.append,
            is_cancelled=lambda: (
                (tmp_path / "out/.changen2-work/journal.jsonl").exists()
                and len((tmp_path / "out/.changen2-work/journal.jsonl").read_text().splitlines()) > 2
            ),
            **SMALL,
        )
    went_on = detect(*dates, tmp_path / "out", threads=1, resume=True, **SMALL)
    whole = detect(*dates, tmp_path / "whole", threads=1, **SMALL)
    for name, values in layers(whole).items():
        assert (values == layers(went_on)[name]).all(), name


class ThreeAtOnce(Crew):
    """A worker that ends up with a precision and three tiles at once; it hears what the others are told."""

    def __init__(self, precision, on_gpus=False):
        super().__init__(None, lambda: 1, on_gpus=on_gpus)
        self.precision, self.told = precision, []

    def in_order(self, task, items, check):
        for item in items:
            if isinstance(item, Detector):
                yield "cpu", self.precision if item.precision == "auto" else item.precision, 3
            else:
                self.told.append(task.args[0])
                planes, (decided, reach) = task.args[2], (item.decided, item.reach)
                sums = np.zeros((planes, decided.height, decided.width), np.uint32)
                yield sums, np.ones((reach.height, reach.width), bool)


@pytest.mark.parametrize(
    ("worker", "options", "told"),
    [
        (ThreeAtOnce("bf16"), {}, "bf16"),
        # An older GPU answered; the next worker may have none.
        (ThreeAtOnce("fp16"), {}, "fp32"),
        (ThreeAtOnce("fp16", on_gpus=True), {}, "fp16"),
        (ThreeAtOnce("fp16"), {"device": "cuda"}, "fp16"),
        (ThreeAtOnce("fp16"), {"precision": "fp16"}, "fp16"),
    ],
)
def test_all_workers_are_told_the_precision_and_batch_of_the_first(dates, tmp_path, worker, options, told):
    given = {"before": str(dates[0]), "after": str(dates[1]), "out_dir": str(tmp_path / "out"), "dask": "there"}
    request = validate(DetectRequest, given | options)
    with gdal_environment():
        plan = make_plan(request)
        run_plan(plan, ClusterPredictor(plan, worker, lambda: None), output_folder(request), Reporter())
    assert worker.told and {(each.precision, each.batch_size) for each in worker.told} == {(told, 3)}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["precision"] == told


@pytest.mark.parametrize(
    ("on_gpus", "device", "noted"), [(False, "auto", "cuda"), (True, "auto", "cpu"), (False, "cpu", "cpu")]
)
def test_it_does_not_matter_which_of_unlike_workers_answers_a_run_that_goes_on(dates, on_gpus, device, noted):
    given = {"before": str(dates[0]), "after": str(dates[1]), "out_dir": "out", "dask": "there", "device": device}
    with gdal_environment():
        plan = make_plan(validate(DetectRequest, given))
    predictor = ClusterPredictor(plan, ThreeAtOnce("bf16", on_gpus), lambda: None, {"device": "cuda"})
    assert predictor.device.type == noted


def test_workers_that_go_on_are_told_the_precision_that_the_run_began_in(dates):
    given = {"before": str(dates[0]), "after": str(dates[1]), "out_dir": "out", "dask": "there"}
    for asked, told in (("auto", "bf16"), ("fp32", "fp32")):
        with gdal_environment():
            plan = make_plan(validate(DetectRequest, given | {"precision": asked}))
        predictor = ClusterPredictor(plan, ThreeAtOnce("fp32"), lambda: None, {"precision": "bf16"})
        assert PRECISIONS[predictor.precision] == told


def test_a_file_that_breaks_is_said(dates, cluster, tmp_path):
    content = dates[1].read_bytes()
    dates[1].write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="broken"):
        detect(*dates, tmp_path / "out", dask=cluster.scheduler_address, **SMALL)
    assert not (tmp_path / "out").exists()
