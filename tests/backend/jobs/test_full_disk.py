"""Every job says that a file cannot be written, wherever the disk is full, and leaves nothing that is of no use.

What a process may write to one file is limited: to the libraries that is what a full disk is.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import rasterio
import stand_in
from rasterio.windows import Window

from changen2.errors import JobError
from changen2.jobs import synthesize as synthesis
from changen2.jobs.detection.change_map import DetectionMaps
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.sample import sample
from changen2.jobs.simulate import simulate
from changen2.models.registry import ModelCard
from changen2.protocol import SynthesizeRequest, validate
from changen2.raster.grid import Grid
from changen2.raster.writing import WindowedRaster

resource = pytest.importorskip("resource", reason="the system does not limit the size of files")

CARD = ModelCard(
    name="flat", architecture="none", title="Flat colours", task="synthesize", gsd_min=0.2, gsd_max=1, gsd_native=0.5,
    licence="Apache-2.0", sha256="", classes=[{"index": 4, "name": "building", "color": "#808080"}],
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return sample(tmp_path_factory.mktemp("made"), size=128)["outputs"]


@contextmanager
def no_file_above(size):
    """Limit the bytes of a file; no longer than a job takes, for the report of the tests may be a file, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def synthesize(image, out):
    given = {"image": image, "out_dir": str(out), "simulate": "remove", "sampling_steps": 2, "threads": 1}
    synthesis.run_with(validate(SynthesizeRequest, given), CARD, stand_in.load, Reporter())


JOBS = {
    "sample": lambda made, out: sample(out, size=128),
    "simulate": lambda made, out: simulate(made["labels_before"], out),
    "synthesize": lambda made, out: synthesize(made["before"], out),
}


@pytest.mark.parametrize("size", [0, 100, 2_000, 10_000])
@pytest.mark.parametrize("job", JOBS)
def test_a_full_disk_is_said(job, size, made, tmp_path):
    with pytest.raises(JobError, match="cannot be written") as caught, no_file_above(size):
        JOBS[job](made, tmp_path / "out")
    assert caught.value.code == "disk" and "disk space" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("step", [WindowedRaster.flush, WindowedRaster.finish])
def test_pixels_that_did_not_get_to_the_disk_are_missed(pair, tmp_path, step):
    """GDAL writes them when the file is closed, and raises nothing there."""
    with rasterio.open(pair[0]) as dataset:
        grid = Grid.of(dataset)
    raster = WindowedRaster(tmp_path / "map.tif", grid, 0)
    raster.write(Window(10, 20, 300, 200), np.full((200, 300), 7, np.uint8))
    with pytest.raises(JobError, match="what was written is not there") as caught, no_file_above(0):
        step(raster)
    raster.close()
    assert caught.value.code == "disk" and not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize("missing", [1, 100, 1_000, 10_000])
def test_a_map_whose_end_is_missing_is_not_finished(pair, tmp_path, missing):
    with rasterio.open(pair[0]) as dataset:
        grid, values = Grid.of(dataset), dataset.read(1)
    for name in ("whole", "cut"):
        raster = WindowedRaster(tmp_path / f"{name}.tif", grid, 0)
        raster.write(grid.window, values)
        raster.flush()
        if name == "whole":
            raster.finish()
    size = (tmp_path / "whole.tif").stat().st_size
    with pytest.raises(JobError, match="cannot be written"), no_file_above(size - missing):
        raster.finish()
    raster.close()


@pytest.mark.parametrize("options", [{}, {"gsd": 0.4}])
def test_a_detection_goes_on_from_what_got_to_the_disk(pair, tmp_path, difference, monkeypatch, options):
    monkeypatch.setattr("changen2.raster.tiles.BLOCK_PIXELS", 128)
    write_core, blocks = DetectionMaps.write_core, []

    def until_full(self, *block):
        blocks.append(block)
        with no_file_above(0 if len(blocks) > 2 else 1 << 30):
            write_core(self, *block)

    with monkeypatch.context() as full:
        full.setattr(DetectionMaps, "write_core", until_full)
        with pytest.raises(JobError, match="cannot be written") as caught:
            difference(*pair, tmp_path / "run", **options)
    assert caught.value.code == "disk" and len(blocks) == 3
    again = difference(*pair, tmp_path / "run", resume=True, **options)
    whole = difference(*pair, tmp_path / "whole", **options)
    for name in ("change_probability", "change", "semantic_before", "semantic_after"):
        with rasterio.open(again["outputs"][name]) as resumed, rasterio.open(whole["outputs"][name]) as at_once:
            assert (resumed.read(1) == at_once.read(1)).all()
