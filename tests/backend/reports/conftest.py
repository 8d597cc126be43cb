"""A subject whose generator's answer is known, on a tile of its own."""

import numpy as np
import pytest
import torch

from changen2.models.registry import ModelCard, embedded_detector
from changen2.models.rsdit_tiny import BUILDING, WATER
from changen2.reports.held_out import Tile
from changen2.reports.subject import Options, Subject


@pytest.fixture(autouse=True)
def one_thread():
    """Where other work goes on beside the tests, a second thread mostly waits for the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tile():
    """256² of noise with two houses by the water."""
    image = np.random.default_rng(0).integers(90, 110, (3, 256, 256)).astype(np.uint8)
    label = np.zeros((256, 256), np.uint8)
    label[:8] = WATER
    label[40:70, 40:80] = label[150:180, 30:60] = BUILDING
    return Tile("nowhere", "0 0", image, label, 0.3)


@pytest.fixture
def subject(flat_generator, tile, tmp_path, monkeypatch):
    """The flat generator; every tile is the same."""
    names = ("background", "water", "land", "road", "building", "vegetation", "contour")
    classes = [{"index": index, "name": name, "color": f"#{index:06x}"} for index, name in enumerate(names)]
    card = ModelCard(
        name="flat", architecture="none", title="", task="synthesize", gsd_min=0.2, gsd_max=1, gsd_native=0.3,
        licence="", sha256="0" * 64, classes=classes,
    )  # fmt: skip
    monkeypatch.setattr(Subject, "tiles", lambda self, count, *_: [tile] * min(count, 2))
    folders = (tmp_path / "data", tmp_path / "out", tmp_path / "cache")
    sizes = {"tiles": 2, "ancestral_steps": 3, "objects": 4, "edits": 2, "examples": 1, "series": 1, "resamples": 10}
    encoder = tmp_path / "encoder.pth"
    torch.save(embedded_detector().encoder.state_dict(), encoder)
    folders = (*folders, str(encoder))
    return Subject(flat_generator, card, "flat", Options(*folders, **sizes, segmenters=("embedded",)))
