"""The sample scene as a job: too much for the memory, or a seed that is none, is refused before anything is drawn."""

import json
import math
import tracemalloc
from pathlib import Path

import pytest

from changen2.errors import Cancelled, InputError
from changen2.jobs.sample import check_memory, sample
from changen2.protocol import EventRules, FinetuneRequest, SampleRequest, validate
from changen2.scenes.sample import BYTES_PER_PIXEL, write_sample


def test_drawing_takes_no_more_memory_than_is_asked_for(tmp_path):
    write_sample(tmp_path / "warm", 128)  # what is loaded once does not count
    tracemalloc.start()
    try:
        write_sample(tmp_path / "scene", 768)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.7 < peak / (768**2 * BYTES_PER_PIXEL) < 1


@pytest.mark.parametrize("size", [128, 1000, 4096, 8192])
def test_a_scene_that_memory_does_not_hold_is_refused_with_the_largest_that_it_does(size):
    needed = size**2 * BYTES_PER_PIXEL
    check_memory(size, needed)
    for free in (needed - 1, needed // 2, 0):
        with pytest.raises(InputError) as caught:
            check_memory(size, free)
        assert caught.value.code == "too_large"
        largest = math.isqrt(free // BYTES_PER_PIXEL)
        assert f"at most {largest} pixels" in caught.value.hint
        check_memory(largest, free)


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_it_is_cancelled_while_it_draws_and_nothing_is_left(tmp_path, share):
    asked = []
    sample(tmp_path / "whole", size=128, is_cancelled=lambda: asked.append(1) or False)
    assert len(asked) > 20
    left = [share * (len(asked) - 1)]

    def is_cancelled():
        left[0] -= 1
        return left[0] < 0

    with pytest.raises(Cancelled):
        sample(tmp_path / "scene", size=128, is_cancelled=is_cancelled)
    assert not (tmp_path / "scene").exists()


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_is_a_number_from_0(tmp_path, seed):
    with pytest.raises(InputError, match=f"seed is {seed}; allowed: a whole number from 0 ") as caught:
        sample(tmp_path / "scene", size=128, seed=seed)
    assert caught.value.code == "bad_value" and not (tmp_path / "scene").exists()
    for schema in (EventRules, FinetuneRequest, SampleRequest):
        with pytest.raises(InputError, match="seed is "):
            validate(schema, {"seed": seed})


def test_a_scene_that_is_there_stays_and_no_option_is_named_that_the_command_has_not(tmp_path):
    made = sample(tmp_path / "scene", size=128, seed=3)["outputs"]
    manifest = json.loads(Path(made["manifest"]).read_text(encoding="utf8"))
    assert (manifest["job"], manifest["parameters"]["seed"], manifest["parameters"]["size"]) == ("sample", 3, 128)
    assert all((tmp_path / "scene" / name).is_file() for name in manifest["outputs"].values())
    with pytest.raises(InputError, match="already holds") as caught:
        sample(tmp_path / "scene", size=128)
    assert caught.value.hint == "Choose a new folder."
