"""ChangeStar 1x96 that tells any change, of whatever: the small detector with a change head that asks for no class.

Source: Changen2 (Zheng et al., TPAMI 2024), the class-agnostic setting (S0): what it learned serves kinds of change
that nobody named, above all as a start for fine-tuning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from changen2.models.changestar_landcover import CLASSES, ChangeStarLandCover, fuse_classes
from changen2.models.detection import Detection


class ChangeStarAnything(ChangeStarLandCover):
    """Where anything changed, and the land cover of both dates, which may be the same: a roof that was renewed."""

    def fused(self, change: Tensor, semantic_before: Tensor, semantic_after: Tensor) -> Detection:
        """Probabilities from logits, see :func:`fuse_classes`; but the change head alone says what is change."""
        change = change[:, :1]
        classes = fuse_classes(change, semantic_before, semantic_after)
        return Detection({**classes, "change": change.sigmoid()})

    def ask_of_classes(self) -> None:
        """For a training: the change head also tells, in ``CLASSES`` more channels, what was or became of each class.

        So what it makes of both dates keeps track of what it is that changed.
        """
        known = self.change.classify
        wider = nn.Conv2d(known.in_channels, 1 + CLASSES, 1)
        with torch.no_grad():
            wider.get_parameter("weight").mul_(0.1)[:1] = known.get_parameter("weight")
            nn.init.constant_(wider.get_parameter("bias"), -3.0)[:1] = known.get_parameter("bias")
        self.change.classify = wider

    def ask_of_change_alone(self) -> None:
        """After it: give up these channels."""
        wider = self.change.classify
        self.change.classify = nn.Conv2d(wider.in_channels, 1, 1)
        self.change.classify.load_state_dict({key: value[:1] for key, value in wider.state_dict().items()})
