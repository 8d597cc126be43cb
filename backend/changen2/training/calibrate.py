"""Make 0.5 the natural threshold: a bias on the change logits, found on held-out pairs and folded into the weights.

On places unlike those it was trained on, a detector is less sure of itself; its ranking of pixels is right at a lower
probability. The bias moves that probability to 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from changen2.models.changestar_tiny import ChangeStarTiny, fuse
from changen2.models.detection import Detection
from changen2.training.measure import count, f1, to_input
from changen2.training.pairs import Pair

Fuse = Callable[[Tensor, Tensor, Tensor], Detection]

MARGIN = 0.005
BIASES = np.arange(-2.0, 3.01, 0.25)


@torch.inference_mode()
def best_bias(model: ChangeStarTiny, pairs: Sequence[Pair], fuse: Fuse = fuse) -> float:
    """The least bias with which the pooled F1 at 0.5 on held-out pairs is within ``MARGIN`` of its maximum.

    The maximum is flat, and of equals the one with fewer false alarms is wanted. Pairs are multiples of 64 in size;
    ``fuse`` makes the model's probabilities of its logits.
    """
    counts: dict[float, list[list[float]]] = {float(bias): [] for bias in BIASES}
    for pair in pairs:
        change, before, after = model.eval().mean_logits(to_input(pair.before.image), to_input(pair.after.image))
        for bias, rows in counts.items():
            probability = fuse(change + bias, before, after).change[0, 0].numpy()
            rows.append(count(probability, pair.change))
    scores = {bias: f1(np.array(rows)) for bias, rows in counts.items()}
    best = max(scores.values())
    return min(bias for bias, score in scores.items() if score >= best - MARGIN)


def shift_bias(model: ChangeStarTiny, extra: float) -> None:
    """Fold a bias into the change head, in place."""
    with torch.no_grad():
        model.change.classify.get_parameter("bias").add_(extra)
