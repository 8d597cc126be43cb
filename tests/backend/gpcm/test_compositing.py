"""Laying drawn pixels over original ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changen2.gpcm.compositing import FEATHER, OUTLINE_OPACITY, Radiometry, Spectrum, composite, feather, match_colours

RNG = np.random.default_rng(0)


def radiometry(dtype, nodata=None, channels=((0,), (1,), (2,)), low=0.0, high=255.0, kept=None):
    count = len(channels)
    return Radiometry(
        np.dtype(dtype), [nodata] * count, channels, [low] * count, [high] * count, kept or [False] * count
    )


def square(side, margin):
    inside = np.zeros((side, side), bool)
    inside[margin:-margin, margin:-margin] = True
    return inside


def test_the_new_picture_rises_from_the_rim():
    change = square(30, 8)
    opacity = feather(change)
    assert (opacity[~change] == 0).all()
    assert opacity[15, 8 : 8 + FEATHER + 1] == pytest.approx([0.25, 0.5, 0.75, 1])
    line = np.zeros((20, 20), bool)
    line[10] = True
    assert (feather(line)[10] == 1).all()


def test_an_outline_stays_sharp():
    change = square(30, 8)
    outlined = change.copy()
    outlined[:, 15:] = False
    opacity = feather(change, outlined)
    assert opacity[15, 8:11] == pytest.approx([OUTLINE_OPACITY, 1, 1])
    assert opacity[15, 21:18:-1] == pytest.approx([0.25, 0.5, 0.75])
    assert (opacity[~change] == 0).all()


def test_what_stood_there_leaves_no_ghost():
    original = np.full((3, 40, 40), 100, np.uint8)
    change = square(40, 12)
    original[:, change] = 255  # a white house
    drawn = np.full((3, 40, 40), 100, np.float32)
    after = composite(original, original, drawn, change, change, np.ones_like(change), radiometry("uint8"))
    assert np.abs(after[:, change].astype(int) - 100).max() <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", "uint64"]))
def test_outside_the_change_every_type_is_kept(seed, dtype):
    rng = np.random.default_rng(seed)
    original = rng.integers(0, 200, (3, 24, 24)).astype(dtype)
    change = rng.random((24, 24)) < rng.random()
    paint = rng.random((24, 24)) < 0.8
    drawn = rng.uniform(0, 255, (3, 24, 24)).astype(np.float32)
    rgb = original.astype(np.uint8)
    after = composite(original, rgb, drawn, change, paint, np.ones((24, 24), bool), radiometry(dtype))
    assert after.dtype == original.dtype
    assert np.array_equal(after[:, ~(change & paint)], original[:, ~(change & paint)])


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 0), ("uint8", 255), ("uint16", 65535), ("int16", -1), ("float32", 0.0)]
)
def test_no_drawn_value_means_no_image(dtype, nodata):
    original = np.full((3, 20, 20), 100, dtype)
    known = radiometry(dtype, nodata, low=float(nodata), high=float(nodata) + (255 if nodata <= 0 else -255))
    drawn = np.zeros((3, 20, 20), np.float32)
    change = np.ones((20, 20), bool)
    after = composite(original, np.full((3, 20, 20), 100, np.uint8), drawn, change, change, change, known)
    assert (after != nodata).all()
    assert np.abs(after[:, 10, 10].astype(float) - nodata).max() <= 1


def test_the_stretch_is_undone():
    original = np.full((3, 30, 30), 1000, np.uint16)
    known = radiometry("uint16", low=200, high=2200)
    change = square(30, 5)
    drawn = np.full((3, 30, 30), 102, np.float32)  # what 1000 looks like
    drawn[:, 10:20, 10:20] = 204
    after = composite(original, np.full((3, 30, 30), 102, np.uint8), drawn, change, change, square(30, 0) | True, known)
    assert after[:, 15, 15] == pytest.approx([1800] * 3, abs=1)
    assert after[:, 7, 7] == pytest.approx([1000] * 3, abs=1)


def test_a_band_seen_three_times_is_their_mean():
    original = np.full((1, 12, 12), 50, np.uint8)
    drawn = np.stack([np.full((12, 12), value, np.float32) for value in (30, 60, 90)])
    change = np.ones((12, 12), bool)
    known = radiometry("uint8", channels=((0, 1, 2),))
    after = composite(original, np.full((3, 12, 12), 50, np.uint8), drawn, change, change, change, known)
    assert after[0, 6, 6] == 60


def test_an_error_of_colour_at_the_rim_is_carried_inwards():
    original = RNG.integers(90, 110, (3, 60, 60)).astype(np.uint8)
    change = square(60, 20)
    drawn = original.astype(np.float32) + np.array([25, -10, 5], np.float32)[:, None, None]
    matched = match_colours(drawn, original, change, np.ones((60, 60), bool))
    rim = change & ~square(60, 23)
    assert np.abs(matched - original)[:, rim].mean() < 1
    # A change far from everything known keeps what was drawn.
    alone = match_colours(drawn, original, np.ones((60, 60), bool), np.ones((60, 60), bool))
    assert alone == pytest.approx(np.clip(drawn, 0, 255))


def test_unknown_bands_follow_pixels_of_similar_colour():
    colours = np.array([[40, 90, 40], [150, 140, 130]], np.float64).repeat(20, axis=0)
    infrared = np.array([[3000.0], [800.0]]).repeat(20, axis=0)
    spectrum = Spectrum(colours, infrared)
    original = np.full((4, 20, 20), 500, np.uint16)
    known = radiometry("uint16", channels=((0,), (1,), (2,), ()))
    assert known.unknown == [3]
    drawn = np.broadcast_to(np.array([42, 88, 41], np.float32)[:, None, None], (3, 20, 20))
    change = np.ones((20, 20), bool)
    after = composite(original, np.full((3, 20, 20), 50, np.uint8), drawn, change, change, change, known, spectrum)
    assert after[3, 10, 10] == 3000 and after[1, 10, 10] == 88


def test_alpha_and_gaps_of_single_bands():
    original = np.full((4, 20, 20), 80, np.float32)
    original[3] = 1
    original[0, 10, 10] = np.nan
    known = radiometry("float32", channels=((0,), (1,), (2,), ()), kept=[False, False, False, True])
    drawn = np.full((3, 20, 20), 200, np.float32)
    change = np.ones((20, 20), bool)
    after = composite(original, np.full((3, 20, 20), 80, np.uint8), drawn, change, change, change, known)
    assert (after[3] == 1).all() and np.isfinite(after).all() and after[0, 10, 10] == 200


def test_gaps_beside_the_change_are_not_carried_into_it():
    original = np.full((3, 40, 40), 1000, np.uint16)
    original[1, :, :12] = 0
    change, grey = square(40, 12), np.full((3, 40, 40), 100)
    scale = radiometry("uint16", nodata=0, high=2550.0)
    after = composite(
        original, grey.astype(np.uint8), grey.astype(np.float32), change, change, np.ones_like(change), scale
    )
    assert (np.abs(after[1, change].astype(int) - 1000) <= 1).all()
