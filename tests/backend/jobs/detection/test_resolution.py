"""Resampling between ground sampling distances: only where it shows, and never without bounds."""

import pytest

from changen2.errors import InputError
from changen2.jobs.detection.resolution import resampling_factor, suits
from changen2.models.registry import card_of


def test_what_nobody_can_see_is_not_resampled():
    assert resampling_factor(0.5, 0.49) == 1 and resampling_factor(0.49, 0.5) == 1
    assert resampling_factor(0.5, 0.25) == 2 and resampling_factor(0.25, 0.5) == 0.5


@pytest.mark.parametrize("gsd, wanted", [(65, 1), (1, 65)])
def test_what_is_too_far_apart_is_refused(gsd, wanted):
    with pytest.raises(InputError, match="allowed is 1/64 to 64"):
        resampling_factor(gsd, wanted)


def test_a_model_suits_what_it_was_trained_at_and_hardly_more():
    card = card_of("tiny")
    assert suits(card, card.gsd_min) and suits(card, card.gsd_max) and suits(card, 1.04 * card.gsd_max)
    assert not suits(card, 0.9 * card.gsd_min) and not suits(card, 1.1 * card.gsd_max)
