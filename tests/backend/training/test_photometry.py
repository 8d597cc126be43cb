"""Other light and other sensors: a different picture of the same ground, in range, repeatable."""

import numpy as np

from changen2.training.photometry import relight, resense


def _image() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (32, 32, 3)).astype(np.float32)


def test_relit_and_resensed_images_stay_in_range_and_differ() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        seen = resense(relight(_image(), rng), rng)
        assert seen.dtype == np.float32 and seen.shape == (32, 32, 3)
        assert seen.min() >= 0 and seen.max() <= 255
        assert np.abs(seen - _image()).mean() > 1


def test_same_seed_same_look() -> None:
    np.testing.assert_array_equal(
        relight(_image(), np.random.default_rng(4)), relight(_image(), np.random.default_rng(4))
    )


def test_dark_images_are_brought_to_an_exposure_that_people_look_at() -> None:
    dark = _image() * 0.1
    looks = [relight(dark, np.random.default_rng(seed)).mean() for seed in range(20)]
    assert np.mean(looks) > 2 * dark.mean()
