"""Semantic change scores against values worked out by hand and against the formulas written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changen2.raster.semantic_accuracy import semantic_report, semantic_scores, states, tally_states, tally_transitions


def test_a_perfect_map_scores_one():
    scores = semantic_scores(np.diag([90.0, 5.0, 5.0]))
    assert {name: float(value) for name, value in scores.items()} == {"miou": 1, "sek": 1, "score": 1, "f_scd": 1}


def test_scores_by_hand():
    matrix = np.array([[80.0, 2.0, 3.0], [4.0, 6.0, 1.0], [0.0, 1.0, 3.0]])
    scores = semantic_scores(matrix)
    change = (6 + 1 + 1 + 3) / 20
    q = matrix.copy()
    q[0, 0] = 0
    agreed, chance = 9 / 20, (q.sum(1) * q.sum(0)).sum() / 400
    assert scores["miou"] == pytest.approx((80 / 89 + change) / 2)
    assert scores["sek"] == pytest.approx((agreed - chance) / (1 - chance) * np.exp(change - 1))
    assert scores["f_scd"] == pytest.approx(2 * 9 / (11 + 4 + 9 + 7))


@given(st.lists(st.integers(1, 90), min_size=9, max_size=9))
def test_the_score_is_mostly_sek(counts):
    scores = semantic_scores(np.array(counts, float).reshape(3, 3))
    assert scores["score"] == pytest.approx(0.3 * scores["miou"] + 0.7 * scores["sek"])


def test_classes_confused_cost_and_are_told():
    changed = np.array([0, 1, 1, 1, 1], bool)
    before, after = np.array([2, 2, 2, 2, 1]), np.array([4, 4, 4, 5, 4])
    wrong = np.array([4, 4, 5, 5, 4])
    true = states(before, changed), states(after, changed)
    said = states(before, changed), states(wrong, changed)
    units = [tally_states(np.concatenate(said), np.concatenate(true))]
    names = {2: "land", 4: "building", 5: "tree"}
    found = semantic_report(units, [tally_transitions(said, true)], (names, names))
    assert found["miou"] == 1 and 0 < found["sek"] < 1
    assert found["classes"]["land"]["f1"] == 1 and found["classes"]["building"]["recall"] == pytest.approx(2 / 3)
    assert found["from_to"][0] == {"from": "land", "to": "building", "reference": 2, "prediction": 1, "both": 1}
    assert {(row["from"], row["to"]) for row in found["from_to"]} == {
        ("land", "building"), ("land", "tree"), ("1", "building")
    }  # fmt: skip
    assert found["sek_low"] == found["sek"] == found["sek_high"], "one unit has no spread"


def test_nothing_changed_and_nothing_said():
    zeros = np.zeros(4, int)
    no_names = ({}, {})
    found = semantic_report([tally_states(zeros, zeros)], [tally_transitions((zeros, zeros), (zeros, zeros))], no_names)
    assert found["sek"] is found["sek_low"] is None and found["from_to"] == [] and found["classes"] == {}


def test_classes_of_one_name_are_told_apart_by_their_numbers():
    """Also of a name that is another one's number."""
    pairs = tuple(states(np.array(numbers), np.ones(4, bool)) for numbers in ([1, 2, 3, 4], [2, 1, 3, 4]))
    names = {1: "building", 2: "building", 3: "4"}
    found = semantic_report([tally_states(*pairs)], [tally_transitions(pairs, pairs)], (names, names))
    assert set(found["classes"]) == {"building (1)", "building (2)", "4", "4 (4)"}
    assert {row["from"] for row in found["from_to"]} == set(found["classes"])


def test_without_states_of_both_dates_what_turned_into_what_is_told_alone():
    one = tuple(states(np.array([number] * 3), np.ones(3, bool)) for number in (1, 4))
    found = semantic_report([], [tally_transitions(one, one)], ({1: "building"}, {1: "no damage", 4: "destroyed"}))
    assert found["sek"] is found["f_scd"] is found["miou_low"] is None and found["classes"] == {}
    assert found["from_to"] == [{"from": "building", "to": "destroyed", "reference": 3, "prediction": 3, "both": 3}]
