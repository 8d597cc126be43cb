"""Small rasters, and models without weights whose answers are known: a detector and a generator."""

import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from torch import nn

from changen2.jobs import detect as job
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesize import run_with
from changen2.models.detection import Detection
from changen2.models.predictor import Predictor
from changen2.models.registry import ModelCard
from changen2.protocol import DetectRequest, SynthesizeRequest, validate
from changen2.raster.gdal import gdal_environment

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
    monkeypatch.setattr("changen2.jobs.detection.plan.card_of", lambda name, task="detect": CARD)

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
def models_folder(tmp_path, monkeypatch):
    """A models' folder of the test's own."""
    monkeypatch.setenv("CHANGEN2_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def write_raster(tmp_path):
    """Write ``[bands, h, w]`` as GeoTIFF (or by extension) and return its path."""

    def write(name, values, **profile):
        path = tmp_path / name
        driver = {".png": "PNG", ".jpg": "JPEG"}.get(path.suffix, "GTiff")
        count, height, width = values.shape
        given = {"crs": "EPSG:32633", "transform": UTM} if driver == "GTiff" else {}
        given = {"dtype": values.dtype, **given, **profile}
        with rasterio.open(path, "w", driver=driver, count=count, height=height, width=width, **given) as dataset:
            dataset.write(values)
        return path

    return write


@pytest.fixture
def zipped(tmp_path):
    """Pack files, ``zipped(first, …)``, and return what GDAL calls the first of them; only there are they found."""

    def pack(*paths):
        archive = tmp_path / f"{Path(paths[0]).stem}.zip"
        with zipfile.ZipFile(archive, "w") as target:
            for path in paths:
                target.write(path, Path(path).name)
        return f"/vsizip/{archive}/{Path(paths[0]).name}"

    return pack


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


@pytest.fixture
def rising():
    """Check that every stage of some reports counts its units up, in one piece, to a total that stays; return them."""

    def check(reports):
        stages = [stage for stage, _ in itertools.groupby(report.stage for report in reports)]
        assert len(stages) == len(set(stages))
        for stage in stages:
            (total,) = {report.total for report in reports if report.stage == stage}
            done = [report.done for report in reports if report.stage == stage]
            assert done == sorted(set(done) if total else done), stage
        return stages

    return check


def read(path):
    """Return a raster's first band."""
    with rasterio.open(path) as dataset:
        return dataset.read(1)


class FlatGenerator(nn.Module):
    """A generator whose answer is known: classes of flat colour with some noise, an autoencoder that averages 4 × 4.

    Its denoiser is the exact one for Gaussian data around the class's colour, smoothed a little over space, so that it
    would show where a window ends.
    """

    latent_stride = 4
    latent_channels = 4
    is_local = True
    prediction = "velocity"
    schedule = "cosine"
    num_classes = 7
    outlined_classes = (3, 4)
    spread = 0.05
    palette = torch.tensor(
        [[0, 0, 0], [-0.6, 0, 0.6], [0.5, 0.3, 0], [-0.2, -0.2, -0.2], [0.8, -0.4, -0.4], [-0.5, 0.3, -0.5], [0, 0, 0]]
    )

    def encode(self, rgb):
        pooled = nn.functional.avg_pool2d(rgb / 127.5 - 1, 4)
        return torch.cat([pooled, pooled.mean(1, keepdim=True)], 1)

    def decode(self, latents):
        return nn.functional.interpolate(((latents[:, :3] + 1) * 127.5).clamp(0, 255), scale_factor=4)

    def embed_labels(self, labels, gsd):
        colour = self.palette[labels].permute(0, 3, 1, 2)
        return self.encode((colour + 1) * 127.5)

    def denoise(self, x_t, t, label_embedding, context_latent, mask):
        wanted = nn.functional.avg_pool2d(mask * label_embedding + context_latent, 3, 1, 1)
        # Timesteps of the cosine schedule, continuous: its offset of 0.008 hardly matters to this stand-in.
        angle = ((t.float() + 1) / 1000 * torch.pi / 2).clamp(max=1.57).view(-1, 1, 1, 1)
        signal, noise = angle.cos(), angle.sin()
        variance = self.spread**2
        x0 = wanted + variance * signal * (x_t - signal * wanted) / (signal**2 * variance + noise**2)
        return (signal * x_t - x0) / noise


FLAT = ModelCard(
    name="flat",
    architecture="none",
    title="Flat colours",
    task="synthesize",
    gsd_min=0.2,
    gsd_max=1,
    gsd_native=0.5,
    licence="Apache-2.0",
    sha256="",
    classes=[
        {"index": index, "name": name, "color": "#808080"}
        for index, name in enumerate(["background", "water", "land", "road", "building", "vegetation", "contour"])
    ],
)


@pytest.fixture
def flat_generator():
    """A generator without weights whose answer is known."""
    return FlatGenerator().eval()


@pytest.fixture
def flat_card():
    """What is known of the flat generator without running it."""
    return FLAT


@pytest.fixture
def flat(flat_generator):
    """Run the synthesize job with the flat generator: ``flat(image, out, **options)``."""

    def run(image, out, reporter=None, **options):
        given = {key: str(value) if hasattr(value, "parts") else value for key, value in options.items()}
        request = validate(SynthesizeRequest, {"sampling_steps": 4, **given, "image": str(image), "out_dir": str(out)})
        return run_with(request, FLAT, lambda: flat_generator, reporter or Reporter())

    return run
