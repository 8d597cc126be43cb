"""Pairs made of single dates: what is known of their change."""

from pathlib import Path

import numpy as np
import pytest

from changen2.training.config import TrainingConfig
from changen2.training.examples import make_pair
from changen2.training.places import IGNORE, Place

SIZE = 64


@pytest.fixture
def unlabelled() -> dict[str, list[Place]]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
    return {"town": [Place("town", "a", image, np.full((128, 128), IGNORE, np.uint8), 0.3)]}


def _config(tmp_path: Path, **changes: object) -> TrainingConfig:
    settings = {
        "data": tmp_path,
        "out": tmp_path,
        "encoder_weights": "none",
        "sources": {"town": 1.0},
        "kinds": {"star": 1},
    }
    return TrainingConfig.model_validate({**settings, "crop_size": SIZE, "gsd_range": (0.3, 0.3), **changes})


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_ground_that_is_the_same_image_on_both_dates_did_not_change_whatever_it_is(tmp_path, unlabelled, strength):
    config = _config(tmp_path, sun_strength=strength, season_strength=strength)
    pair = make_pair(unlabelled, config, "none", np.random.default_rng(1))
    assert (pair.before.label == IGNORE).all()  # nothing is known of the dates
    assert (pair.change == 0).all()
    assert not np.array_equal(pair.before.image, pair.after.image)


def test_beside_a_region_of_another_place_the_ground_is_known_not_to_have_changed(tmp_path, unlabelled):
    pair = make_pair(unlabelled, _config(tmp_path), "region", np.random.default_rng(3))
    assert set(np.unique(pair.change)) == {0, IGNORE}


def test_an_archive_keeps_the_same_pair_without_colour(tmp_path, unlabelled):
    found, kept = (
        make_pair(unlabelled, _config(tmp_path, archive_share=share), "region", np.random.default_rng(3))
        for share in (0.0, 1.0)
    )
    np.testing.assert_array_equal(found.change, kept.change)
    np.testing.assert_array_equal(found.before.label, kept.before.label)
    colours = [float(np.ptp(date.image, axis=2).max()) for date in (kept.before, kept.after)]
    assert min(colours) < 1 < np.ptp(found.before.image, axis=2).max()
