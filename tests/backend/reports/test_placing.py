import numpy as np

from changen2.models.rsdit_tiny import BACKGROUND, BUILDING, ROAD, WATER
from changen2.reports.consistency import own_region
from changen2.reports.placing import place_buildings, whole_buildings


def tile(*boxes, size=256):
    label = np.full((size, size), BACKGROUND, np.uint8)
    for top, left, bottom, right, value in boxes:
        label[top:bottom, left:right] = value
    return label


def place(label, most, repeats=1):
    return place_buildings(label, whole_buildings(label) * repeats, most, np.random.default_rng(0))


HOUSE = (20, 20, 40, 50, BUILDING)
ROUTE = (128, 0, 140, 256, ROAD)


def test_a_footprint_is_moved_to_free_ground_with_its_own_radius_around_it():
    label = tile(HOUSE, ROUTE)
    (placement,) = place(label, 5)
    assert placement.number == 0 and placement.new.sum() == 20 * 30
    assert np.ptp(np.nonzero(placement.new), axis=1).tolist() == [19, 29]
    assert (label[own_region(placement.new)] == BACKGROUND).all()


def test_moved_footprints_keep_apart():
    placements = place(tile(HOUSE, (60, 200, 80, 225, BUILDING)), 6, repeats=3)
    assert len(placements) > 2
    for index, placement in enumerate(placements):
        for other in placements[:index]:
            assert not (own_region(other.new) & placement.new).any()


def test_a_building_at_the_edge_is_not_moved():
    assert not whole_buildings(tile((0, 20, 20, 40, BUILDING)))


def test_nothing_is_built_on_water():
    assert not place(tile((0, 0, 256, 256, WATER), HOUSE), 3)


def test_the_number_is_kept():
    assert len(place(tile(HOUSE), 2, repeats=9)) == 2


def test_the_largest_comes_first_and_sheds_are_left_out():
    label = tile((10, 10, 20, 22, BUILDING), HOUSE, (100, 100, 108, 109, BUILDING))

    assert [int(mask.sum()) for mask in whole_buildings(label, 70)] == [600 + 120, 72]
    assert len(whole_buildings(label, 100)) == 1
