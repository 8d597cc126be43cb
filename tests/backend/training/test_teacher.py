"""Self-training: only unknown pixels are labelled, and only where the teacher is sure."""

from dataclasses import replace

import numpy as np
import torch

from changen2.models.changestar_tiny import changestar_tiny
from changen2.training.places import BUILDING, IGNORE, Place
from changen2.training.teacher import building_probability, fill_unknown


def _teacher(bias: float) -> torch.nn.Module:
    torch.manual_seed(0)
    model = changestar_tiny().eval()
    torch.nn.init.zeros_(model.semantic.weight)
    torch.nn.init.constant_(model.semantic.bias, bias)
    return model


def _place() -> Place:
    label = np.full((90, 70), IGNORE, np.uint8)
    label[:10] = BUILDING
    return Place("drawn", "one", np.zeros((90, 70, 3), np.uint8), label, 0.3)


def test_probability_has_the_shape_of_the_place() -> None:
    probability = building_probability(_teacher(0.0), _place())
    assert probability.shape == (90, 70)
    np.testing.assert_allclose(probability, 0.5, atol=1e-5)


def test_known_labels_stay_and_doubt_stays_unknown() -> None:
    for bias, expected in ((3.0, BUILDING), (-3.0, 0), (0.0, IGNORE)):
        (filled,) = fill_unknown(_teacher(bias), [_place()])
        assert (filled.label[:10] == BUILDING).all()
        assert (filled.label[10:] == expected).all()


def test_what_is_held_out_keeps_the_labels_that_people_gave_it() -> None:
    held_out = replace(_place(), held_out=True)
    (filled,) = fill_unknown(_teacher(3.0), [held_out])
    assert (filled.label == held_out.label).all() and (filled.label == IGNORE).any()
