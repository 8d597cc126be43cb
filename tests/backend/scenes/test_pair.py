"""Scenes: reproducible, complete, and right in their labels."""

from dataclasses import replace

import numpy as np
import pytest

from changen2.errors import InputError
from changen2.scenes import CLASSES, SceneStyle, draw_pair
from changen2.scenes.classes import BUILDING
from changen2.scenes.style import KINDS


def test_the_same_seed_draws_the_same_scene_and_another_does_not() -> None:
    first, again, other = draw_pair(3, 64, 80, 0.5), draw_pair(3, 64, 80, 0.5), draw_pair(4, 64, 80, 0.5)
    assert first.before.shape == (64, 80, 3)
    assert np.array_equal(first.before, again.before)
    assert np.array_equal(first.after, again.after)
    assert np.array_equal(first.change, again.change)
    assert not np.array_equal(first.before, other.before)


def test_a_generator_gives_a_new_scene_each_time() -> None:
    rng = np.random.default_rng(0)
    assert not np.array_equal(draw_pair(rng, 48, 48, 0.5).before, draw_pair(rng, 48, 48, 0.5).before)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_place_has_buildings_that_come_or_go(kind: str) -> None:
    pairs = [draw_pair(s, 192, 192, 0.6, SceneStyle.random(np.random.default_rng(s), kind)) for s in range(3)]
    assert all(pair.style.kind == kind for pair in pairs)
    assert any(pair.change.any() for pair in pairs)
    assert any((pair.semantic_before == BUILDING).any() or (pair.semantic_after == BUILDING).any() for pair in pairs)
    for pair in pairs:
        assert np.unique(pair.semantic_before).max() < len(CLASSES)
        assert pair.before.std() > 5


@pytest.mark.parametrize("seed", range(6))
def test_change_is_where_a_building_is_at_one_date_only(seed: int) -> None:
    style = SceneStyle.random(np.random.default_rng(seed))
    straight = {"lean": (0.0, 0.0)}
    style = replace(style, before=replace(style.before, **straight), after=replace(style.after, **straight))
    pair = draw_pair(seed, 160, 160, 0.5, style)
    built = (pair.semantic_before == BUILDING) != (pair.semantic_after == BUILDING)
    assert np.array_equal(pair.change, built)


def test_unchanged_places_show_no_change_whatever_light_and_season_do() -> None:
    style = replace(SceneStyle.random(np.random.default_rng(5), "suburb"), created=0.0, removed=0.0, growth=0.0)
    pair = draw_pair(5, 128, 128, 0.5, style)
    assert not pair.change.any()
    assert np.abs(pair.before.astype(int) - pair.after).mean() > 2


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="too small"):
        draw_pair(0, 8, 64, 0.5)
    with pytest.raises(InputError, match="5"):
        draw_pair(0, 64, 64, 5)
