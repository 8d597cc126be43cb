"""The page of results: its tables are those of its figures, and what is measured is what detection would write."""

import json
from pathlib import Path

import numpy as np
import pytest

from changen2.errors import InputError
from changen2.reports import results
from changen2.training.crops import Crop

PAGE = Path(__file__).parents[3] / "docs" / "results.md"


@pytest.fixture
def pairs() -> results.PairSet:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(4):
        label = np.zeros((32, 32), np.uint8)
        label[4:12, 6:20] = 1
        before = rng.uniform(40, 60, (32, 32, 3)).astype(np.float32)
        made.append((Crop(before, label), Crop(before + 120 * label[..., None], label), label))
    return made


def test_the_page_shows_the_kept_figures() -> None:
    page = PAGE.read_text(encoding="utf-8")
    kept = json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))
    assert results.fill(page, results.tables(kept)) == page, "run `make results`"


def test_figures_of_a_peer_that_is_right(pairs: results.PairSet) -> None:
    found = results.measure(results.difference, 0.5, {"levir": pairs, "still": [(a, a, 0 * c) for a, _, c in pairs]})
    levir = found["levir"]
    assert levir["f1"] == {"value": 1, "low": 1, "high": 1} and levir["iou"]["value"] == 1
    assert levir["ece"] == 0 and found["still"] == {"alarms": 0, "pairs": 4}
    share = pairs[0][2].mean()
    assert levir["over_everything"]["value"] == pytest.approx(1 - 2 * share / (1 + share))


def test_everything_is_change_has_the_share_of_change_as_precision(pairs: results.PairSet) -> None:
    levir = results.measure(results.everything, 0.5, {"levir": pairs})["levir"]
    assert levir["precision"] == pytest.approx(pairs[0][2].mean()) and levir["recall"] == 1
    assert levir["over_everything"] == {"value": 0, "low": 0, "high": 0}


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    assert results.fill("a <!-- x -->\nold\n<!-- /x --> b", {"x": "new"}) == "a <!-- x -->\nnew\n<!-- /x --> b"
    with pytest.raises(InputError, match="no place for the table 'y'"):
        results.fill("a", {"y": "new"})


def test_imagery_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not hold eval and val"):
        results.pair_sets(tmp_path)
