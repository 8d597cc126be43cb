"""Whole objects turned and stretched into a footprint."""

import numpy as np
import pytest
import scipy.ndimage

from changen2.gpcm.fitting import LARGEST_SIDE, Frame, fit_object
from changen2.gpcm.labels import Box
from changen2.gpcm.libraries import ArrayLibrary

BUILDING = 4
GROUND = np.full(3, 20.0)
WHOLE = Box(0, 0, 160, 160)


def turned_box(size, half_sides, angle):
    """A rectangle around the middle of a square, its first side at an angle from down to right."""
    down, right = np.mgrid[:size, :size] - (size - 1) / 2
    along = down * np.cos(angle) + right * np.sin(angle)
    across = right * np.cos(angle) - down * np.sin(angle)
    return (np.abs(along) < half_sides[0]) & (np.abs(across) < half_sides[1])


def cut(mask):
    """A mask in its bounding box."""
    return mask[scipy.ndimage.find_objects(mask.astype(int))[0]]


@pytest.fixture
def library():
    """A house of 40 × 20 pixels whose upper half is bright, on dark ground; another is cut off by the edge."""
    labels = np.zeros((160, 160), np.uint8)
    labels[60:100, 70:90] = BUILDING
    labels[:30, :30] = BUILDING
    rgb = np.full((3, 160, 160), 20, np.uint8)
    rgb[:, 60:100, 70:90] = 100
    rgb[:, 60:80, 70:90] = 200
    return ArrayLibrary("here", rgb, labels)


@pytest.mark.parametrize("degrees", [0, 12, 33, 60, 87])
def test_the_frame_follows_the_walls(degrees):
    frame = Frame.around(turned_box(101, (30, 12), np.deg2rad(degrees)))
    assert frame.centre == pytest.approx([50, 50], abs=0.6)
    assert sorted(frame.half_sides) == pytest.approx([12, 30], abs=1.5)
    long_axis = frame.axes[int(frame.half_sides.argmax())]
    direction = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
    assert abs(long_axis @ direction) > np.cos(np.deg2rad(4))


@pytest.mark.parametrize("quarters", range(4))
def test_turning_names_other_corners_of_the_same_rectangle(quarters):
    frame = Frame.around(turned_box(61, (20, 8), 0.4))
    turned = frame.turned(quarters)
    assert np.linalg.det(turned.axes) == pytest.approx(np.linalg.det(frame.axes))

    def corners(each):
        signs = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
        return sorted(tuple(np.round(each.axes.T @ (each.half_sides * s), 6)) for s in signs)

    assert corners(turned) == corners(frame)


@pytest.mark.parametrize(("half_sides", "degrees"), [((20, 10), 0), ((20, 10), 30), ((26, 12), 75), ((10, 20), 0)])
def test_a_house_is_laid_along_the_walls(library, half_sides, degrees):
    inside = cut(turned_box(81, half_sides, np.deg2rad(degrees)))
    fitted = fit_object(inside, BUILDING, library, GROUND, -1.0, np.random.default_rng(0))
    assert (fitted.covered & inside).sum() / (fitted.covered | inside).sum() > 0.85
    seen = fitted.rgb[0][fitted.covered & inside]
    # Both halves of the roof are there, in equal parts, and hardly any of the ground.
    assert (seen > 180).mean() == pytest.approx(0.5, abs=0.1) and (seen < 60).mean() < 0.06


def test_what_must_be_stretched_or_turned_scores_less(library):
    def score(half_sides, degrees):
        inside = cut(turned_box(121, half_sides, np.deg2rad(degrees)))
        return fit_object(inside, BUILDING, library, GROUND, -1.0, np.random.default_rng(0)).score

    assert score((20, 10), 0) > 0.95
    assert score((20, 10), 0) > score((40, 10), 0) > score((56, 6), 0)
    assert score((20, 10), 0) > score((20, 10), 45)


def test_no_whole_object_is_no_fit(library):
    full = ArrayLibrary("full", np.zeros((3, 50, 50), np.uint8), np.full((50, 50), BUILDING, np.uint8))
    assert fit_object(np.ones((10, 20), bool), BUILDING, full, GROUND, -1.0, np.random.default_rng(0)) is None
    assert fit_object(np.ones((10, 20), bool), 3, library, GROUND, -1.0, np.random.default_rng(0)) is None
    assert (
        fit_object(np.ones((LARGEST_SIDE + 1, 5), bool), BUILDING, library, GROUND, -1.0, np.random.default_rng(0))
        is None
    )


def test_of_two_that_fit_the_one_unlike_the_ground_is_taken(library):
    labels, rgb = (values.copy() for values in (library.labels(WHOLE), library.rgb(WHOLE)))
    labels[110:150, 100:120] = BUILDING
    rgb[:, 110:150, 100:120] = 30
    both = ArrayLibrary("both", rgb, labels)
    inside = np.ones((40, 20), bool)
    for ground, wanted in ((25.0, 150), (200.0, 30)):
        fitted = fit_object(inside, BUILDING, both, np.full(3, ground), 0.7, np.random.default_rng(0))
        assert fitted.rgb.mean() == pytest.approx(wanted, abs=8)
    assert fit_object(np.ones((60, 3), bool), BUILDING, both, GROUND, 0.7, np.random.default_rng(0)) is None
