"""Classifier-free guidance."""

import pytest
import torch

from changen2.diffusion.guidance import GUIDED_FROM, guided
from changen2.diffusion.schedules import cosine_schedule

SCHEDULE = cosine_schedule()


def answers(asked):
    def predict(told):
        asked.append(told)
        return torch.tensor([3.0 if told else 1.0])

    return predict


@pytest.mark.parametrize(("weight", "wanted"), [(1, 3), (2.5, 6), (4, 9)])
def test_it_leads_away_from_what_is_said_without_labels(weight, wanted):
    asked = []
    assert guided(answers(asked), SCHEDULE, 900, weight).item() == pytest.approx(wanted)
    assert asked == ([True] if weight == 1 else [True, False])


def test_it_ends_where_forms_stand():
    asked, last = [], int(GUIDED_FROM * len(SCHEDULE))
    assert guided(answers(asked), SCHEDULE, last - 1, 2).item() == 3
    assert guided(answers(asked), SCHEDULE, last, 2).item() == 5
    assert asked == [True, True, False]
