import numpy as np
import pytest

from changen2.reports.seams import border_ratio, inside_ratio, steepness

BEFORE = np.random.default_rng(0).integers(80, 120, (3, 64, 64)).astype(np.uint8)
MASK = np.zeros((64, 64), bool)
MASK[20:40, 24:50] = True


def test_an_identical_picture_has_no_seam():
    edits = [steepness(BEFORE, BEFORE, MASK)] * 3
    for ratio in (border_ratio(edits, 20), inside_ratio(edits, 20)):
        assert (ratio.low, ratio.value, ratio.high) == (1, 1, 1)


def test_a_brighter_patch_shows_at_its_border_only():
    after = np.where(MASK, BEFORE + 60, BEFORE).astype(np.uint8)
    edits = [steepness(after, BEFORE, MASK)]
    assert border_ratio(edits, 20).value > 3
    assert inside_ratio(edits, 20).value == 1


def test_a_flat_patch_is_smoother_inside():
    after = np.where(MASK, 100, BEFORE).astype(np.uint8)
    assert inside_ratio([steepness(after, BEFORE, MASK)], 20).value == 0


def test_steps_are_counted_across_the_border():
    before, after = np.zeros((2, 3, 64, 64), np.uint8)
    after[:, MASK] = 10
    found = steepness(after, before, MASK)
    assert (found.border_after, found.border_before, found.inside_after) == (10, 0, 0)
    assert found.pairs == 2 * (20 + 26)


def test_parts_of_the_border_may_be_left_out():
    before, after = np.zeros((2, 3, 64, 64), np.uint8)
    after[:, MASK] = 10
    left = np.zeros((64, 64), bool)
    left[:, :30] = True
    found = steepness(after, before, MASK, left)
    assert found.pairs == 20 + 2 * 20 and found.border_after == 10


def test_edits_weigh_by_the_length_of_their_borders():
    small = np.zeros((64, 64), bool)
    small[5, 5] = True
    steep = np.where(MASK, BEFORE + 60, BEFORE).astype(np.uint8)
    mixed = border_ratio([steepness(BEFORE, BEFORE, small), steepness(steep, BEFORE, MASK)], 20)
    assert mixed.value == pytest.approx(border_ratio([steepness(steep, BEFORE, MASK)], 20).value, rel=0.1)
