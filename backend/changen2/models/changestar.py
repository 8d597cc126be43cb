"""The published ChangeStar 1×256 (Changen2, TPAMI 2024): what changed between two images, and what they show.

Both dates go through one encoder (SAM's ViT), a simple feature pyramid (Li et al. 2022), an FPN, the
foreground-scene relation of FarSeg (Zheng et al. 2020) and a decoder at stride 4. A temporally symmetric head sees
both orders of the dates. Parameter names are the published ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.models.detection import Detection
from changen2.models.sam_vit import NECK, LayerNorm2d, SamViT, ViTConfig
from changen2.models.windows import pad_to_multiple

STRIDE = 32  # of the coarsest level: heights and widths are padded to its multiples
LEVELS = 4  # strides 4, 8, 16, 32
CHANNELS = 256


def conv_norm(inputs: int, kernel: int, *, bias: bool = False) -> list[nn.Module]:
    """A convolution to 256 channels at the same size, and its norm."""
    return [nn.Conv2d(inputs, CHANNELS, kernel, padding=kernel // 2, bias=bias), LayerNorm2d(CHANNELS)]


class SimplePyramid(nn.Module):
    """Four levels out of the one map of a plain ViT: ``[b, 256, h, w]`` at stride 16 → strides 4, 8, 16, 32."""

    def __init__(self) -> None:
        super().__init__()

        def level(inputs: int, *resize: nn.Module) -> nn.Sequential:
            return nn.Sequential(*resize, nn.Sequential(*conv_norm(inputs, 1)), nn.Sequential(*conv_norm(CHANNELS, 1)))

        self.simfp_2 = level(
            NECK // 4,
            nn.ConvTranspose2d(NECK, NECK // 2, 2, 2),
            LayerNorm2d(NECK // 2),
            nn.GELU(),
            nn.ConvTranspose2d(NECK // 2, NECK // 4, 2, 2),
        )
        self.simfp_3 = level(NECK // 2, nn.ConvTranspose2d(NECK, NECK // 2, 2, 2))
        self.simfp_4 = level(NECK)
        self.simfp_5 = level(NECK, nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map at stride 16 to maps ``[b, 256, h, w]`` at strides 4, 8, 16, 32."""
        return [self.simfp_2(x), self.simfp_3(x), self.simfp_4(x), self.simfp_5(x)]


class FPN(nn.Module):
    """Top-down pathway: 1×1 laterals, nearest ×2, 3×3 out. Finest level first."""

    def __init__(self) -> None:
        super().__init__()
        for i in range(1, LEVELS + 1):
            self.add_module(f"fpn_inner{i}", nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)))
            self.add_module(f"fpn_layer{i}", nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Maps ``[b, 256, h, w]``, finest first, to maps of the same sizes."""
        outs: list[Tensor] = []
        above: Tensor | None = None
        for i in range(LEVELS, 0, -1):
            inner = self.get_submodule(f"fpn_inner{i}")(levels[i - 1])
            if above is not None:
                inner = inner + F.interpolate(above, scale_factor=2, mode="nearest")
            outs.insert(0, self.get_submodule(f"fpn_layer{i}")(inner))
            above = inner
        return outs


class SceneRelation(nn.Module):
    """Stress, at each level, what is akin to the scene as a whole."""

    def __init__(self) -> None:
        super().__init__()

        def encoder(inputs: int, *, times: int = 1, bias: bool = True) -> nn.Sequential:
            return nn.Sequential(*(m for _ in range(times) for m in (*conv_norm(inputs, 1, bias=bias), nn.GELU())))

        self.scene_encoder = nn.ModuleList(encoder(CHANNELS, times=2) for _ in range(LEVELS))
        self.content_encoders = nn.ModuleList(encoder(CHANNELS) for _ in range(LEVELS))
        self.feature_reencoders = nn.ModuleList(encoder(CHANNELS) for _ in range(LEVELS))
        self.project = nn.ModuleList(encoder(2 * CHANNELS, bias=False) for _ in range(LEVELS))

    def forward(self, scene: Tensor, levels: list[Tensor]) -> list[Tensor]:
        """Relate maps to their scene.

        Args:
            scene: ``[b, 256, 1, 1]``.
            levels: maps ``[b, 256, h, w]``, finest first.

        Returns:
            Maps of the same sizes.
        """
        outs = []
        for i, x in enumerate(levels):
            content = self.content_encoders[i](x)
            relation = (self.scene_encoder[i](scene) * content).sum(dim=1, keepdim=True).sigmoid()
            outs.append(self.project[i](torch.cat([relation * self.feature_reencoders[i](x), x], dim=1)))
        return outs


class Decoder(nn.Module):
    """Bring all levels to stride 4 and average them."""

    def __init__(self) -> None:
        super().__init__()

        def stage(*, upsample: bool) -> nn.Sequential:
            resize = [nn.UpsamplingBilinear2d(scale_factor=2)] if upsample else []  # aligns corners
            return nn.Sequential(*conv_norm(CHANNELS, 3), nn.GELU(), *resize)

        self.blocks = nn.ModuleList(
            nn.Sequential(*(stage(upsample=level > 0) for _ in range(max(1, level)))) for level in range(LEVELS)
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps ``[b, 256, h, w]`` at strides 4, 8, 16, 32 to one at stride 4."""
        total = self.blocks[0](levels[0])
        for block, x in zip(self.blocks[1:], levels[1:], strict=True):
            total = total + block(x)
        return total / LEVELS


class FarSeg(nn.Module):
    """FPN, scene relation and decoder: four levels of the pyramid → ``[b, 256, h, w]`` at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.fpn = FPN()
        self.fsr = SceneRelation()
        self.dec = Decoder()

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps at strides 4, 8, 16, 32 to one ``[b, 256, h, w]`` at stride 4."""
        scene = levels[-1].mean(dim=(2, 3), keepdim=True)
        return self.dec(self.fsr(scene, self.fpn(levels)))


class Encoder(nn.Module):
    """One image ``[b, 3, h, w]`` to its features ``[b, 256, h/4, w/4]``."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.vit = SamViT(config)
        self.sfp = SimplePyramid()
        self.farseg = FarSeg()

    def forward(self, x: Tensor) -> Tensor:
        """``[b, 3, h, w]`` to ``[b, 256, h/4, w/4]``; h and w multiples of 32."""
        return self.farseg(self.sfp(self.vit(x)))


class Head(nn.Module):
    """Change from both orders of the dates, semantics from each date alone; logits at stride 4."""

    def __init__(self, semantic_classes: int, change_classes: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*conv_norm(2 * CHANNELS, 3), nn.GELU())
        self.change_conv = nn.Sequential(nn.Conv2d(CHANNELS, change_classes, 1))
        self.semantic_conv = nn.Sequential(nn.Conv2d(CHANNELS, semantic_classes, 1))

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Two ``[b, 256, h, w]`` to the logits of change, and of what either date shows."""
        change = self.conv(torch.cat([before, after], dim=1)) + self.conv(torch.cat([after, before], dim=1))
        return self.change_conv(change), self.semantic_conv(before), self.semantic_conv(after)


def probabilities(logits: Tensor, height: int, width: int) -> Tensor:
    """Logits at stride 4 to probabilities at stride 1, cropped to `height` × `width`."""
    logits = F.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=True)
    logits = logits[..., :height, :width]
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


class ChangeStar(nn.Module):
    """The published bitemporal detector.

    Args:
        config: size of the encoder.
        semantic_classes: 1 (buildings) or 9 (land cover).
        change_classes: 1 (changed), or more for kinds of change, such as 5 grades of damage.

    Attributes:
        training_start: True for weights that were only pre-trained; these do not detect before they are trained.
    """

    def __init__(self, config: ViTConfig, semantic_classes: int = 1, change_classes: int = 1) -> None:
        super().__init__()
        self.training_start = False
        self.encoder = Encoder(config)
        self.head = Head(semantic_classes, change_classes)

    def forward(self, before: Tensor, after: Tensor) -> Detection:
        """Detect change.

        Args:
            before: ``[b, 3, h, w]`` from `normalize`; any size (padded to multiples of 32, cropped).
            after: the same.

        Returns:
            Probabilities ``[b, classes, h, w]``, float32.

        Raises:
            InputError: if the dates differ in shape, or the weights are only a start for training.
        """
        if before.shape != after.shape or before.ndim != 4 or before.shape[1] != 3:
            raise InputError(
                f"The dates are {tuple(before.shape)} and {tuple(after.shape)}; both must be (batch, 3, h, w)."
            )
        if self.training_start and not self.training:
            raise InputError(
                "These weights are a starting point for training, not a detector.",
                hint="Train them on labelled pairs first, or choose a model that detects.",
                code="training_start",
            )
        height, width = before.shape[-2:]
        both = pad_to_multiple(torch.cat([before, after]), STRIDE)
        features = self.encoder(both.contiguous(memory_format=torch.channels_last)).chunk(2)
        change, semantic_before, semantic_after = self.head(*features)
        return Detection(
            change=probabilities(change, height, width),
            semantic_before=probabilities(semantic_before, height, width),
            semantic_after=probabilities(semantic_after, height, width),
        )
