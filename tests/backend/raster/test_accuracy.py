import numpy as np
import pytest

from changen2.raster.accuracy import confusion, scores, scores_with_intervals


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
