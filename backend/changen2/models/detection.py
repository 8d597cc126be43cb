"""What every change detector returns, and how imagery is normalized for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Detection(dict[str, Tensor]):
    """Probabilities of one batch of pairs, by key or by attribute.

    Keys:
        change: ``[b, 1, h, w]`` in 0..1, or ``[b, classes, h, w]`` summing to 1.
        semantic_before, semantic_after: ``[b, 1, h, w]`` (one class: sigmoid) or ``[b, classes, h, w]`` (softmax).
    """

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError as error:
            raise AttributeError(key) from error


def normalize(rgb: Tensor) -> Tensor:
    """Turn RGB in 0..255 into what the encoders were trained on (ImageNet mean and standard deviation).

    Args:
        rgb: ``[b, 3, h, w]``, any real dtype, 0..255.

    Returns:
        ``[b, 3, h, w]`` float32.
    """
    mean = torch.tensor(IMAGENET_MEAN, device=rgb.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=rgb.device).view(1, 3, 1, 1) * 255
    return (rgb.float() - mean) / std
