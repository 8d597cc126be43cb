"""Footprints as a few rectangles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from changen2.gpcm.fitting import Frame
from changen2.gpcm.rectangles import MOST, largest_rectangle, rectangles_of


def painted(footprint, frame, rectangles):
    """The pixels whose centres lie in one of the rectangles."""
    places = np.argwhere(np.ones_like(footprint)) - frame.centre
    u, v = places @ frame.axes[0], places @ frame.axes[1]
    inside = np.zeros(footprint.size, bool)
    for middle_u, middle_v, half_u, half_v in rectangles:
        inside |= (np.abs(u - middle_u) <= half_u) & (np.abs(v - middle_v) <= half_v)
    return inside.reshape(footprint.shape)


def agreement(footprint):
    frame = Frame.around(footprint)
    rectangles = rectangles_of(footprint, frame)
    found = painted(footprint, frame, rectangles)
    return len(rectangles), (found & footprint).sum() / (found | footprint).sum()


def test_a_box_is_one_rectangle():
    assert agreement(np.pad(np.ones((30, 50), bool), 5)) == (1, pytest.approx(1, abs=0.02))


@pytest.mark.parametrize("scale", [1, 4])
def test_wings_get_rectangles_of_their_own(scale):
    footprint = np.zeros((60, 70), bool)
    footprint[5:55, 5:25] = footprint[35:55, 5:65] = True
    count, shared = agreement(np.kron(footprint, np.ones((scale, scale), bool)))
    assert count == 2 and shared > 0.93


@pytest.mark.parametrize("degrees", [0, 25, 40, 72])
def test_turned_wings_too(degrees):
    angle = np.deg2rad(degrees)
    down, right = np.mgrid[:121, :121] - 60.0
    u, v = down * np.cos(angle) + right * np.sin(angle), right * np.cos(angle) - down * np.sin(angle)
    _, shared = agreement((np.abs(u) < 40) & (np.abs(v) < 30) & ((u < 0) | (v < 0)))
    assert shared > 0.88


@pytest.mark.parametrize("length", [1, 2, 30, 120, 300])
def test_slivers_have_a_rectangle(length):
    count, _ = agreement(np.eye(length, dtype=bool))
    assert count >= 1


def test_what_is_no_house_still_gets_a_few():
    rows, columns = np.mgrid[:60, :60] - 29.5
    count, shared = agreement(np.hypot(rows, columns) < 28)
    assert 1 <= count <= MOST and shared > 0.6


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_no_rectangle_is_larger(mask):
    rows, columns = largest_rectangle(mask)
    assert mask[rows, columns].all()
    areas = [
        (bottom - top) * (right - left)
        for top in range(mask.shape[0])
        for bottom in range(top + 1, mask.shape[0] + 1)
        for left in range(mask.shape[1])
        for right in range(left + 1, mask.shape[1] + 1)
        if mask[top:bottom, left:right].all()
    ]
    assert mask[rows, columns].size == max(areas, default=0)
