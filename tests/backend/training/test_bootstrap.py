import numpy as np
import pytest

from changen2.errors import InputError
from changen2.training.bootstrap import bootstrap, rounded


def test_the_interval_of_a_mean_is_the_one_of_theory():
    values = np.random.default_rng(0).normal(3, 2, 400)
    score = bootstrap(lambda chosen: values[chosen].mean(), 400, resamples=2000)
    assert score.value == pytest.approx(values.mean())
    assert (score.low, score.high) == pytest.approx((score.value - 0.196, score.value + 0.196), abs=0.03)


def test_a_constant_has_no_interval():
    assert rounded(bootstrap(lambda chosen: 1.23456, 3, 10)) == {"value": 1.235, "low": 1.235, "high": 1.235}


def test_nothing_cannot_be_resampled():
    with pytest.raises(InputError):
        bootstrap(lambda chosen: 0.0, 0)
