"""Make 0.5 the natural threshold: a bias on the change logits, found on held-out pairs and folded into the weights.

On places unlike those it was trained on, a detector is less sure of itself; its ranking of pixels is right at a lower
probability. The bias moves that probability to 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.training.measure import count, detect, f1
from changen2.training.pairs import Pair

BIASES = np.arange(-1.0, 3.01, 0.25)


def best_bias(model: ChangeStarTiny, pairs: Sequence[Pair]) -> float:
    """The bias that gives the pooled F1 at 0.5 its maximum on held-out pairs; the model is left as it was."""
    bias = model.change.classify.get_parameter("bias")
    begun = bias.detach().clone()
    scores = []
    with torch.no_grad():
        for extra in BIASES:
            bias.copy_(begun + float(extra))
            counts = [count(detect(model, pair.before, pair.after)["change"], pair.change) for pair in pairs]
            scores.append(f1(np.array(counts)))
        bias.copy_(begun)
    return float(BIASES[int(np.argmax(scores))])


def shift_bias(model: ChangeStarTiny, extra: float) -> None:
    """Fold a bias into the change head, in place."""
    with torch.no_grad():
        model.change.classify.get_parameter("bias").add_(extra)
