import numpy as np
import pytest

from changen2.raster import accuracy
from changen2.raster.accuracy import confusion, place_scores_with_intervals, scores, scores_with_intervals


def test_scores_of_a_known_confusion():
    found = scores(np.array([30.0, 10.0, 20.0, 40.0]))
    assert found["precision"] == 0.75 and found["recall"] == 0.6
    assert found["f1"] == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert found["iou"] == 0.5
    # Observed agreement 0.7, by chance 0.4 · 0.5 + 0.6 · 0.5 = 0.5.
    assert found["kappa"] == pytest.approx(0.4)


def test_unknown_pixels_are_left_out():
    predicted, true = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert confusion(predicted, true, np.array([True, True, False, True])).tolist() == [1, 1, 0, 1]


def test_intervals_hold_the_value_and_narrow_with_more_units():
    random = np.random.default_rng(0)

    def width(count):
        units = random.integers(1, 50, (count, 4)).astype(float)
        found = scores_with_intervals(units)
        assert all(found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] for name in ("f1", "iou", "kappa"))
        return found["f1_high"] - found["f1_low"]

    assert width(400) < width(10)


def test_whole_places_are_resampled_without_a_table_of_all(monkeypatch):
    def whole(*_):
        raise AssertionError("a number for each place and resample")

    monkeypatch.setattr(accuracy, "resamples", whole)
    known, reported = (np.stack([np.ones(200_000), np.arange(200_000) % k > 0], axis=1) for k in (4, 5))
    found = place_scores_with_intervals(known.astype(float), reported.astype(float), paired=False)
    assert found["recall"] == 0.75 and found["precision"] == 0.8
    spread = 1.96 * np.sqrt(0.75 * 0.25 / 200_000)
    assert found["recall_high"] - found["recall"] == pytest.approx(spread, rel=0.1)


def test_resampling_some_at_a_time_changes_nothing(monkeypatch):
    units = np.random.default_rng(0).integers(1, 50, (30, 4)).astype(float)
    at_once = scores_with_intervals(units)
    monkeypatch.setattr(accuracy, "DRAWS_AT_ONCE", 7 * 30)
    assert scores_with_intervals(units) == at_once


def defined(found):
    """The scores of a result that are defined; those that are not have no interval either."""
    names = [name for name in found if not name.endswith(("_low", "_high"))]
    assert all((found[name] is None) == (found[f"{name}_{end}"] is None) for name in names for end in ("low", "high"))
    return {name: found[name] for name in names if found[name] is not None}


def test_where_nothing_changes_and_nothing_is_reported_no_score_is_defined():
    assert defined(scores_with_intervals(np.array([[0.0, 0, 0, 90], [0, 0, 0, 10]]))) == {}
    none = np.zeros((0, 2))
    assert defined(place_scores_with_intervals(none, none, paired=False)) == {}


@pytest.mark.parametrize(("false", "missed", "share"), [(0, 9, "recall"), (9, 0, "precision")])
def test_where_only_one_map_shows_change_one_share_is_not_defined(false, missed, share):
    expected = {"f1": 0, "iou": 0, share: 0, "kappa": 0}
    assert defined(scores_with_intervals(np.array([[0.0, false, missed, 90]]))) == expected
    places = [np.array([[1.0, 0.0]] * count).reshape(-1, 2) for count in (missed, false)]
    assert defined(place_scores_with_intervals(*places, paired=False)) == {"f1": 0, share: 0}
