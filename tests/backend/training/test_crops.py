"""Crops: the same cut of two dates shows the same ground, and labels stay whole numbers that mean something."""

import numpy as np

from changen2.training.crops import Crop, Cut, random_cut, resample
from changen2.training.places import IGNORE, Place


def _place(height: int = 80, width: int = 100, gsd: float = 0.2) -> Place:
    rng = np.random.default_rng(0)
    label = np.zeros((height, width), np.uint8)
    label[20:40, 30:60] = 1
    return Place("drawn", "one", rng.integers(0, 255, (height, width, 3), dtype=np.uint8), label, gsd)


def test_label_moves_with_the_image() -> None:
    place = _place()
    marked = Place("drawn", "two", np.repeat(place.label[..., None] * np.uint8(200), 3, axis=2), place.label, 0.2)
    for seed in range(6):
        crop = random_cut(marked, 48, np.random.default_rng(seed), (0.15, 0.4)).of(marked)
        assert crop.image.shape == (48, 48, 3) and crop.label.shape == (48, 48)
        assert ((crop.image[..., 0] > 100) == (crop.label == 1)).mean() > 0.97


def test_one_cut_of_two_dates_is_the_same_window() -> None:
    place = _place()
    cut = random_cut(place, 32, np.random.default_rng(3), (0.2, 0.3))
    np.testing.assert_array_equal(cut.of(place).image, cut.of(place).image)
    assert cut.size == 32


def test_half_unknown_pixels_stay_unknown() -> None:
    place = _place()
    place.label[:, 50:] = IGNORE
    crop = resample(place, slice(0, 80), slice(0, 100), (40, 50))
    assert set(np.unique(crop.label)) <= {0, 1, IGNORE}
    assert (crop.label[:, 27:] == IGNORE).all() and (crop.label[:, :24] != IGNORE).all()


def test_a_small_place_goes_on_mirrored() -> None:
    place = _place(20, 20)
    crop = Cut(slice(0, 20), slice(0, 20), (20, 20), 50, 0, False).of(place)
    np.testing.assert_array_equal(crop.image[20:39], crop.image[:19][::-1])


def test_turning_four_times_changes_nothing() -> None:
    crop = Crop(np.random.default_rng(0).random((8, 8, 3), np.float32), np.eye(8, dtype=np.uint8))
    turned = crop
    for _ in range(4):
        turned = turned.turned(1, False)
    np.testing.assert_array_equal(turned.image, crop.image)
    np.testing.assert_array_equal(crop.turned(0, True).label, crop.label[:, ::-1])
