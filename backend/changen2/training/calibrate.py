"""Make 0.5 the natural threshold: a bias on the change logits, found on held-out pairs and folded into the weights.

On places unlike those it was trained on, a detector is less sure of itself; its ranking of pixels is right at another
probability. There are two ways to say what 0.5 ought to be: half of the pixels at 0.5 did change (``honest_bias``), or
no other threshold finds more with as few mistakes (``best_bias``). The first makes a probability that can be believed,
the second the highest F1, mostly by more false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from changen2.models.changestar_tiny import ChangeStarTiny, fuse
from changen2.models.detection import Detection
from changen2.training.measure import count, f1, to_input
from changen2.training.pairs import Pair
from changen2.training.places import BUILDING, IGNORE

Fuse = Callable[[Tensor, Tensor, Tensor], Detection]

MARGIN = 0.005
BIASES = np.arange(-2.0, 3.01, 0.25)


@torch.inference_mode()
def honest_bias(model: ChangeStarTiny, pairs: Sequence[Pair], fuse: Fuse = fuse) -> float:
    """The bias with the least cross-entropy on held-out pairs; arguments as of :func:`best_bias`."""
    losses = dict.fromkeys((float(bias) for bias in BIASES), 0.0)
    for pair in pairs:
        logits = model.eval().mean_logits(to_input(pair.before.image), to_input(pair.after.image))
        known = torch.from_numpy(pair.change != IGNORE)
        changed = torch.from_numpy(pair.change == BUILDING)[known].double()
        for bias in losses:
            probability = fuse(logits[0] + bias, *logits[1:]).change[0, 0][known].double()
            sure = probability.clamp(1e-6, 1 - 1e-6)
            losses[bias] += float(F.binary_cross_entropy(sure, changed, reduction="sum"))
    return min(losses, key=lambda bias: losses[bias])


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
