"""Pairs with land cover: nothing changed where nothing was laid over, whatever the label knows."""

import numpy as np
import pytest

from changen2.scenes.classes import BUILDING, LAND, VEGETATION, WATER
from changen2.training.config import TrainingConfig
from changen2.training.crops import Crop, Cut
from changen2.training.landcover_pairs import cut_classes, dates_of, finish, make_pair, parcels, season, with_rim
from changen2.training.places import IGNORE, Place

CONFIG = TrainingConfig(
    data="data", out="out", encoder_weights="none", sources={"town": 1.0}, kinds={"star": 1.0}, crop_size=64,
    gsd_range=(0.5, 1.0), max_shift=2,
)  # fmt: skip


def _crop(value: int, grey: int, size: int = 64) -> Crop:
    return Crop(np.full((size, size, 3), grey, np.float32), np.full((size, size), value, np.uint8))


def _place() -> Place:
    rng = np.random.default_rng(0)
    label = np.full((120, 160), LAND, np.uint8)
    label[:, 80:], label[20:40, 20:60] = WATER, BUILDING
    return Place("town", "town", rng.integers(0, 255, (120, 160, 3), np.uint8), label, 0.5)


def test_classes_are_never_mixed_by_resampling() -> None:
    crop = cut_classes(_place(), Cut(slice(0, 120), slice(0, 160), (45, 60), 64, 1, True))
    assert crop.image.shape == (64, 64, 3)
    assert set(np.unique(crop.label)) == {WATER, LAND, BUILDING}


def test_a_region_changes_only_where_it_lies() -> None:
    rng = np.random.default_rng(2)
    base, donor = _crop(LAND, 60), _crop(WATER, 200)
    second, change = dates_of(base, lambda: donor, "region", rng)
    np.testing.assert_array_equal(change == 1, second.label == WATER)
    assert 0 < (change == 1).mean() < 1 and (change != IGNORE).all()


def test_what_was_not_laid_over_is_unchanged_even_if_nobody_labelled_it() -> None:
    rng = np.random.default_rng(3)
    base, donor = _crop(IGNORE, 60), _crop(WATER, 200)
    second, change = dates_of(base, lambda: donor, "region", rng)
    assert (change[second.label == IGNORE] == 0).all()
    assert (change[second.label == WATER] == IGNORE).all()
    assert (dates_of(base, lambda: donor, "none", rng)[1] == 0).all()


def test_the_rim_of_a_change_is_open_only_in_what_was_laid_over() -> None:
    change = np.zeros((20, 20), np.uint8)
    change[8:12, 8:12] = 1
    laid_over = np.zeros((20, 20), bool)
    laid_over[:, :12] = True
    rimmed = with_rim(change, laid_over)
    assert rimmed[9, 6] == IGNORE and rimmed[9, 13] == 0 and rimmed[9, 9] == 1 and rimmed[9, 2] == 0


def test_a_season_recolours_fields_and_gives_up_their_label_but_no_roof() -> None:
    crop = _crop(VEGETATION, 90)
    crop.image[..., 1] += 40
    crop.label[:, 32:] = BUILDING
    crop.image[:, 32:] = 120
    fields = [season(crop, np.random.default_rng(seed)) for seed in range(5)]
    assert any((field.label[:, :28] == IGNORE).any() for field in fields)
    for field in fields:
        assert (field.label[:, 40:] == BUILDING).all() and (field.image[:, 40:] == 120).all()


def test_parcels_cover_a_part() -> None:
    shares = [parcels(64, np.random.default_rng(seed)).mean() for seed in range(20)]
    assert 0.02 < np.mean(shares) < 0.6


@pytest.mark.parametrize("kind", ["star", "region", "none"])
def test_a_pair_has_the_size_and_is_the_same_for_a_seed(kind: str) -> None:
    pairs = [make_pair({"town": [_place()]}, CONFIG, kind, np.random.default_rng(5)) for _ in range(2)]
    assert pairs[0].before.image.shape == (64, 64, 3) and pairs[0].change.shape == (64, 64)
    np.testing.assert_array_equal(pairs[0].after.image, pairs[1].after.image)
    np.testing.assert_array_equal(pairs[0].change, pairs[1].change)


def test_both_dates_of_a_finished_pair_are_lit_on_their_own() -> None:
    base = _crop(LAND, 100, 68)
    pair = finish(base, base, np.zeros((68, 68), np.uint8), CONFIG, np.random.default_rng(1))
    assert np.abs(pair.before.image.mean((0, 1)) - pair.after.image.mean((0, 1))).max() > 1


def test_an_archive_keeps_the_same_pair_without_colour() -> None:
    config = CONFIG.model_copy(update={"archive_share": 1.0})
    found, kept = (make_pair({"town": [_place()]}, c, "region", np.random.default_rng(5)) for c in (CONFIG, config))
    np.testing.assert_array_equal(found.change, kept.change)
    np.testing.assert_array_equal(found.after.label, kept.after.label)
    colours = [float(np.ptp(date.image, axis=2).max()) for date in (kept.before, kept.after)]
    assert min(colours) < 1 < np.ptp(found.before.image, axis=2).max()
