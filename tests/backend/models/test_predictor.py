"""The detector as the raster engine sees it: probing, and stopping midway."""

import numpy as np
import pytest
import torch
from torch import nn

from changen2.errors import Cancelled
from changen2.models.detection import Detection
from changen2.models.predictor import Predictor

TILE = np.zeros((1, 3, 96, 128), np.uint8)


class Layered(nn.Module):
    """Three layers, and the sizes of what went through them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Identity() for _ in range(3)))
        self.seen = []

    def forward(self, before, after):
        self.seen.append(tuple(before.shape[2:]))
        change = self.layers(before[:, :1]).sigmoid()
        return Detection(change=change, semantic_before=change, semantic_after=change)


@pytest.fixture
def predictor():
    return Predictor(Layered(), torch.device("cpu"), torch.float32, 1)


def test_a_cpu_is_not_made_to_compute_a_whole_tile_for_the_number_of_planes(predictor):
    assert predictor.probe((1024, 32)) == 3
    assert predictor._model.seen == [(64, 32)]


def test_a_tile_is_stopped_between_layers(predictor):
    asked = 0

    def check():
        nonlocal asked
        asked += 1
        if asked == 4:
            raise Cancelled

    with predictor.watched(check), pytest.raises(Cancelled):
        predictor.predict(TILE, TILE)
    assert asked == 4
    assert len(predictor._model.seen) == 1, "the model, its layers and the first layer were asked about"


def test_watching_changes_nothing_and_ends(predictor):
    def check():
        nonlocal asked
        asked += 1

    asked = 0
    alone = predictor.predict(TILE, TILE)
    with predictor.watched(check):
        np.testing.assert_array_equal(predictor.predict(TILE, TILE), alone)
    watched = asked
    predictor.predict(TILE, TILE)
    assert asked == watched == 5
