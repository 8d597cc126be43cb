"""EfficientNet-Lite, an image encoder that is light on a processor without accelerator.

Source: Tan and Le, "EfficientNet" (ICML 2019), in its Lite edition: no squeeze-and-excitation, ReLU6 throughout,
stem of fixed width. Modules carry the parameter names of the published checkpoints, so these load unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH_NORM_EPS = 1e-3  # the published networks' value; PyTorch's own default would shift every feature


@dataclass(frozen=True)
class Stage:
    """A run of equal blocks; only the first one strides and changes the width."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
DEPTHS = {"lite0": 1.0, "lite1": 1.1, "lite2": 1.2}
WIDTHS = {"lite0": 1.0, "lite1": 1.0, "lite2": 1.1}
FEATURE_STAGES = (1, 2, 4, 6)  # the last stages at strides 4, 8, 16 and 32


def _scaled_width(width: int, factor: float) -> int:
    """The width times ``factor``, rounded to a multiple of 8 and never below 90 % of it."""
    rounded = max(8, int(width * factor + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width * factor else rounded + 8


class SameConv2d(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow does: evenly at stride 1, more at the end at stride 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        symmetric = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, symmetric, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, inputs, h, w]`` to ``[b, outputs, ceil(h / stride), ceil(w / stride)]``."""
        if self.stride[0] == 1:
            return super().forward(x)
        pads = []
        for size, kernel in ((x.shape[3], self.kernel_size[1]), (x.shape[2], self.kernel_size[0])):
            total = max((math.ceil(size / self.stride[0]) - 1) * self.stride[0] + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def _clipped(x: Tensor) -> Tensor:
    """ReLU6 in place: what a batch norm returned is needed no more, not even by its gradient."""
    return F.relu6(x, inplace=True)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project: the mobile block of EfficientNet (section 4), without its gate."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expands = expansion > 1
        self.residual = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = SameConv2d(inputs, hidden, 1)
            self._bn0 = nn.BatchNorm2d(hidden, eps=BATCH_NORM_EPS)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=BATCH_NORM_EPS)
        self._project_conv = SameConv2d(hidden, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, inputs, h, w]`` to ``[b, outputs, h / stride, w / stride]``."""
        y = _clipped(self._bn0(self._expand_conv(x))) if self.expands else x
        y = _clipped(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """The encoder: features at strides 4, 8, 16 and 32, without the classifier.

    Attributes:
        widths: channels of the four feature maps, finest first.
    """

    def __init__(self, size: str = "lite0") -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=BATCH_NORM_EPS)
        blocks: list[nn.Module] = []
        self.feature_blocks: list[int] = []
        self.widths: list[int] = []
        inputs = 32
        for index, stage in enumerate(STAGES):
            width = _scaled_width(stage.width, WIDTHS[size])
            # The Lite editions deepen neither the first nor the last stage.
            fixed = index in (0, len(STAGES) - 1)
            repeats = stage.blocks if fixed else math.ceil(stage.blocks * DEPTHS[size])
            for repeat in range(repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(inputs, width, stage.kernel, stride, stage.expansion))
                inputs = width
            if index in FEATURE_STAGES:
                self.feature_blocks.append(len(blocks) - 1)
                self.widths.append(width)
        self._blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of images in -1..1.

        Args:
            x: ``[b, 3, h, w]`` with h and w multiples of 32.

        Returns:
            Four maps ``[b, widths[i], h / s, w / s]`` for s = 4, 8, 16, 32.
        """
        # bfloat16 has eight bits, as many as the image: what comes first stays in float32, which costs next to nothing
        # and halves what half precision changes in the end.
        with torch.autocast(x.device.type, enabled=False):
            x = self._blocks[0](_clipped(self._bn0(self._conv_stem(x.float()))))
        features = []
        for index, block in enumerate(self._blocks):
            x = block(x) if index else x
            if index in self.feature_blocks:
                features.append(x)
        return features
