"""Losses of the detector: plain cross-entropy, only where the label is known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from changen2.training.distributed import shared_count


def masked_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean binary cross-entropy over known pixels; 0 where none is known. All ``[b, 1, h, w]``."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * known).sum() / shared_count(known)


def fused_cross_entropy(
    change: Tensor, semantic_before: Tensor, semantic_after: Tensor, target: Tensor, known: Tensor
) -> Tensor:
    """The same on the final probability ``sqrt(p · max(p1 (1 - p2), p2 (1 - p1)))``, from the three logits.

    Worked out in logarithms, which stay finite where probabilities do not.
    """
    appeared = F.logsigmoid(semantic_after) + F.logsigmoid(-semantic_before)
    vanished = F.logsigmoid(semantic_before) + F.logsigmoid(-semantic_after)
    log_p = 0.5 * (F.logsigmoid(change) + torch.maximum(appeared, vanished))
    log_not_p = torch.log(-torch.expm1(log_p.clamp(max=-1e-4)))
    loss = -(target * log_p + (1 - target) * log_not_p)
    return (loss * known).sum() / shared_count(known)


def masked_log_loss(probability: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """:func:`masked_cross_entropy` of a model that gives probabilities; all ``[b, 1, h, w]``."""
    with torch.autocast(probability.device.type, enabled=False):
        sure = probability.float().clamp(1e-6, 1 - 1e-6)
        loss = F.binary_cross_entropy(sure, target, reduction="none")
    return (loss * known).sum() / shared_count(known)
