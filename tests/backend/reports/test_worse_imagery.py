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
    halved = worse_imagery.coarser(2)
    trials = {"as they are": Trial(), "coarse": Trial(halved, halved, 2, options={"gsd": "auto"})}
    monkeypatch.setattr(worse_imagery, "TRIALS", trials)
    figures = measure_worse([pair])
    assert asked == [{"model": "tiny"}, {"model": "tiny", "gsd": "auto"}]
    assert list(figures) == ["as they are", "coarse"]
    assert figures["as they are"]["difference"] == {"value": 0, "low": 0, "high": 0}
    for found in figures.values():
        assert (found["aligned"], found["pairs"]) == (0, 1)
        low, middle, high = found["f1"]["low"], found["f1"]["value"], found["f1"]["high"]
        assert 0 <= low <= middle <= high <= 1
    table = worse_table(figures)
    assert table.count("\n") == 3
    assert "| coarse | 0." in table


@pytest.mark.parametrize("undone", [None, {"columns": 4.0, "rows": 4.0}])
def test_the_label_goes_with_the_date_after_unless_that_is_moved_back(pair, monkeypatch, tmp_path, undone):
    """A detector that finds just what changed, in the one frame or in the other."""
    there = pair[2] if undone else worse_imagery.shifted(4)(pair[2])
    worse_imagery._write(tmp_path / "change.tif", np.stack([there] * 3, axis=2), 0.5)
    answer = {"outputs": {"change": str(tmp_path / "change.tif")}, "summary": {"shift": undone}}
    monkeypatch.setattr(worse_imagery, "detect", lambda *paths, **options: answer)
    monkeypatch.setattr(worse_imagery, "TRIALS", {"off, `--coregister`": Trial(off=4)})
    figures = measure_worse([pair])
    assert figures["off, `--coregister`"]["f1"]["value"] == 1
    assert f"({int(undone is not None)} of 1 pairs moved)" in worse_table(figures)
