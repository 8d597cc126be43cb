"""Exemplar starts: patches of the wanted class, or the surroundings."""

import numpy as np
import pytest

from changen2.gpcm.exemplar import SAME_OBJECT, SIDES, SURROUNDINGS, find_patch, mirrored, start_picture
from changen2.gpcm.libraries import ArrayLibrary, Exemplars

RNG = np.random.default_rng(0)


def at(*given):
    """The same exemplars everywhere."""
    return lambda box: Exemplars(*given)


def begun(before, wanted, change, exemplars_at, seed, ground=None, valid=None, **given):
    """A start on a picture that is valid, and shows ground where background is wanted, unless these are told."""
    ground = wanted == 0 if ground is None else ground
    valid = np.ones_like(change) if valid is None else valid

    def ground_at(place):
        return ground[place.top : place.bottom, place.left : place.right]

    return start_picture(before, wanted, change, valid, exemplars_at, ground_at, seed, **given)


BUILDING = 4


@pytest.fixture
def library():
    """Green ground with red houses, one of 20 × 30 pixels and one of 60 × 60."""
    labels = np.full((200, 240), 5, np.uint8)
    labels[30:50, 40:70] = BUILDING
    labels[100:160, 100:160] = BUILDING
    rgb = np.full((3, 200, 240), 40, np.uint8)
    rgb[1][labels == 5] = 120
    rgb[0][labels == BUILDING] = 200
    rgb[0, 30:50, 40:70] = 210
    return ArrayLibrary("here", rgb, labels)


def test_the_best_fitting_object_is_taken(library):
    inside = np.ones((20, 30), bool)
    patch = find_patch(inside, BUILDING, [library], np.random.default_rng(1))
    assert patch.source == "here" and patch.covered.all() and patch.rgb[0, 10, 10] in (200, 210)
    hall = find_patch(np.pad(np.ones((50, 50), bool), 5), BUILDING, [library], np.random.default_rng(1))
    assert hall.rgb[0, 30, 30] == 200


@pytest.mark.parametrize("down", [1, -1])
@pytest.mark.parametrize("right", [1, -1])
def test_a_patch_shows_its_class_wherever_it_says_so(down, right):
    """However it is mirrored to fit."""
    labels = np.full((60, 60), 2, np.uint8)
    labels[10:40, 10:20] = labels[30:40, 10:40] = 5  # an L
    library = ArrayLibrary("l", np.where(labels == 5, 200, 10).astype(np.uint8)[None].repeat(3, 0), labels)
    patch = find_patch((labels[10:40, 10:40] == 5)[::down, ::right], 5, [library], np.random.default_rng(0))
    assert patch.score == pytest.approx(1) and np.array_equal(patch.rgb[0] == 200, patch.covered)


def test_libraries_are_asked_in_order(library):
    empty = ArrayLibrary("empty", np.zeros((3, 50, 50), np.uint8), np.zeros((50, 50), np.uint8))
    assert find_patch(np.ones((20, 30), bool), BUILDING, [empty, library], RNG).source == "here"
    assert find_patch(np.ones((20, 30), bool), 3, [empty, library], RNG) is None


def test_a_start_changes_nothing_outside_and_says_where_it_is_from(library):
    before = RNG.integers(0, 80, (3, 100, 120)).astype(np.uint8)
    wanted = np.full((100, 120), 5, np.uint8)
    change = np.zeros((100, 120), bool)
    for top, value in ((10, BUILDING), (60, 0)):
        wanted[top : top + 20, 40:70] = value
        change[top : top + 20, 40:70] = True
    picture, sources = begun(before, wanted, change, at([library]), [7])
    assert sources == {"here": 1, SURROUNDINGS: 1}
    assert np.array_equal(picture[:, ~change], before[:, ~change])
    assert (picture[0, 10:30, 40:70] >= 200).all() and (picture[0, 60:80, 40:70] < 80).all()
    again, _ = begun(before, wanted, change, at([library]), [7])
    assert np.array_equal(picture, again)
    nothing, none = begun(before, wanted, change & False, at([library]), [7])
    assert np.array_equal(nothing, before) and none == {}


class Painter:
    """Draws houses of one grey."""

    name = "painter"

    def draw(self, inside, wanted, own, ground, rng):
        return np.full((3, *inside.shape), 77, np.uint8) if wanted == BUILDING else None


def test_what_the_image_has_comes_before_what_is_drawn(library):
    before = np.zeros((3, 60, 80), np.uint8)
    change = np.zeros((60, 80), bool)
    change[10:30, 10:40] = True
    wanted = np.where(change, BUILDING, 2)
    nothing = ArrayLibrary("nothing", np.zeros((3, 50, 50), np.uint8), np.zeros((50, 50), np.uint8))
    own, _ = begun(before, wanted, change, at([library], Painter()), [1])
    assert (own[0, change] >= 200).all()
    drawn, sources = begun(before, wanted, change, at([nothing], Painter(), [library]), [1])
    assert sources == {"painter": 1} and (drawn[:, change] == 77).all()
    meadow, sources = begun(before, np.where(change, 5, 2), change, at([nothing], Painter(), [library]), [1])
    assert sources == {"here": 1} and (meadow[1, change] == 120).all()


def half_a_house(touching):
    """A yellow house of 20 × 40 of whose right part, or of what stands beside it, the change takes 16 columns."""
    before = np.full((3, 60, 80), 30, np.uint8)
    wanted = np.full((60, 80), 2, np.uint8)
    change = np.zeros((60, 80), bool)
    left = 34 if touching else 40
    before[:2, 20:40, 10:34], wanted[20:40, 10:34] = 220, BUILDING
    change[20:40, left : left + 16], wanted[20:40, left : left + 16] = True, BUILDING
    return before, wanted, change


def test_what_is_left_of_a_house_goes_on(library):
    before, wanted, change = half_a_house(touching=True)
    picture, sources = begun(before, wanted, change, at([library]), [1])
    assert sources == {SAME_OBJECT: 1}
    assert (picture[:2, change] == 220).all() and (picture[2, change] == 30).all()


def test_a_house_beside_another_is_a_house_of_its_own(library):
    before, wanted, change = half_a_house(touching=False)
    picture, sources = begun(before, wanted, change, at([library]), [1])
    assert sources == {"here": 1} and (picture[1, change] == 40).all()


def test_a_large_hall_is_not_made_of_the_shed_that_it_touches(library):
    before, wanted, change = (
        np.full((3, 90, 90), 30, np.uint8),
        np.full((90, 90), 2, np.uint8),
        np.zeros((90, 90), bool),
    )
    wanted[20:80, 20:80], change[20:80, 20:80] = BUILDING, True
    before[:2, 4:20, 20:80], wanted[12:20, 20:80] = 220, BUILDING
    _, sources = begun(before, wanted, change, at([library]), [1])
    assert sources == {"here": 1}


def test_large_regions_repeat_a_patch():
    labels = np.full((300, 300), 2, np.uint8)
    library = ArrayLibrary("soil", np.full((3, 300, 300), 150, np.uint8), labels)
    size = SIDES[0] + 100
    change = np.pad(np.ones((size, size), bool), 10)
    before = np.zeros((3, *change.shape), np.uint8)
    picture, sources = begun(before, np.full(change.shape, 2, np.uint8), change, at([library]), [1])
    assert sources == {"soil": 1} and (picture[:, change] == 150).all()


def test_a_patch_smaller_than_the_region_is_better_than_none():
    labels = np.full((200, 200), 2, np.uint8)
    labels[60:110, 80:130] = 5
    rgb = np.where(labels == 5, 90, 10).astype(np.uint8)[None].repeat(3, 0)
    change = np.pad(np.ones((150, 150), bool), 10)
    before = np.zeros((3, *change.shape), np.uint8)
    wanted = np.full(change.shape, 5, np.uint8)
    picture, sources = begun(before, wanted, change, at([ArrayLibrary("grove", rgb, labels)]), [1])
    assert sources == {"grove": 1} and (picture[:, change] == 90).all()


def test_surroundings_are_mirrored_at_the_rim():
    before = np.tile(np.arange(40, dtype=np.uint8), (3, 40, 1))
    change = np.zeros((40, 40), bool)
    change[:, 20:30] = True
    filled = mirrored(before, change)
    assert filled[0, 5, 20:25].tolist() == [18, 17, 16, 15, 14]
    assert filled[0, 5, 25:30].tolist() == [35, 34, 33, 32, 31]
    assert np.array_equal(mirrored(before, change | True), before)


def test_each_region_may_be_cancelled(library):
    change = np.zeros((60, 60), bool)
    change[5:55:10, 5:55:10] = True
    before, asked = np.zeros((3, 60, 60), np.uint8), []
    for value in (0, BUILDING):
        begun(before, np.full((60, 60), value), change, at([library]), [1], check=lambda: asked.append(1))
    assert len(asked) == 50


@pytest.mark.parametrize("yard", [6, 40])
def test_what_is_removed_is_filled_with_ground_alone(yard):
    """Where a piece of the yard fits, and where only its strip between two roofs is there to be mirrored."""
    before = np.random.default_rng(2).integers(60, 80, (3, 120, 160)).astype(np.uint8)
    change, roof = np.zeros((120, 160), bool), np.ones((120, 160), bool)
    change[40:60, 60:90] = True
    roof[40 - yard : 60 + yard, 60 - yard : 90 + yard] = False
    before[:, roof | change] = 220
    picture, _ = begun(before, np.zeros_like(change, np.uint8), change, at([]), [1], ground=~roof)
    assert picture[:, change].max() < 80


@pytest.mark.parametrize("wanted", [0, BUILDING])
@pytest.mark.parametrize("gap", [0, 3])
def test_nothing_is_taken_from_where_there_is_no_image(wanted, gap):
    """A change beside the edge of the valid pixels, and one that is all but wrapped by invalid ones."""
    before = np.random.default_rng(2).integers(60, 80, (3, 90, 90)).astype(np.uint8)
    change, valid = np.zeros((90, 90), bool), np.ones((90, 90), bool)
    change[30:60, 30:60] = True
    valid[:, 60 + gap :] = valid[: 30 - gap, 20:] = valid[60 + gap :, 20:] = False
    before[:, ~valid] = 120
    everywhere = np.full(change.shape, wanted, np.uint8)
    picture, _ = begun(before, np.where(change, everywhere, 0), change, at([]), [1], valid=valid)
    assert picture[:, change].max() < 80
    assert np.array_equal(picture[:, ~change], before[:, ~change])
