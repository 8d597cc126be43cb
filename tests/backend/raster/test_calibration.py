"""Calibration on probabilities whose truth is known."""

import numpy as np
import pytest

from changen2.raster.calibration import (
    Platt,
    best_f1,
    best_threshold,
    calibration,
    expected_calibration_error,
    f1_by_threshold,
    fit_platt,
    reliability,
    settled_threshold,
    tally,
)


def _drawn(wrong: Platt, pixels: int = 200_000):
    """Truth drawn by a probability, and that probability as a badly calibrated model says it."""
    random = np.random.default_rng(0)
    honest = random.uniform(0.02, 0.98, pixels)
    true = random.random(pixels) < honest
    return tally(wrong(honest), true, np.ones(pixels, bool))


def test_an_honest_probability_needs_no_scaling():
    counts = _drawn(Platt())
    platt = fit_platt(counts)
    assert platt.a == pytest.approx(1, abs=0.02) and platt.b == pytest.approx(0, abs=0.02)
    assert expected_calibration_error(reliability(counts)) < 0.005


@pytest.mark.parametrize("wrong", [Platt(2.0, 0.0), Platt(0.5, -1.0)])
def test_scaling_undoes_what_was_done(wrong):
    counts = _drawn(wrong)
    platt = fit_platt(counts)
    assert platt.a == pytest.approx(1 / wrong.a, rel=0.04)
    assert platt.b == pytest.approx(-wrong.b / wrong.a, abs=0.06)
    found = calibration(counts)
    assert found["ece"] > 0.08 and found["ece_scaled"] < 0.01


def test_the_curve_tells_what_was_so():
    probability = np.array([0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.5])
    true = np.array([1, 0, 0, 0, 1, 1, 1], bool)
    known = np.array([1, 1, 1, 1, 1, 1, 0], bool)
    low, high = reliability(tally(probability, true, known))
    assert (low["pixels"], low["observed"], high["pixels"], high["observed"]) == (4, 0.25, 2, 1)
    assert low["predicted"] == pytest.approx(0.1, abs=0.002)


def test_one_outcome_gives_no_scaling_and_a_clear_cut_stays_finite():
    nothing = tally(np.array([0.2, 0.7]), np.zeros(2, bool), np.ones(2, bool))
    assert fit_platt(nothing) is None and "platt" not in calibration(nothing)
    clear = tally(np.repeat([0.0, 1.0], 500), np.repeat([False, True], 500), np.ones(1000, bool))
    platt = fit_platt(clear)
    assert np.isfinite([platt.a, platt.b]).all() and platt(np.array([0.0, 1.0]))[1] > 0.99


def test_threshold_and_its_score():
    probability = np.array([0.2, 0.3, 0.3, 0.6, 0.7])
    counts = tally(probability, np.array([0, 1, 1, 1, 1], bool), np.ones(5, bool))
    threshold, score = best_threshold(counts)
    assert score == 1 and 0.2 < threshold <= 0.3
    assert f1_by_threshold(counts)[0] == pytest.approx(8 / 9), "everything is change"
    assert f1_by_threshold(counts)[-1] == 0


@pytest.mark.parametrize(("low", "high", "wanted"), [(0.1, 0.9, 0.5), (0.6, 0.9, 0.6), (0.1, 0.3, 0.3)])
def test_of_thresholds_as_good_the_nearest_to_a_half_is_taken(low, high, wanted):
    counts = tally(np.array([low, high]), np.array([False, True]), np.ones(2, bool))
    threshold, score = best_threshold(counts)
    assert score == 1
    assert threshold == pytest.approx(wanted, abs=1 / 200)


def test_the_best_f1_of_several_images_and_how_sure_it_is():
    rng = np.random.default_rng(0)

    def image(flips):
        truth = rng.random(400) < 0.3
        said = np.where(rng.random(400) < flips, ~truth, truth) * 0.6 + 0.2
        return tally(said, truth, np.ones(400, bool))

    alike, unlike = [image(0.1) for _ in range(6)], [image(flips) for flips in (0, 0, 0, 0.4, 0.4, 0.4)]
    for images in (alike, unlike):
        assert best_f1(images)[0] == best_threshold(sum(images))[1]
    assert 0 < best_f1(alike)[1] < best_f1(unlike)[1] < 0.3
    assert best_f1(alike[:1])[1] == np.inf


def _turning_at(probability):
    """All that is said to be surer than this is change, nothing else is."""
    said = np.linspace(0.01, 0.99, 99)
    return tally(said, said > probability, np.ones(99, bool))


def test_a_settled_threshold_moves_from_what_was_held_out_to_what_was_learned_from():
    few = [settled_threshold(_turning_at(0.2), _turning_at(0.6), weight) for weight in (0, 0.25, 1, 4, 1e6)]
    assert few == sorted(few) and few[0] == pytest.approx(0.2, abs=0.02) and few[-1] == pytest.approx(0.6, abs=0.02)


def test_of_settled_thresholds_as_good_the_nearest_to_a_half_is_taken():
    clear = tally(np.array([0.1, 0.9]), np.array([False, True]), np.ones(2, bool))
    assert settled_threshold(clear, clear, 1) == 0.5


def test_a_scaling_that_keeps_a_half_only_changes_the_spread():
    levels = np.arange(255)
    said = levels / 254
    true = 1 / (1 + np.exp(-0.5 * np.log(np.clip(said, 1e-3, 1 - 1e-3) / (1 - np.clip(said, 1e-3, 1 - 1e-3)))))
    counts = np.stack([1000 * (1 - true), 1000 * true], axis=1)
    platt = fit_platt(counts, keep_half=True)
    assert platt.b == 0 and platt.a == pytest.approx(0.5, abs=0.02)
    assert platt(np.array(0.5)) == 0.5
    found = calibration(counts, keep_half=True)
    assert found["platt"]["b"] == 0 and found["ece_scaled"] < found["ece"] / 5
