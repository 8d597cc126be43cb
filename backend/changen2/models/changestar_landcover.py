"""ChangeStar 1x96 that tells land cover: the small detector with a head of classes, on the same frozen encoder.

Source: Changen2 (Zheng et al., TPAMI 2024) for the pairing of a class-agnostic change head with class maps of both
dates, from which from and to are read.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.models.detection import Detection

CLASSES = 5  # water, land, road, building, vegetation


class ChangeStarLandCover(ChangeStarTiny):
    """Land cover of two dates, and where it changed.

    ``semantic_before`` and ``semantic_after`` are ``[b, 6, h, w]``, each summing to 1 over the channels: the numbers of
    classes are those of label maps, where 0 is what nobody labelled; the model never says 0.

    Args:
        encoder: size of the encoder, ``lite0`` to ``lite2``.
        dim: channels of the decoder.
    """

    def __init__(self, encoder: str = "lite0", dim: int = 96) -> None:
        super().__init__(encoder, dim)
        self.semantic = nn.Conv2d(dim, CLASSES, 1)

    def fused(self, change: Tensor, semantic_before: Tensor, semantic_after: Tensor) -> Detection:
        """Probabilities from logits, see :func:`fuse_classes`."""
        return fuse_classes(change, semantic_before, semantic_after)


def fuse_classes(change: Tensor, semantic_before: Tensor, semantic_after: Tensor) -> Detection:
    """Probabilities from logits: ``[b, 1, h, w]`` of change, ``[b, 5, h, w]`` of both dates' classes.

    It is change where the change head says so and the dates are hardly of the same class: the root of the product of
    both probabilities, as in :func:`changen2.models.changestar_tiny.fuse`.
    """
    first, second = semantic_before.softmax(dim=1), semantic_after.softmax(dim=1)
    differs = 1 - (first * second).sum(dim=1, keepdim=True)
    return Detection(
        change=(change.sigmoid() * differs).clamp(min=1e-8).sqrt(),  # the root of 0 has no gradient
        semantic_before=F.pad(first, (0, 0, 0, 0, 1, 0)),
        semantic_after=F.pad(second, (0, 0, 0, 0, 1, 0)),
    )


def changestar_landcover() -> ChangeStarLandCover:
    """The embedded land-cover detector's architecture."""
    return ChangeStarLandCover(encoder="lite0", dim=96)


def without_encoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a model that are its own where the encoder is another's."""
    return {key: value for key, value in state.items() if not key.startswith("encoder.")}
