"""Roofs by themselves."""

import numpy as np
import pytest

from changen2.scenes.roof import clear_day, draw_roof

MEADOW = np.array([90.0, 110.0, 70.0])


def drawn(parts, seed, shape=(60, 80), angle=0.0):
    return draw_roof(parts, (12.0, 9.0, angle), shape, 0.3, clear_day([1]), MEADOW, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(6))
def test_the_roof_lies_on_its_footprint(seed):
    picture = drawn([(0.0, 0.0, 6.0, 4.0)], seed).astype(float)
    x, y = (np.arange(80) + 0.5) * 0.3 - 12, (np.arange(60) + 0.5) * 0.3 - 9
    inside = (np.abs(x)[None] < 5.5) & (np.abs(y)[:, None] < 3.5)
    outside = (np.abs(x)[None] > 6.6) | (np.abs(y)[:, None] > 4.6)
    ground = np.median(picture[outside], axis=0)
    assert np.abs(picture[inside] - ground).sum(-1).mean() > 25


def test_the_same_seed_draws_the_same_roof():
    parts = [(0.0, 0.0, 6.0, 4.0), (3.0, 3.0, 2.0, 4.0)]
    assert np.array_equal(drawn(parts, 3), drawn(parts, 3))
    assert not np.array_equal(drawn(parts, 3), drawn(parts, 4))


def test_a_day_is_clear_and_its_own():
    first, again, other = clear_day([1]), clear_day([1]), clear_day([2])
    assert first == again and first.sun_azimuth != other.sun_azimuth
    assert first.haze == 0 and first.lean == (0.0, 0.0)
