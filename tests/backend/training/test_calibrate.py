"""Calibration: the bias brings the best threshold to 0.5."""

import numpy as np
import torch

from changen2.models.changestar_tiny import ChangeStarTiny, fuse
from changen2.training.calibrate import best_bias, honest_bias, shift_bias
from changen2.training.crops import Crop
from changen2.training.pairs import Pair
from changen2.training.places import IGNORE


class _Painted(torch.nn.Module):
    """Stands in for the detector: its logits are the pictures' first channels."""

    fused = staticmethod(fuse)

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def mean_logits(self, before: torch.Tensor, after: torch.Tensor) -> tuple[torch.Tensor, ...]:
        changed = (after[:, :1] > before[:, :1]).float()
        return changed * 2 - 1 + self.offset, torch.full_like(changed, -9.0), torch.full_like(changed, 9.0)


def _pair() -> Pair:
    label = np.zeros((8, 8), np.uint8)
    label[2:5, 2:5] = 1
    before = np.zeros((8, 8, 3), np.float32)
    return Pair(Crop(before, label * 0), Crop(before + label[..., None] * 200.0, label), label)


def test_a_shy_detector_is_encouraged_and_a_bold_one_held_back() -> None:
    # The score is a root: 0.5 is passed where the change head says a quarter, a logit of -1.1.
    for offset in (-3.0, 1.5):
        bias = best_bias(_Painted(offset), [_pair()])
        assert 1 + offset + bias > -1.1 > -1 + offset + bias


def test_an_honest_bias_makes_a_probability_that_comes_true() -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(6):  # of what looks changed a half did change; of the rest nothing is known
        pair = _pair()
        pairs.append(Pair(pair.before, pair.after, np.where(pair.change == 1, rng.random((8, 8)) < 0.5, IGNORE)))
    model = _Painted(-0.5)
    bias = honest_bias(model, pairs)
    logits = torch.sigmoid(torch.tensor(1 - 0.5 + bias)).sqrt()
    share = np.mean([pair.change[2:5, 2:5].mean() for pair in pairs])
    assert abs(float(logits) - share) < 0.1
    assert honest_bias(_Painted(-0.5 + bias), pairs) == 0  # what is honest is left alone


def test_the_bias_is_folded_into_the_head() -> None:
    torch.manual_seed(0)
    model = ChangeStarTiny().eval()
    images = torch.randn(2, 1, 3, 64, 64)
    with torch.no_grad():
        before = model.logits(*images)[0]
        shift_bias(model, 0.75)
        torch.testing.assert_close(model.logits(*images)[0], before + 0.75, rtol=1e-4, atol=1e-4)
