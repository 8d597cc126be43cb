"""Buildings of an unlabelled image that new ones may look like."""

import numpy as np
import pytest
import scipy.ndimage

from changen2.gpcm.exemplar import start_picture
from changen2.gpcm.labels import Box
from changen2.gpcm.libraries import Exemplars
from changen2.jobs.synthesis.found_buildings import FOUND, SIDE, SNAP, Neighbourhoods, copyable
from changen2.models.changestar_tiny import building_map
from changen2.models.registry import embedded_detector
from changen2.scenes import SceneStyle, draw_pair

BUILDING = 4


@pytest.fixture(scope="module")
def suburb():
    rng = np.random.default_rng(5)
    return np.moveaxis(draw_pair(rng, 700, 900, 0.4, SceneStyle.random(rng, "suburb")).before, -1, 0)


def neighbourhoods(picture, read=None):
    def rgb(box):
        if read is not None:
            read.append(box)
        return picture[:, box.top : box.bottom, box.left : box.right]

    return Neighbourhoods(rgb, picture.shape[1:], BUILDING, 0.4)


def test_only_single_compact_buildings_are_copied():
    probability = np.full((120, 120), 0.1, np.float32)
    probability[10:40, 10:30] = 0.9  # a house
    probability[10:40, 50:70] = 0.55  # hardly one
    probability[60:64, 10:14] = 0.9  # too small
    probability[60:110, 60:64] = probability[60:64, 60:110] = 0.9  # a bent driveway
    found = copyable(probability, 0.4)
    assert found[10:40, 10:30].all() and found.sum() == 600


def test_the_neighbourhood_holds_buildings_and_its_own_picture(suburb):
    library = neighbourhoods(suburb).around(Box(300, 400, 340, 430))
    assert library.name == FOUND and library.shape == (SIDE, SIDE)
    places = library.places(BUILDING)
    assert len(places) > 500
    top, left = min(max(round(320 / SNAP) * SNAP - SIDE // 2, 0), 60), min(max(round(415 / SNAP) * SNAP - 320, 0), 260)
    whole = Box(0, 0, *library.shape)
    assert np.array_equal(library.rgb(whole), suburb[:, top : top + SIDE, left : left + SIDE])


def test_near_changes_share_a_neighbourhood_that_is_read_once(suburb):
    read = []
    around = neighbourhoods(suburb, read).around
    near, beside = around(Box(300, 400, 340, 430)), around(Box(310, 405, 350, 440))
    far = around(Box(0, 860, 20, 890))
    assert not len(near.places(BUILDING + 1)) and not read  # nobody looks for other classes
    near.places(BUILDING), beside.places(BUILDING)
    assert len(read) == 1
    far.places(BUILDING)
    assert len(read) == 2


def test_a_house_is_not_built_anew_from_itself(suburb):
    small = suburb[:, :300, :300]  # the neighbourhood is the whole of it
    whole = Box(0, 0, 300, 300)
    there = neighbourhoods(small).around(Box(0, 0, 1, 1))
    row, column = there.places(BUILDING)[0]
    house = Box(int(row), int(column), int(row) + 5, int(column) + 5)
    without = neighbourhoods(small).around(house).labels(whole)
    assert there.labels(whole)[row, column] == BUILDING != without[row, column]
    assert (without == BUILDING).any()


def test_a_raster_smaller_than_that_is_taken_whole(suburb):
    library = neighbourhoods(suburb[:, :200, :300]).around(Box(150, 250, 180, 290))
    assert library.shape == (200, 300)


def test_imagery_that_the_detector_does_not_know_is_left_alone():
    assert Neighbourhoods.serve(0.4) and not Neighbourhoods.serve(5.0)


def test_buildings_are_the_same_in_whatever_part_they_are_asked_for(suburb):
    found = neighbourhoods(suburb)
    whole = found.built(Box(0, 0, 700, 900))
    assert 0.02 < whole.mean() < 0.6
    for part in (Box(500, 480, 700, 530), Box(0, 0, 1, 900), Box(511, 0, 513, 600)):
        assert np.array_equal(found.built(part), whole[part.top : part.bottom, part.left : part.right])


def test_no_house_comes_where_one_was_removed(suburb):
    """Its neighbours stand on yards like its own, and nobody gave labels."""
    yard = suburb[:, :400, :400]
    found, detector = neighbourhoods(yard), embedded_detector()
    probability = building_map(detector, yard)
    numbers, _ = scipy.ndimage.label(copyable(probability, 0.4))
    assert numbers.max() > 1
    place = scipy.ndimage.binary_dilation(numbers == np.bincount(numbers.ravel())[1:].argmax() + 1, iterations=4)
    given = yard, np.zeros_like(place, np.uint8), place, np.ones_like(place)
    after, _ = start_picture(*given, lambda _: Exemplars([]), lambda box: ~found.built(box), [1])
    assert (building_map(detector, after)[place] >= 0.5).mean() < 0.3 < (probability[place] >= 0.5).mean()
