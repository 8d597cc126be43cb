"""Another hour and another orbit change the look of buildings, and nothing that is not known to be one."""

import numpy as np
import pytest

from changen2.training.crops import Crop
from changen2.training.places import BACKGROUND, BUILDING, IGNORE
from changen2.training.sunlight import another_sun, lean, roof_light, shadow

SIZE = 64


@pytest.fixture
def town():
    """Noise with one long house and one square one, and a corner that is not known."""
    label = np.full((SIZE, SIZE), BACKGROUND, np.uint8)
    label[10:20, 8:48] = BUILDING
    label[40:52, 40:52] = BUILDING
    label[:4, :4] = IGNORE
    image = np.random.default_rng(0).uniform(60, 180, (SIZE, SIZE, 3)).astype(np.float32)
    return Crop(image, label)


@pytest.mark.parametrize("seed", range(6))
def test_an_image_stays_an_image_and_the_same_seed_gives_the_same(town, seed):
    first, again = (another_sun(town, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.label, again.label)
    assert first.image.dtype == np.float32 and first.image.shape == town.image.shape
    assert first.image.min() >= 0 and first.image.max() <= 255
    assert set(np.unique(first.label)) <= {BACKGROUND, BUILDING, IGNORE}


def test_hardly_a_day_leaves_all_as_it_was(town):
    days = [another_sun(town, np.random.default_rng(seed)) for seed in range(20)]
    assert sum(np.array_equal(day.image, town.image) for day in days) < 5


def test_without_buildings_or_strength_nothing_changes(town):
    bare = Crop(town.image, np.full_like(town.label, IGNORE))
    rng = np.random.default_rng(1)
    assert another_sun(bare, rng) is bare
    assert another_sun(town, rng, strength=0) is town


def test_the_two_sides_of_a_long_roof_are_lit_differently(town):
    roofs = (town.label == BUILDING).astype(int)
    roofs[30:] *= 2
    contrasts = []
    for seed in range(20):
        light = roof_light(roofs, np.random.default_rng(seed), 1.0)
        assert light[25:35].std() < 1e-3  # the ground is left alone
        contrasts.append(abs(light[11:14, 15:40].mean() - light[16:19, 15:40].mean()))
    assert max(contrasts) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_a_shadow_lies_on_the_ground_beside_a_house(town, seed):
    buildings = town.label == BUILDING
    light = shadow(buildings, np.random.default_rng(seed), 1.0)
    assert light.min() < 0.9 and light.max() <= 1
    darkest = np.unravel_index(light.argmin(), light.shape)
    assert not buildings[darkest]
    assert light[30:35, 8:30].min() > 0.999  # farther than any shadow reaches


@pytest.mark.parametrize("seed", range(5))
def test_roof_and_label_lean_together_and_far_ground_stays(town, seed):
    painted = np.where(town.label[..., None] == BUILDING, 200, 50).astype(np.float32).repeat(3, axis=2)
    leaning = lean(Crop(painted, town.label), np.random.default_rng(seed), 3.0)
    assert np.array_equal(leaning.image[28:34, 4:60], painted[28:34, 4:60])
    bright = leaning.image[..., 0] > 125
    assert (bright != (leaning.label == BUILDING)).mean() < 0.02
    assert abs(int(bright.sum()) - int((town.label == BUILDING).sum())) < 80
