"""Ground for where something was taken away."""

import numpy as np
import pytest

from changen2.gpcm.cloning import LARGEST_SIDE, clone_ground, within_reach


def stripes(height, width):
    """A field with furrows of eight pixels."""
    columns = np.arange(width) % 8
    return np.broadcast_to((60 + 10 * columns).astype(np.uint8), (3, height, width)).copy()


@pytest.fixture
def house():
    place = np.zeros((120, 160), bool)
    place[50:80, 60:100] = True
    return place


def test_furrows_go_on(house):
    field = stripes(*house.shape)
    before = field.copy()
    before[:, house] = 255
    found = clone_ground(before, house, ~house, np.random.default_rng(0))
    assert np.array_equal(found, field[:, house])


def test_neither_change_nor_other_objects_are_copied(house):
    before = stripes(*house.shape)
    before[:, house] = 255
    ground = ~house
    ground[:, 110:] = False
    before[:, :, 110:] = 200  # roofs
    found = clone_ground(before, house, ground, np.random.default_rng(1))
    assert found.max() < 200


def test_no_room_is_no_ground(house):
    assert clone_ground(stripes(*house.shape), house, np.zeros_like(house), np.random.default_rng(0)) is None


def test_a_place_at_the_edge(house):
    place = np.zeros_like(house)
    place[:10, 150:] = True
    assert clone_ground(stripes(*house.shape), place, ~place, np.random.default_rng(0)).shape == (3, 100)


def test_what_is_within_reach_decides():
    before = np.random.default_rng(3).integers(0, 255, (3, 500, 600)).astype(np.uint8)
    place = np.zeros((500, 600), bool)
    place[200:212, 300:310] = True
    near = within_reach((slice(200, 212), slice(300, 310)), place.shape)
    assert near[0].stop - near[0].start < 200
    part = clone_ground(before[:, near[0], near[1]], place[near], ~place[near], np.random.default_rng(5))
    assert np.array_equal(part, clone_ground(before, place, ~place, np.random.default_rng(5)))


def test_a_whole_quarter_is_not_compared():
    place = np.zeros((LARGEST_SIDE + 40, LARGEST_SIDE + 40), bool)
    place[10:-10, 10:-10] = True
    assert clone_ground(stripes(*place.shape), place, ~place, np.random.default_rng(0)) is None


def test_a_place_without_ground_at_its_rim_tells_nothing(house):
    ground = ~house
    ground[40:90, 50:110] = False
    assert clone_ground(stripes(*house.shape), house, ground, np.random.default_rng(0)) is None


def test_the_neighbours_house_in_a_yard_like_ours_is_no_ground(house):
    """Nor is it where nobody knows of houses: around all of them the yard is the same, but for noise."""
    rng = np.random.default_rng(0)
    before = rng.integers(100, 112, (3, *house.shape)).astype(np.uint8)
    for top, left in ((50, 60), (50, 5), (50, 115), (5, 60)):
        before[:, top : top + 30, left : left + 40] = 30
    before[:, 85:] += rng.integers(0, 30, before[:, 85:].shape).astype(np.uint8)  # worse at the rim
    found = clone_ground(before, house, ~house, np.random.default_rng(0))
    assert found is None or (found < 50).mean() < 0.31
