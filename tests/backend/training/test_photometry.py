"""Other light and other sensors: a different picture of the same ground, in range, repeatable."""

import numpy as np

from changen2.training.photometry import another_season, archived, relight, resense


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


def test_another_season_changes_plants_and_leaves_grey_as_grey() -> None:
    image = np.full((64, 64, 3), 120, np.float32)
    image[:32] = (60, 130, 50)
    gaps = []
    for seed in range(20):
        later = another_season(image, np.random.default_rng(seed))
        assert later.dtype == np.float32 and later.min() >= 0 and later.max() <= 255
        assert np.abs(later[34:] - later[34:].mean(axis=2, keepdims=True)).max() < 8
        gaps.append(float((later[:30, :, 1] - later[:30, :, 0]).mean()))
    assert min(gaps) < 40 < 70 < max(gaps) + 10  # withered on some days, as green as it was on others


def test_no_season_without_strength() -> None:
    np.testing.assert_allclose(another_season(_image(), np.random.default_rng(1), 0.0), _image(), rtol=1e-5)


def test_an_archive_leaves_as_many_pairs_alone_as_it_is_asked_to() -> None:
    image = _image()
    untouched = archived(image, image, np.random.default_rng(0), 0.0)
    assert all(date is image for date in untouched)
    for seed in range(20):
        for date in archived(image, image, np.random.default_rng(seed), 1.0):
            assert date.dtype == np.float32 and date.shape == image.shape
            assert date.min() >= 0 and date.max() <= 255


def test_an_archive_takes_the_colour_of_one_date_or_of_both() -> None:
    image = _image()
    grey = [
        tuple(bool((np.ptp(date, axis=2) < 1).all()) for date in archived(image, image, np.random.default_rng(seed), 1))
        for seed in range(40)
    ]
    assert set(grey) == {(True, False), (False, True), (True, True)}
