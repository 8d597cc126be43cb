import platform

import psutil
import pytest
import torch

from changen2 import heap
from changen2.heap import kept_memory
from changen2.models.registry import card_of, load_model

SIDE = 512

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


@pytest.fixture(scope="module")
def model():
    return load_model(card_of("tiny")).eval()


@torch.inference_mode()
def look(model):
    """The embedded detector at a tile, for which it takes and frees more than glibc keeps by itself."""
    model(*torch.zeros(2, 1, 3, SIDE, SIDE))


def faults_of(model):
    """Pages that the kernel hands out during two looks."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(2):
        look(model)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@needs_glibc
def test_memory_is_kept_for_what_comes_next(model):
    look(model)
    usual = faults_of(model)
    with kept_memory():
        faults_of(model)  # the heap grows to what is needed at once
        assert faults_of(model) < usual / 4


@needs_glibc
def test_memory_is_given_back_at_the_end(model):
    process = psutil.Process()
    before = process.memory_info().rss
    with pytest.raises(KeyError), kept_memory():
        look(model)
        grown = process.memory_info().rss - before
        assert grown > 50 * 2**20
        raise KeyError
    assert process.memory_info().rss - before < grown / 2


def test_where_the_c_library_is_another_nothing_happens(monkeypatch):
    def nameless(name):
        raise TypeError("as on Windows")

    monkeypatch.setattr(heap.ctypes, "CDLL", nameless)
    with kept_memory():
        assert torch.ones(3).sum() == 3
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    with kept_memory():
        assert torch.ones(3).sum() == 3
