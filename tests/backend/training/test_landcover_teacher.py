"""The land-cover teacher: it tells only what was unknown, and only what it is sure of."""

import numpy as np
import torch
from torch import nn

from changen2.scenes.classes import BUILDING, LAND, WATER
from changen2.training.landcover import NOT_BUILDING
from changen2.training.landcover_teacher import class_probability, fill_unknown
from changen2.training.places import IGNORE, Place


class Shades(nn.Module):
    """Dark is water, bright is building, in between it is not sure."""

    def semantic_logits(self, images: torch.Tensor) -> torch.Tensor:
        shade = images.mean(dim=1, keepdim=True)
        zero = torch.zeros_like(shade) - 9
        return torch.cat([-8 * shade, zero, zero, 8 * shade, zero], dim=1)


def _place(label: int) -> Place:
    image = np.full((48, 96, 3), 117, np.uint8)
    image[:, :32], image[:, 64:] = 10, 245
    return Place("x", "x", image, np.full((48, 96), label, np.uint8), 0.5)


def test_probabilities_come_at_the_size_of_the_place() -> None:
    probability = class_probability(Shades(), _place(IGNORE))
    assert probability.shape == (5, 48, 96)
    np.testing.assert_allclose(probability.sum(axis=0), 1, atol=1e-5)


def test_the_unknown_is_told_where_it_is_sure() -> None:
    label = fill_unknown(Shades(), [_place(IGNORE)])[0].label
    assert (label[:, :28] == WATER).all() and (label[:, 68:] == BUILDING).all()
    assert (label[:, 40:56] == IGNORE).all()


def test_what_is_no_building_becomes_none_and_what_is_known_stays() -> None:
    label = fill_unknown(Shades(), [_place(NOT_BUILDING)])[0].label
    assert (label[:, :28] == WATER).all() and (label != BUILDING).all()
    assert (fill_unknown(Shades(), [_place(LAND)])[0].label == LAND).all()
