"""The scaling in a model's card: what is written is the calibrated probability, what counts as change stays."""

import json

import numpy as np
import pytest
import rasterio

from changen2.jobs.detection import plan
from changen2.jobs.detection.calibrated import scaling_of, written_threshold
from changen2.jobs.detection.change_map import lowest_change_value, stored_probability
from changen2.jobs.models import describe
from changen2.models.predictor import QUANTUM
from changen2.raster.calibration import Platt


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def tags(path):
    with rasterio.open(path) as dataset:
        return dataset.tags()


@pytest.fixture
def card(difference):
    """Make a card with a threshold and a scaling; later detections use it."""

    def make(monkeypatch=None, platt=None, threshold=0.5):
        plain = plan.card_of("any").model_copy(update={"threshold": threshold})
        made = plain.model_copy(update={"calibration": {"ece": 0.1, "platt": platt}}) if platt else plain
        if monkeypatch:
            monkeypatch.setattr(plan, "card_of", lambda name, task="detect": made)
        return made

    return make


def test_without_a_scaling_nothing_changes(card):
    given = np.arange(QUANTUM + 1)
    assert (stored_probability(card()) == (given * 254 + QUANTUM // 2) // QUANTUM + 1).all()
    assert written_threshold(card(threshold=0.4)) == 0.4 and scaling_of(card()) is None


@pytest.mark.parametrize("platt", [{"a": 0.6, "b": 0.0}, {"a": 1.7, "b": -1.2}, {"a": 0.3, "b": 0.8}])
@pytest.mark.parametrize("threshold", [0.5, 0.31])
def test_the_written_probability_is_the_scaled_one_and_decisions_stay(card, platt, threshold):
    scaled = stored_probability(card(platt=platt, threshold=threshold)).astype(int)
    plain = stored_probability(card()).astype(int)
    wanted = Platt(**platt)(np.arange(QUANTUM + 1) / QUANTUM)
    assert np.abs((scaled - 1) / 254 - wanted).max() <= 1.5 / 254, "to a stored step, and half of one to keep decisions"
    assert (np.diff(scaled) >= 0).all() and scaled.min() >= 1
    first = lowest_change_value(written_threshold(card(platt=platt, threshold=threshold)))
    assert ((scaled >= first) == (plain >= lowest_change_value(threshold))).all()


def test_what_is_recommended_is_of_the_written_probability(card):
    described = describe(card(platt={"a": 0.5, "b": -1.0}))
    assert described["threshold"] == pytest.approx(1 / (1 + np.e))


def test_a_half_stays_a_half_where_b_is_0(card):
    assert written_threshold(card(platt={"a": 0.4, "b": 0.0})) == 0.5


@pytest.mark.parametrize("a", [0.0, -1.0, float("nan")])
def test_a_scaling_that_turns_the_order_around_is_not_applied(card, a):
    assert scaling_of(card(platt={"a": a, "b": 0.0})) is None


def test_detect_writes_the_scaled_probability_and_says_so(pair, tmp_path, difference, card, monkeypatch):
    plain = difference(*pair, tmp_path / "plain")["outputs"]
    platt = {"a": 0.5, "b": -1.0}
    card(monkeypatch, platt)
    result = difference(*pair, tmp_path / "scaled")
    found = result["outputs"]
    assert (read(found["change"]) == read(plain["change"])).all() and read(found["change"]).any()
    before, after = ((read(maps["change_probability"]).astype(float) - 1) / 254 for maps in (plain, found))
    inside = (before > 0.01) & (before < 0.99)
    assert inside.any() and np.abs(after - Platt(**platt)(before))[inside].max() < 0.02
    assert result["summary"]["threshold"] == pytest.approx(1 / (1 + np.e))
    assert json.loads((tmp_path / "scaled" / "manifest.json").read_text())["scaling"] == platt
    assert json.loads((tmp_path / "plain" / "manifest.json").read_text())["scaling"] is None
    said = [tags(maps["change_probability"]) for maps in (plain, found)]
    assert [each["CHANGEN2_SCALING"] for each in said] == ["1.0 0.0", "0.5 -1.0"]
    assert {each["CHANGEN2_MODEL"] for each in said} == {"difference"}
    given = difference(*pair, tmp_path / "given", threshold=0.5)
    assert 0 < given["summary"]["change_px"] < result["summary"]["change_px"], "0.5 of what is written"


def test_the_embedded_detector_decides_at_a_half():
    assert written_threshold(plan.card_of("tiny")) == 0.5
