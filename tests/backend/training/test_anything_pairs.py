"""Pairs in which anything may change: what is called change was laid over and shows, and nothing else differs."""

import numpy as np
import pytest

from changen2.scenes.classes import BUILDING, LAND, WATER
from changen2.training.anything_pairs import dates_of, draw_shape, drawn_shape, lay, make_pair, recoloured, tone_regions
from changen2.training.config import TrainingConfig
from changen2.training.crops import Crop
from changen2.training.places import IGNORE, Place

SEEDS = range(12)
CONFIG = TrainingConfig(
    network="anything", data="data", out="out", encoder_weights="none", sources={"town": 1.0}, kinds={"objects": 1.0},
    crop_size=64, gsd_range=(0.5, 1.0), max_shift=2,
)  # fmt: skip


def _town(seed: int, size: int = 96) -> Crop:
    """Rough ground with some houses, and water on one side."""
    rng = np.random.default_rng(seed)
    image = rng.normal(110, 12, (size, size, 3))
    label = np.full((size, size), LAND, np.uint8)
    label[:, : size // 4], image[:, : size // 4] = WATER, [20, 50, 70]
    for row, column in rng.integers(size // 4, size - 14, (4, 2)):
        label[row : row + 9, column : column + 12], image[row : row + 9, column : column + 12] = BUILDING, 210
    return Crop(np.clip(image, 0, 255).astype(np.float32), label)


def _dates(kind: str, seed: int) -> tuple[Crop, Crop, np.ndarray]:
    return dates_of(_town(seed), lambda: _town(seed + 100), kind, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["objects", "region"])
def test_change_was_laid_over_and_what_was_not_is_the_same(kind: str, seed: int) -> None:
    first, second, change = _dates(kind, seed)
    differs = np.abs(second.image - first.image).mean(axis=2)
    assert set(np.unique(change)) <= {0, 1, IGNORE}
    assert differs[change == 0].max(initial=0) < 13  # a soft edge fades out
    if (change == 1).any():
        assert differs[change == 1].mean() > 12


def test_most_pairs_hold_a_change_of_some_kind_and_none_holds_none() -> None:
    assert sum((_dates("objects", seed)[2] == 1).any() for seed in SEEDS) > len(SEEDS) * 0.7
    first, second, change = _dates("none", 0)
    np.testing.assert_array_equal(first.image, second.image)
    assert not change.any()


def test_things_are_laid_over_both_dates_too() -> None:
    grounds = [(_town(seed).image, _dates("none", seed)[0].image) for seed in SEEDS]
    assert 0 < sum(not np.array_equal(plain, first) for plain, first in grounds) < len(SEEDS)


def test_a_shape_lies_inside_and_is_one_of_those_there_or_drawn() -> None:
    base, donor = _town(1), _town(2)
    shapes = [draw_shape(base, donor, np.random.default_rng(seed)) for seed in range(40)]
    assert all(shape.mask.shape == base.label.shape and shape.mask.any() for shape in shapes)
    assert {shape.whole for shape in shapes} == {True, False}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_donors_own_object_comes_along_whole(seed: int) -> None:
    base, donor = _town(1), _town(2)
    rng = np.random.default_rng(seed)
    shape = next(shape for shape in (draw_shape(base, donor, rng) for _ in range(99)) if shape.whole)
    second, alpha = lay(base, donor, shape, rng)
    moved = np.roll(donor.label, shape.move, (0, 1))
    np.testing.assert_array_equal(second.label[alpha > 0.5], moved[alpha > 0.5])


def test_another_colour_keeps_the_relief_and_gives_up_the_class() -> None:
    base = _town(3)
    coated = recoloured(base, np.random.default_rng(0))
    assert (coated.label == IGNORE).all()
    land = base.label == LAND
    assert np.corrcoef(base.image[land].mean(1), coated.image[land].mean(1))[0, 1] > 0.5


def test_drawn_shapes_are_of_many_sizes_and_fit_their_frame() -> None:
    shapes = [drawn_shape(np.random.default_rng(seed)) for seed in range(30)]
    areas = [int(shape.sum()) for shape in shapes]
    assert min(areas) < 60 and max(areas) > 1000
    assert not any(shape[0].any() or shape[:, -1].any() for shape in shapes)


def test_regions_of_one_tone_are_connected_parts() -> None:
    groups, count = tone_regions(_town(4).image, np.random.default_rng(2))
    assert count == groups.max() >= 1


@pytest.mark.parametrize("kind", ["objects", "region", "none"])
def test_a_pair_has_the_size_and_is_the_same_for_a_seed(kind: str) -> None:
    town = _town(0, 160)
    place = Place("town", "town", town.image.astype(np.uint8), town.label, 0.5)
    pairs = [make_pair({"town": [place]}, CONFIG, kind, np.random.default_rng(5)) for _ in range(2)]
    assert pairs[0].before.image.shape == (64, 64, 3) and pairs[0].change.shape == (64, 64)
    np.testing.assert_array_equal(pairs[0].after.image, pairs[1].after.image)
    np.testing.assert_array_equal(pairs[0].change, pairs[1].change)
