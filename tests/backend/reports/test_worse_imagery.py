"""Worse imagery: what the trials do to an image, and that each goes through a whole detection."""

import numpy as np
import pytest

from changen2.reports import worse_imagery
from changen2.reports.worse_imagery import TRIALS, Trial, measure_worse, worse_table
from changen2.scenes import draw_pair
from changen2.scenes.sample import sample_style
from changen2.training.crops import Crop


@pytest.fixture(scope="module")
def pair():
    """A drawn pair of dates, and the change between them."""
    drawn = draw_pair(2, 128, 128, 0.5, sample_style(2))
    change = drawn.change.astype(np.uint8)
    return Crop(drawn.before.astype(np.float32), change), Crop(drawn.after.astype(np.float32), change), change


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_a_trial_makes_images_of_the_size_it_says(trial, pair):
    image = pair[0].image.astype(np.uint8)
    before, after = trial.before(image), trial.after(image)
    assert before.dtype == after.dtype == np.uint8
    assert before.shape == after.shape == (128 // trial.factor, 128 // trial.factor, 3)
    unspoilt = trial.before is trial.after is worse_imagery.as_it_is
    assert unspoilt == (np.array_equal(before, image) and np.array_equal(after, image))


def test_a_shift_moves_the_content_right_and_down(pair):
    image = pair[0].image.astype(np.uint8)
    assert np.array_equal(worse_imagery.shifted(4)(image)[4:, 4:], image[:-4, :-4])


def test_each_trial_is_a_detection_that_is_counted_at_its_own_scale(pair, monkeypatch):
    asked = []

    def detected(*paths, **options):
        asked.append(options)
        return detect(*paths, **options)

    detect = worse_imagery.detect
    monkeypatch.setattr(worse_imagery, "detect", detected)
    trials = {
        "as they are": Trial(),
        "coarse": Trial(worse_imagery.coarser(2), worse_imagery.coarser(2), 2, {"gsd": "auto"}),
    }
    monkeypatch.setattr(worse_imagery, "TRIALS", trials)
    figures = measure_worse([pair])
    assert asked == [{"model": "tiny"}, {"model": "tiny", "gsd": "auto"}]
    assert list(figures) == ["as they are", "coarse"]
    for found in figures.values():
        low, middle, high = found["f1"]["low"], found["f1"]["value"], found["f1"]["high"]
        assert 0 <= low <= middle <= high <= 1
    table = worse_table(figures)
    assert table.count("\n") == 3
    assert "| coarse | 0." in table
