import platform
import subprocess
import sys

import pytest
import torch

from changen2 import heap
from changen2.heap import kept_memory

# In a process of its own: how much memory this one holds ready depends on the tests before.
SCRIPT = """
import resource
import psutil
import torch
from changen2.heap import kept_memory
from changen2.models.registry import card_of, load_model

torch.set_num_threads(1)
model, tile = load_model(card_of("tiny")).eval(), torch.zeros(1, 3, 512, 512)

@torch.inference_mode()
def faults_of_a_look():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    model(tile, tile)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

resident = psutil.Process().memory_info
faults_of_a_look()
usual, small = faults_of_a_look(), resident().rss
try:
    with kept_memory():
        for _ in range(3):
            kept = faults_of_a_look()
        large = resident().rss
        raise KeyError
except KeyError:
    print(usual, kept, large - small, resident().rss - small)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_is_kept_for_what_comes_next_and_given_back_at_the_end():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    usual_faults, faults, grown, left = map(int, done.stdout.split())
    assert faults < usual_faults / 4
    assert grown > 50 * 2**20
    assert left < grown / 2


def test_where_the_c_library_is_another_nothing_happens(monkeypatch):
    def nameless(name):
        raise TypeError("as on Windows")

    monkeypatch.setattr(heap.ctypes, "CDLL", nameless)
    with kept_memory():
        assert torch.ones(3).sum() == 3
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    with kept_memory():
        assert torch.ones(3).sum() == 3
