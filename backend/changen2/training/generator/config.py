"""What the two training runs of the generator are made of: one YAML file each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class CropsConfig(BaseModel):
    """The augmented crops that both runs learn from.

    Attributes:
        data: folder that holds a folder per source.
        out: folder for the crops, the drawn scenes and the latents.
        sources: weight of each source; ``scenes`` are drawn by code.
        folders: where a source lies, if not in ``data`` under its name.
        count: crops in all; more may be added to a finished folder.
        size: side of a crop in pixels.
        gsd_range: metres per pixel.
        colour_strength: of another day's look, 0 leaves colours alone.
        scene_count, scene_size: simulated scenes to cut from, pixels along their side.
        seed: of everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    out: Path
    sources: dict[str, float]
    folders: dict[str, Path] = {}
    count: int = Field(4096, ge=1)
    size: int = Field(256, multiple_of=32, ge=64)
    gsd_range: tuple[float, float] = (0.25, 0.6)
    colour_strength: float = Field(0.35, ge=0)
    scene_count: int = Field(48, ge=0)
    scene_size: int = Field(512, ge=64)
    seed: int = Field(0, ge=0)

    def folder(self, source: str) -> Path:
        """Where a source lies."""
        return self.folders.get(source, self.data / source)


class RunConfig(BaseModel):
    """What both runs have in common.

    Attributes:
        crops: what to learn from.
        out: folder for the checkpoint, the log and the weights.
        batch_size: crops a step.
        crop_size: side of a crop in pixels.
        steps: length of the run.
        warmup: steps in which the learning rate rises.
        learning_rate: at its highest.
        optimizer: ``adamw``, or ``muon`` for the matrices (needs torch 2.9) and AdamW for the rest.
        weight_decay: of the optimizer.
        ema: share of the averaged weights kept each step, once warm.
        threads: for torch.
        bf16: compute in bfloat16 where that is possible. Measure first: on a processor that has instructions for it
            (AVX512_BF16) the denoiser's run takes 0.4 times as long as in float32, on one without 1.4 times.
        seed: of everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    crops: CropsConfig
    out: Path
    batch_size: int = Field(16, ge=1)
    crop_size: int = Field(128, multiple_of=32, ge=32)
    steps: int = Field(1500, ge=1)
    warmup: int = Field(50, ge=0)
    learning_rate: float = Field(1e-3, gt=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    ema: float = Field(0.999, ge=0, lt=1)
    threads: int = Field(2, ge=1)
    bf16: bool = False
    seed: int = Field(0, ge=0)


class AutoencoderConfig(RunConfig):
    """The autoencoder's run.

    Attributes:
        encoder_weights: ImageNet checkpoint of the network whose features are compared; ``package:NAME`` looks
            inside an installed package.
        gradient_weight: weight of the loss on differences between neighbouring pixels.
        feature_weight: weight of the loss on the features.
    """

    encoder_weights: str
    gradient_weight: float = 1.0
    feature_weight: float = 0.1
    ema: float = Field(0.99, ge=0, lt=1)


class RSDiTConfig(RunConfig):
    """The denoiser's run.

    Attributes:
        autoencoder: weights that the autoencoder's run left.
        large_crop_size: side of the crops at the end of the run; the batch shrinks as the area grows.
        large_share: share of the run that has them.
        start_from: weights of an earlier generator to go on from, the optimizer anew.
        cooldown: share of the run, at its end, in which the learning rate falls to zero.
        untold_share: share of the samples whose labels are kept from the denoiser, for classifier-free guidance (Ho and
            Salimans 2022).
        outside_weight: weight of the loss where nothing changes; 1 where something does.
        least_snr: lowest signal-to-noise ratio that counts in the loss.
        min_snr: highest signal-to-noise ratio that counts in the loss (Hang et al. 2023).
    """

    autoencoder: Path
    batch_size: int = Field(32, ge=1)
    steps: int = Field(16000, ge=1)
    warmup: int = Field(100, ge=0)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    large_crop_size: int = Field(256, multiple_of=32, ge=32)
    large_share: float = Field(0.2, ge=0, le=1)
    start_from: Path | None = None
    cooldown: float = Field(0.2, ge=0, le=1)
    untold_share: float = Field(0.1, ge=0, le=1)
    outside_weight: float = Field(0.1, ge=0)
    least_snr: float = Field(0.25, ge=0)
    min_snr: float = Field(5.0, gt=0)
