"""Scores from counts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changen2.training.measure import alarm_rate, count, f1, f1_score, precision, real_pairs, recall


def test_counts_leave_unknown_pixels_out() -> None:
    probability = np.array([[0.9, 0.9, 0.1, 0.1, 0.9]], np.float32)
    label = np.array([[1, 0, 1, 0, 255]], np.uint8)
    assert count(probability, label) == [1, 1, 1, 4]


def test_scores_pool_over_images() -> None:
    counts = np.array([[3.0, 1.0, 0.0, 10.0], [0.0, 1.0, 1.0, 10.0]])
    assert precision(counts) == pytest.approx(3 / 5)
    assert recall(counts) == pytest.approx(3 / 4)
    assert f1(counts) == pytest.approx(6 / 9)
    assert alarm_rate(counts) == pytest.approx(2 / 20)


def test_interval_holds_the_score_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 100, (12, 4)).astype(float)
    score = f1_score(counts)
    assert score.low < score.value < score.high
    assert f1_score(counts) == score


def test_real_pairs_read_any_nonzero_as_change(tmp_path: Path) -> None:
    for layer, value in (("A", 10), ("B", 20), ("label", 3)):
        (tmp_path / layer).mkdir()
        mode = "L" if layer == "label" else "RGB"
        Image.new(mode, (4, 4), value if mode == "L" else (value,) * 3).save(tmp_path / layer / "a.png")
    ((before, after, label),) = real_pairs(tmp_path)
    assert before.image.mean() == 10 and after.image.mean() == 20 and (label == 1).all()
