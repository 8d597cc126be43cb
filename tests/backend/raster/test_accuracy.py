import numpy as np
import pytest

from changen2.raster.accuracy import area_adjusted, confusion, scores, scores_with_intervals


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


def test_the_published_example_of_area_adjusted_accuracy():
    # Olofsson et al. 2014, table 8: deforestation, forest gain, stable forest, stable non-forest.
    matrix = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]], float)
    pixels = np.array([200_000, 150_000, 3_200_000, 6_450_000], float)
    found = area_adjusted(matrix, pixels)
    assert found["overall"][0].value == pytest.approx(0.947, abs=2e-3)
    assert [round(e.value, 2) for e in found["users"]] == [0.88, 0.73, 0.93, 0.96]
    assert [round(e.value, 2) for e in found["producers"]] == [0.75, 0.85, 0.93, 0.96]
    hectares = found["area"][0]
    assert hectares.value * 0.09 == pytest.approx(21_158, rel=1e-3)
    assert (hectares.high - hectares.value) * 0.09 == pytest.approx(6_158, rel=2e-2)
