"""Estimates from points: the published examples, and intervals that hold what is true of a simulated map."""

import numpy as np
import pytest

from changen2.raster.area_estimates import Sample, alike_strata, area_adjusted


def letters(text):
    return np.array(["ABCD".index(letter) for letter in text])


def standard_error(estimate):
    return (estimate.value - estimate.low) / 1.959964


def test_the_published_example_of_strata_that_are_the_map():
    # Olofsson et al. 2014, table 8: deforestation, forest gain, stable forest, stable non-forest.
    matrix = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    pixels = np.array([200_000, 150_000, 3_200_000, 6_450_000], float)
    said, true = (np.repeat(index.ravel(), matrix.ravel()) for index in np.indices(matrix.shape))
    found = area_adjusted(Sample(said, pixels, said, true, np.ones(said.size)), pixels.sum() * 0.09, 4)
    assert found["overall"][0].value == pytest.approx(0.947, abs=2e-3)
    assert [round(e.value, 2) for e in found["users"]] == [0.88, 0.73, 0.93, 0.96]
    assert [round(e.value, 2) for e in found["producers"]] == [0.75, 0.85, 0.93, 0.96]
    hectares = found["area"][0]
    assert hectares.value == pytest.approx(21_158, rel=1e-3)
    assert hectares.high - hectares.value == pytest.approx(6_158, rel=2e-2)


def test_the_published_example_of_strata_that_differ_from_the_map():
    # Stehman 2014, table 2 and pages 4932 to 4936.
    sample = Sample(
        letters("A" * 10 + "B" * 10 + "C" * 10 + "D" * 10),
        np.array([40_000.0, 30_000, 20_000, 10_000]),
        letters("A" * 7 + "BBB" + "A" + "B" * 11 + "C" * 6 + "BB" + "D" * 10),
        letters("AAAAACBABCABBBBBAABBCCCCCDDBBADDDDDDDCCB"),
        np.ones(40),
    )
    found = area_adjusted(sample, 1.0, 4)
    told = {
        "overall": (found["overall"][0], 0.63, 0.085),
        "user's accuracy of B": (found["users"][1], 0.574, 0.125),
        "producer's accuracy of B": (found["producers"][1], 0.794, 0.116),
        "area of A": (found["area"][0], 0.35, 0.082),
        "area of C": (found["area"][2], 0.20, 0.064),
    }
    for name, (estimate, value, error) in told.items():
        assert (estimate.value, standard_error(estimate)) == pytest.approx((value, error), abs=1e-3), name


def test_a_class_that_is_nowhere_in_the_sample_is_not_known():
    stratum = np.repeat([0, 1], 20)
    found = area_adjusted(Sample(stratum, np.array([900.0, 100]), stratum, stratum * 0, np.ones(40)), 1000.0)
    assert found["producers"][1] is None and found["area"][1].value == 0 and found["users"][1].value == 0


@pytest.mark.parametrize("omitted", [0, 1])
def test_a_stratum_of_one_label_tells_no_interval_of_what_rests_on_it(omitted):
    """Of 49 or 50 points without change in 45,000 pixels, as of most samples where change is rare."""
    stratum = np.repeat([0, 1], 50)
    true = np.where(np.arange(100) < 95, stratum, 0)
    true[:omitted] = 1
    sample = Sample(stratum, np.array([45_000.0, 5_000]), stratum, true, np.full(100, 0.25))
    found = area_adjusted(sample, 12_500.0)
    known = {name: [each.low is not None and each.high is not None for each in found[name]] for name in found}
    assert known["users"] == [bool(omitted), True], "of what the map calls change its own points tell"
    assert all(known[name] == [bool(omitted)] * len(found[name]) for name in ("overall", "producers", "area"))
    (alike,) = alike_strata(sample) or [None]
    if alike:
        assert (alike.stratum, alike.points, alike.true, alike.unseen) == (0, 50, 0, 0.25 * 45_000 * 3 / 50)
    assert bool(alike) is not bool(omitted)


@pytest.mark.parametrize(("drawn", "size"), [(50, 45_000), (90, 100)])
def test_what_may_be_unseen_is_told_of_the_part_of_a_stratum_that_lies_on_the_map(drawn, size):
    """Half of it lies where the map holds nothing: the rest is as if it had been drawn alone."""
    beyond = np.repeat([0, 1], drawn)
    whole, part = (
        Sample(off * 0, np.array([pixels]), -off, off * 0, 0.25 * (1 - off))
        for off, pixels in ((beyond, 2.0 * size), (beyond[:drawn], 1.0 * size))
    )
    assert alike_strata(whole) == alike_strata(part) != []


def test_of_a_stratum_that_was_drawn_whole_one_label_tells_all():
    """Also of a single pixel."""
    stratum = np.repeat([0, 1], [20, 1])
    true = np.where(np.arange(21) < 5, 1, stratum)
    sample = Sample(stratum, np.array([900.0, 1]), stratum, true, np.ones(21))
    found = area_adjusted(sample, 901.0)
    assert alike_strata(sample) == []
    assert (found["users"][1].low, found["users"][1].high) == (1, 1)
    assert 0 < found["area"][1].low < found["area"][1].value < found["area"][1].high


def test_intervals_reach_no_further_than_what_is_possible():
    stratum = np.repeat([0, 1], 20)
    true = stratum.copy()
    true[[0, 20]] ^= 1
    found = area_adjusted(Sample(stratum, np.array([900.0, 100]), stratum, true, np.ones(40)), 1000.0)
    assert found["users"][0].high == found["users"][1].high == 1 and found["area"][0].high <= 1000
    assert found["area"][1].low >= 0 and found["area"][1].high < 1000


@pytest.mark.parametrize("share", [0.02, 0.5, 1])
def test_intervals_are_olofssons_with_finite_population_correction(share):
    """Equation 5 of Olofsson et al. 2014 with the share that was not drawn; none is left where all pixels were."""
    rng = np.random.default_rng(2)
    drawn = np.array([40, 60])
    stratum = np.repeat([0, 1], drawn)
    true = (rng.random(100) < np.where(stratum, 0.8, 0.1)).astype(int)
    sizes = drawn / share
    overall = area_adjusted(Sample(stratum, sizes, stratum, true, np.ones(100)), 1.0)["overall"][0]
    right = np.array([(true == stratum)[stratum == number].mean() for number in (0, 1)])
    variance = ((sizes / sizes.sum()) ** 2 * right * (1 - right) / (drawn - 1) * (1 - share)).sum()
    assert standard_error(overall) == pytest.approx(np.sqrt(variance), abs=1e-12)


def test_intervals_hold_what_is_true_nineteen_times_in_twenty():
    """Points drawn on one state of a map tell of another one, over pixels that shrink towards the pole."""
    rng = np.random.default_rng(5)
    rows = np.indices((200, 150))[0].ravel()
    ground = np.cos(np.radians(rows / 3))
    probability = rng.random(rows.size) ** 6 * 0.7 + 0.3 * (rows > 150)
    true = rng.random(rows.size) < probability
    drawn_on, said = probability >= 0.3, probability >= 0.5
    assert (drawn_on != said).mean() > 0.1
    shares = {"overall": (said == true, said == said), "users": (said & true, said), "producers": (said & true, true)}
    truth = {name: ground[part].sum() / ground[whole].sum() for name, (part, whole) in shares.items()}
    truth["area"] = ground[true].sum()
    sizes = np.bincount(drawn_on).astype(float)
    held, values = dict.fromkeys(truth, 0), {name: [] for name in truth}
    for _ in range(400):
        chosen = np.concatenate([rng.choice(np.flatnonzero(drawn_on == stratum), 80, False) for stratum in (0, 1)])
        stratum, there, so = (column[chosen].astype(int) for column in (drawn_on, said, true))
        found = area_adjusted(Sample(stratum, sizes, there, so, ground[chosen]), ground.sum())
        for name, value in truth.items():
            estimate = found[name][-1]
            held[name] += estimate.low is None or estimate.low <= value <= estimate.high
            values[name].append(estimate.value)
    for name, value in truth.items():
        assert 0.9 < held[name] / 400 < 0.99, name
        assert np.mean(values[name]) == pytest.approx(value, rel=0.02), name
