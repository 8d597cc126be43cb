"""Small rasters, and a detector without weights whose answer is known: the difference of the dates."""

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from changen2.jobs import detect as job
from changen2.jobs.progress import Reporter
from changen2.models.detection import Detection
from changen2.models.predictor import Predictor
from changen2.models.registry import ModelCard
from changen2.protocol import DetectRequest, validate
from changen2.raster.reading import gdal_environment
from torch import nn

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000)

CARD = ModelCard(
    name="difference",
    architecture="none",
    title="Difference of two dates",
    gsd_min=0.2,
    gsd_max=20,
    gsd_native=0.5,
    tile_size=128,
    overlap=32,
    licence="Apache-2.0",
    sha256="",
    classes=[{"index": 0, "name": "other", "color": "#cccccc"}, {"index": 1, "name": "bright", "color": "#d7263d"}],
)


class Difference(nn.Module):
    """Change where the smoothed dates differ; it sees 7 pixels far, so tiles show at their edges."""

    def forward(self, before, after):
        difference = nn.functional.avg_pool2d((after - before).abs().mean(1, keepdim=True), 15, 1, 7)
        return Detection(
            change=torch.sigmoid(4 * (difference - 0.7)),
            semantic_before=torch.sigmoid(4 * before[:, :1]),
            semantic_after=torch.sigmoid(4 * after[:, :1]),
        )


@pytest.fixture
def difference(monkeypatch):
    """Run the detect job with the difference model: ``difference(before, after, out, **options)``."""
    monkeypatch.setattr(job, "card_of", lambda name, task="detect": CARD)

    def run(before, after, out, reporter=None, **options):
        given = {"before": str(before), "after": str(after), "out_dir": str(out), **options}
        request = validate(DetectRequest, given)
        with gdal_environment():
            plan = job.make_plan(request)
            batch = request.batch_size or 1
            predictor = Predictor(Difference(), torch.device("cpu"), torch.float32, batch)
            return job.run_plan(plan, predictor, job.output_folder(request), reporter or Reporter())

    return run


@pytest.fixture
def write_raster(tmp_path):
    """Write ``[bands, h, w]`` as GeoTIFF (or by extension) and return its path."""

    def write(name, values, **profile):
        path = tmp_path / name
        driver = {".png": "PNG", ".jpg": "JPEG"}.get(path.suffix, "GTiff")
        given = {"crs": "EPSG:32633", "transform": UTM, **profile} if driver == "GTiff" else profile
        count, height, width = values.shape
        with rasterio.open(
            path, "w", driver=driver, count=count, height=height, width=width, dtype=values.dtype, **given
        ) as dataset:
            dataset.write(values)
        return path

    return write


@pytest.fixture
def scene():
    """Two dates of noise ``[3, 300, 400]``; a bright square of 60 × 80 pixels appears at (100, 150)."""
    random = np.random.default_rng(1)
    before = random.integers(60, 100, (3, 300, 400)).astype(np.uint8)
    after = before.copy()
    after[:, 100:160, 150:230] = 230
    return before, after


@pytest.fixture
def pair(scene, write_raster):
    """The scene as two GeoTIFFs at 0.5 m."""
    return write_raster("before.tif", scene[0]), write_raster("after.tif", scene[1])


def read(path):
    """Return a raster's first band."""
    with rasterio.open(path) as dataset:
        return dataset.read(1)
