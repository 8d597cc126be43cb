"""The detector as the raster engine sees it: probing, stopping midway, and memory that does not suffice."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from changen2.errors import Cancelled, JobError
from changen2.models.detection import Detection
from changen2.models.predictor import Predictor, batch_that_fits, pair_bytes

TILE = np.zeros((1, 3, 96, 128), np.uint8)


class Layered(nn.Module):
    """Three layers, the sizes of what went through them, and the pairs that fit into memory at once."""

    def __init__(self, fits=8):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Identity() for _ in range(3)))
        self.seen = []
        self.fits = fits

    def forward(self, before, after):
        self.seen.append(tuple(before.shape[2:]))
        if len(before) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        change = self.layers(before[:, :1]).sigmoid()
        return Detection(change=change, semantic_before=change, semantic_after=change)


@pytest.fixture
def predictor():
    return Predictor(Layered(), torch.device("cpu"), torch.float32, 1)


def test_a_cpu_is_not_made_to_compute_a_whole_tile_for_the_number_of_planes(predictor):
    assert predictor.probe((1024, 32)) == 3
    assert predictor._model.seen == [(64, 32)]


@given(free=st.integers(0, 20_000_000_000), tile=st.tuples(st.integers(32, 4096), st.integers(32, 4096)))
def test_a_gpu_is_given_as_many_pairs_as_it_has_memory_for(free, tile):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("changen2.models.predictor.memory_free", lambda device: free)
        batch = batch_that_fits(torch.device("cuda:0"), tile)
        assert batch_that_fits(torch.device("cpu"), tile) == 1
    assert 1 <= batch <= 8
    assert batch == 1 or batch * pair_bytes(tile) <= free
    assert batch == 8 or (batch + 1) * pair_bytes(tile) > free


@given(batch=st.integers(1, 9), fits=st.integers(1, 9), later=st.integers(1, 9), count=st.integers(1, 9))
def test_the_batch_is_halved_whenever_memory_is_short(batch, fits, later, count):
    tiles = np.random.default_rng(count).integers(0, 256, (2, count, 3, 32, 32)).astype(np.uint8)
    alone = Predictor(Layered(), torch.device("cpu"), torch.float32, 1).predict(*tiles)
    model = Layered(fits)
    predictor = Predictor(model, torch.device("cpu"), torch.float32, batch)
    predictor.probe((32, 32))
    assert predictor.batch_size <= fits
    model.fits = later  # another program took memory, or gave some back
    np.testing.assert_array_equal(predictor.predict(*tiles), alone)
    least = min(fits, later)
    assert predictor.batch_size in {batch >> times for times in range(4)}
    assert predictor.batch_size <= least and (predictor.batch_size == batch or 2 * predictor.batch_size + 1 > least)


def test_where_not_even_one_pair_fits_it_is_said():
    predictor = Predictor(Layered(0), torch.device("cpu"), torch.float32, 4)
    with pytest.raises(JobError, match="One pair of 96 × 128 tiles does not fit into the free memory of cpu") as caught:
        predictor.predict(TILE, TILE)
    assert caught.value.code == "out_of_memory" and "--tile-size" in caught.value.hint


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


@pytest.mark.parametrize("strange", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_not_taken_for_a_map(strange):
    class Broken(nn.Module):
        def forward(self, before, after):
            change = before[:, :1].sigmoid()
            change[-1, 0, 5, 7] = strange
            return Detection(change=change, semantic_before=change, semantic_after=change)

    with pytest.raises(JobError, match="not a number somewhere") as raised:
        Predictor(Broken(), torch.device("cpu"), torch.float32, 1).predict(TILE, TILE)
    assert raised.value.code == "not_a_number"
