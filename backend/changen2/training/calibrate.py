"""Make 0.5 the natural threshold: a bias on the change logits, found on held-out pairs and folded into the weights.

On places unlike those it was trained on, a detector is less sure of itself; its ranking of pixels is right at another
probability. There are two ways to say what 0.5 ought to be: half of the pixels at 0.5 did change (``honest_bias``), or
no other threshold finds more with as few mistakes (``best_bias``). The first makes a probability that can be believed,
the second the highest F1, mostly by more false alarms.

``python -m changen2.training.calibrate WEIGHTS --config FILE`` prints what a detector's card says of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.raster.calibration import TOP, calibration, tally
from changen2.training.config import load_config
from changen2.training.export import load_exported
from changen2.training.measure import count, detect, f1, to_input
from changen2.training.pairs import Pair
from changen2.training.places import BUILDING, IGNORE

MARGIN = 0.005
BIASES = np.arange(-2.0, 3.01, 0.25)


@torch.inference_mode()
def honest_bias(model: ChangeStarTiny, pairs: Sequence[Pair]) -> float:
    """The bias with the least cross-entropy on held-out pairs, multiples of 64 in size."""
    losses = dict.fromkeys((float(bias) for bias in BIASES), 0.0)
    for pair in pairs:
        logits = model.eval().mean_logits(to_input(pair.before.image), to_input(pair.after.image))
        known = torch.from_numpy(pair.change != IGNORE)
        changed = torch.from_numpy(pair.change == BUILDING)[known].double()
        for bias in losses:
            probability = model.fused(logits[0] + bias, *logits[1:]).change[0, 0][known].double()
            sure = probability.clamp(1e-6, 1 - 1e-6)
            losses[bias] += float(F.binary_cross_entropy(sure, changed, reduction="sum"))
    return min(losses, key=lambda bias: losses[bias])


@torch.inference_mode()
def best_bias(model: ChangeStarTiny, pairs: Sequence[Pair]) -> float:
    """The least bias with which the pooled F1 at 0.5 on held-out pairs is within ``MARGIN`` of its maximum.

    The maximum is flat, and of equals the one with fewer false alarms is wanted. Pairs are multiples of 64 in size.
    """
    counts: dict[float, list[list[float]]] = {float(bias): [] for bias in BIASES}
    for pair in pairs:
        change, before, after = model.eval().mean_logits(to_input(pair.before.image), to_input(pair.after.image))
        for bias, rows in counts.items():
            probability = model.fused(change + bias, before, after).change[0, 0].numpy()
            rows.append(count(probability, pair.change))
    scores = {bias: f1(np.array(rows)) for bias, rows in counts.items()}
    best = max(scores.values())
    return min(bias for bias, score in scores.items() if score >= best - MARGIN)


def shift_bias(model: ChangeStarTiny, extra: float) -> None:
    """Fold a bias into the change head, in place."""
    with torch.no_grad():
        model.change.classify.get_parameter("bias").add_(extra)


def measure_calibration(model: nn.Module, pairs: Sequence[Pair]) -> dict[str, Any]:
    """How reliable probabilities are on held-out pairs, for a card; 0.5 stays 0.5 when they are scaled."""
    counts = np.zeros((TOP + 1, 2))
    for pair in pairs:
        probability = detect(model, pair.before, pair.after)["change"]
        counts += tally(probability, pair.change == BUILDING, pair.change != IGNORE)
    return calibration(counts, keep_half=True)


def main() -> None:
    """Print the calibration of exported weights on pairs of what their training held out."""
    from changen2.training.held_out import held_out_pairs
    from changen2.training.loop import read_imagery

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=192)
    given = parser.parse_args()
    # What is unknown stays out: the detector's own word on it would prove it right.
    config = load_config(given.config).model_copy(update={"held_out_pairs": given.pairs, "teacher": None})
    pairs = held_out_pairs(read_imagery(config), config)
    print(json.dumps(measure_calibration(load_exported(given.weights, config), pairs), indent=2))


if __name__ == "__main__":
    main()
