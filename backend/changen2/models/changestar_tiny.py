"""ChangeStar 1x96 on EfficientNet-Lite: the small change detector that travels with the package.

Source: Changen2 (Zheng et al., TPAMI 2024) and ChangeStar (Zheng et al., ICCV 2021) for the idea of a temporally
symmetric change head beside a semantic head that both dates share; Lin et al., CVPR 2017 for the pyramid.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from changen2.models.detection import IMAGENET_MEAN, IMAGENET_STD, Detection, normalize
from changen2.models.efficientnet_lite import EfficientNetLite

STRIDE = 64  # the encoder's 32, of the half-size image


def _conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class PyramidDecoder(nn.Module):
    """Feature pyramid whose levels meet at stride 4, where one convolution settles them.

    It takes the encoder's view of the image and of the image at half size: a frozen encoder knows houses of the
    size of things in photographs, and a hall only fits that from twice as far.
    """

    def __init__(self, widths: list[int], dim: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, dim, 1) for width in widths)
        self.far_laterals = nn.ModuleList(nn.Conv2d(width, dim, 1, bias=False) for width in widths)
        # The finest level goes straight to ``settle``: a convolution of its own would cost as much as all others.
        self.smooths = nn.ModuleList(_conv_norm(dim, dim) for _ in widths[1:])
        self.settle = _conv_norm(dim, dim)

    def forward(self, near: list[Tensor], far: list[Tensor]) -> Tensor:
        """Maps at strides 4, 8, 16, 32 and at 8, 16, 32, 64 to ``[b, dim, h / 4, w / 4]``."""
        levels = [lateral(feature) for lateral, feature in zip(self.laterals, near, strict=True)]
        far_levels = [lateral(feature) for lateral, feature in zip(self.far_laterals, far, strict=True)]
        for index, level in enumerate(far_levels[:-1], start=1):
            levels[index] = levels[index] + level
        levels[-1] = levels[-1] + F.interpolate(far_levels[-1], scale_factor=2, mode="nearest")
        for fine in range(len(levels) - 2, -1, -1):
            levels[fine] = levels[fine] + F.interpolate(levels[fine + 1], scale_factor=2, mode="nearest")
        total = levels[0]
        for level, smooth in zip(levels[1:], self.smooths, strict=True):
            total = total + F.interpolate(smooth(level), size=total.shape[2:], mode="bilinear", align_corners=False)
        return self.settle(total / len(levels))


class SymmetricChangeHead(nn.Module):
    """Change logits that do not depend on which date is called the first."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # The halves of one convolution over both dates' channels, kept apart so that each date is filtered once.
        self.own = nn.Conv2d(dim, dim, 1, bias=False)
        self.other = nn.Conv2d(dim, dim, 1, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.settle = _conv_norm(dim, dim)
        self.classify = nn.Conv2d(dim, 1, 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Two ``[b, dim, h, w]`` to logits ``[b, 1, h, w]``."""
        own_before, own_after = self.own(before), self.own(after)
        other_before, other_after = self.other(before), self.other(after)
        forward = F.relu(self.norm(own_before + other_after))
        backward = F.relu(self.norm(own_after + other_before))
        return self.classify(self.settle(forward + backward))


class ChangeStarTiny(nn.Module):
    """Buildings that came or went between two dates, and the buildings of each date.

    Args:
        encoder: size of the encoder, ``lite0`` to ``lite2``.
        dim: channels of the decoder.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, encoder: str = "lite0", dim: int = 96) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(encoder)
        self.decoder = PyramidDecoder(self.encoder.widths, dim)
        self.change = SymmetricChangeHead(dim)
        self.semantic = nn.Conv2d(dim, 1, 1)
        # From the project's normalization to the -1..1 that the encoder was trained on.
        scale = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 2
        offset = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 2 - 1
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Decoded features ``[b, dim, h / 4, w / 4]`` of normalized images, h and w multiples of 64."""
        images = images * self.scale + self.offset
        return self.decoder(self.encoder(images), self.encoder(F.avg_pool2d(images, 2)))

    def semantic_logits(self, images: Tensor) -> Tensor:
        """Building logits ``[b, 1, h, w]`` of single dates, h and w multiples of 64."""
        semantic = self.semantic(self.features(images))
        return F.interpolate(semantic.float(), size=images.shape[2:], mode="bilinear", align_corners=False)

    def logits(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Change and both dates' building logits, ``[b, 1, h, w]`` each, for h and w multiples of 64."""
        size = before.shape[2:]
        if self.training:  # batch norms measure both dates together
            first, second = self.features(torch.cat([before, after])).chunk(2)
        else:  # one after the other, in half the memory
            first, second = self.features(before), self.features(after)
        change, semantic_before, semantic_after = (
            F.interpolate(x.float(), size=size, mode="bilinear", align_corners=False)
            for x in (self.change(first, second), self.semantic(first), self.semantic(second))
        )
        return change, semantic_before, semantic_after

    def forward(self, before: Tensor, after: Tensor) -> Detection:
        """Detect change.

        Args:
            before: ``[b, 3, h, w]``, normalized as by :func:`changen2.models.detection.normalize`; any h and w.
            after: the same ground at the second date, same shape.

        Returns:
            ``change``, ``semantic_before`` and ``semantic_after``, each ``[b, 1, h, w]`` in 0..1. The order of
            the dates does not matter to ``change``.
        """
        height, width = before.shape[2:]
        before, after = pad_to_stride(before), pad_to_stride(after)
        # A model in training is shown pairs mirrored at random: seeing both views of each would take twice the time.
        detection = self.fused(*(self.logits if self.training else self.mean_logits)(before, after))
        return Detection({key: value[..., :height, :width] for key, value in detection.items()})

    def fused(self, change: Tensor, semantic_before: Tensor, semantic_after: Tensor) -> Detection:
        """Probabilities from what :meth:`logits` tells, see :func:`fuse`."""
        return fuse(change, semantic_before, semantic_after)

    def mean_logits(self, before: Tensor, after: Tensor) -> tuple[Tensor, ...]:
        """:meth:`logits`, averaged over the pair as it is and the pair mirrored.

        A mirrored town is a town as well; seeing both takes twice the time and is right a little more often.
        """
        seen = self.logits(before, after)
        mirrored = self.logits(before.flip(3), after.flip(3))
        return tuple((x + y.flip(3)) / 2 for x, y in zip(seen, mirrored, strict=True))


def fuse(change: Tensor, semantic_before: Tensor, semantic_after: Tensor) -> Detection:
    """Probabilities from the three logits, ``[b, 1, h, w]`` each.

    The change head sees what differs, the semantic head what it is: only where both agree is it change. The score is
    the root of their product, so that it stays a probability where they do agree.
    """
    change, semantic_before, semantic_after = (x.sigmoid() for x in (change, semantic_before, semantic_after))
    appeared = semantic_after * (1 - semantic_before)
    vanished = semantic_before * (1 - semantic_after)
    return Detection(
        change=(change * torch.maximum(appeared, vanished)).sqrt(),
        semantic_before=semantic_before,
        semantic_after=semantic_after,
    )


@torch.inference_mode()
def building_map(model: ChangeStarTiny, picture: NDArray[np.floating | np.uint8]) -> NDArray[np.float32]:
    """Probability of building ``[h, w]`` in a picture ``[3, h, w]``, 0..255; any h and w."""
    images = pad_to_stride(normalize(torch.from_numpy(np.ascontiguousarray(picture))[None]))
    logits = model.eval().semantic_logits(images.contiguous(memory_format=torch.channels_last))[0, 0]
    return logits.sigmoid()[: picture.shape[1], : picture.shape[2]].numpy()


def pad_to_stride(images: Tensor) -> Tensor:
    """Pad ``[b, c, h, w]`` at the right and the bottom to multiples of 64, mirrored as often as it takes."""
    height, width = images.shape[2:]
    for dim, size in ((2, height), (3, width)):
        missing = -size % STRIDE
        if missing:
            images = images.index_select(dim, _mirrored(size, size + missing).to(images.device))
    return images


def _mirrored(size: int, padded: int) -> Tensor:
    """Indices 0..size-1 continued to ``padded`` by reflection that does not repeat the edge."""
    period = max(2 * (size - 1), 1)
    index = torch.arange(padded) % period
    return torch.where(index < size, index, period - index)


def changestar_tiny() -> ChangeStarTiny:
    """The embedded detector's architecture."""
    return ChangeStarTiny(encoder="lite0", dim=96)
