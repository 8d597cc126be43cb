import numpy as np

from changen2.models.rsdit_tiny import BACKGROUND, BUILDING, ROAD, WATER
from changen2.reports.consistency import own_region
from changen2.reports.placing import place_buildings


def tile(*boxes, size=256):
    label = np.full((size, size), BACKGROUND, np.uint8)
    for top, left, bottom, right, value in boxes:
        label[top:bottom, left:right] = value
    return label


HOUSE = (20, 20, 40, 50, BUILDING)
ROUTE = (128, 0, 140, 256, ROAD)


def test_a_footprint_is_moved_to_free_ground_with_its_own_radius_around_it():
    label = tile(HOUSE, ROUTE)
    (placement,) = place_buildings(label, 5, np.random.default_rng(0))
    assert placement.own.sum() == placement.new.sum() == 20 * 30
    assert np.ptp(np.nonzero(placement.new), axis=1).tolist() == [19, 29]
    assert (label[own_region(placement.new)] == BACKGROUND).all()


def test_moved_footprints_keep_apart():
    placements = place_buildings(tile(HOUSE, (60, 200, 80, 225, BUILDING)), 6, np.random.default_rng(1), repeats=3)
    assert len(placements) > 2
    for index, placement in enumerate(placements):
        for other in placements[:index]:
            assert not (own_region(other.new) & placement.new).any()


def test_a_building_at_the_edge_is_not_moved():
    assert not place_buildings(tile((0, 20, 20, 40, BUILDING)), 3, np.random.default_rng(0))


def test_nothing_is_built_on_water():
    assert not place_buildings(tile((0, 0, 256, 256, WATER), HOUSE), 3, np.random.default_rng(0))


def test_the_number_is_kept():
    assert len(place_buildings(tile(HOUSE), 2, np.random.default_rng(0), repeats=9)) == 2
