"""What a training run of the detector is made of: one YAML file per experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator

from changen2.errors import InputError

KINDS: Mapping[str, tuple[str, ...]] = {
    "buildings": ("star", "region", "create", "remove", "mixed", "none"),
    "landcover": ("star", "region", "none"),
    "anything": ("objects", "region", "none"),
}
"""Kinds of pairs made of single dates, by network; see :func:`changen2.training.pairs.second_date` and
:func:`changen2.training.landcover_pairs.dates_of` and :func:`changen2.training.anything_pairs.dates_of`."""

Config = TypeVar("Config", bound=BaseModel)

Weights = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


def _rising(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"from {span[0]:g} to {span[1]:g}: the first must not be the larger one")
    return span


class TrainingConfig(BaseModel):
    """Everything that decides a run's outcome, and where it is kept.

    Attributes:
        network: what is trained: the detector of ``buildings``, of ``landcover`` or of ``anything`` that changes.
        data: folder that holds a folder per source.
        out: folder for checkpoints and the log.
        encoder_weights: ImageNet checkpoint of the encoder; ``package:NAME`` looks inside an installed package.
        start_from: a checkpoint or exported weights to go on from instead of ImageNet alone; may be absent.
        teacher: exported weights that label what is unknown, but for what is held out; without them it stays unknown.
        encoder: ``lite0``, ``lite1`` or ``lite2``.
        project_imagery: whether sources with the names of this project's imagery (:mod:`changen2.training.sources`) are
            that, each read in a way of its own; else they are folders like others.
        sources: weight of each source in the mix: a folder with ``images`` and ``masks``, or one of this project's.
        kinds: weight of each kind of pair made of single dates, see ``KINDS``.
        pairs: weight of each folder of pairs (LEVIR-CD layout) beside the kinds.
        gsds: metres per pixel of folders whose files do not tell, neither georeferenced nor by their names.
        object_classes: the class to look for in folders of pairs whose semantic maps hold classes.
        folders: where a source or a folder of pairs lies, if not in ``data`` under its name.
        crop_size: side of a training crop, a multiple of 64.
        gsd_range: metres per pixel to train at, from and to.
        max_shift: misregistration between the dates, pixels.
        colour_strength: 0 leaves colours alone, 1 is strong.
        sun_strength: 0 leaves roofs and their shadows alone, 1 is strong.
        season_strength: 0 leaves plants and the evenness of light alone, 1 is strong.
        archive_share: of pairs that are seen without colour, of those seen coarser, and of those compressed hard.
        semantic_weight: weight of both dates' building loss beside the change loss.
        fused_weight: weight of the loss on the final probability, in which both heads agree.
        batch_size: pairs a step.
        steps: length of the run.
        warmup: steps in which the learning rate rises and the decoder's batch norm still measures.
        learning_rate: of AdamW, at its highest; it falls by a half cosine.
        weight_decay: of AdamW.
        ema: share of the averaged weights kept each step.
        held_out_pairs: how many pairs of held-out places calibrate the end of a run, and stop it if asked to; 0: none.
        look_every: steps from one look at them to the next; 0 trains to the end.
        patience: looks without a gain after which the run ends with the weights of its best.
        threads: for torch.
        seed: of everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Literal["buildings", "landcover", "anything"] = "buildings"
    data: Path
    out: Path
    encoder_weights: str
    start_from: Path | None = None
    teacher: Path | None = None
    encoder: str = "lite0"
    project_imagery: bool = False
    sources: Weights
    kinds: Weights
    pairs: Weights = {}
    gsds: dict[str, float] = {}
    object_classes: dict[str, int] = {}
    folders: dict[str, Path] = {}
    crop_size: int = Field(192, multiple_of=64, ge=64)
    gsd_range: Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_rising)] = (0.2, 0.6)
    max_shift: int = Field(2, ge=0)
    colour_strength: float = Field(1.0, ge=0)
    sun_strength: float = Field(0.0, ge=0)
    season_strength: float = Field(0.0, ge=0)
    archive_share: float = Field(0.0, ge=0, le=1)
    semantic_weight: float = 0.5
    fused_weight: float = 0.0
    batch_size: int = Field(8, ge=1)
    steps: int = Field(2000, ge=1)
    warmup: int = Field(100, ge=0)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    ema: float = Field(0.995, ge=0, lt=1)
    held_out_pairs: int = Field(48, ge=0)
    look_every: int = Field(0, ge=0)
    patience: int = Field(6, ge=1)
    threads: int = 2
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _check_mix(self) -> TrainingConfig:
        if unknown := [kind for kind in self.kinds if kind not in KINDS[self.network]]:
            raise ValueError(
                f"`kinds` names {', '.join(unknown)}; a {self.network} network knows {', '.join(KINDS[self.network])}"
            )
        if not any((*self.kinds.values(), *self.pairs.values())):
            raise ValueError("`kinds` and `pairs` have no weight above 0: there is nothing to train on")
        if any(self.kinds.values()) and not any(self.sources.values()):
            raise ValueError("`kinds` are made of single dates, but `sources` has no weight above 0")
        return self

    def folder(self, source: str) -> Path:
        """Where a source lies."""
        return self.folders.get(source, self.data / source)


def load_config(path: Path) -> TrainingConfig:
    """The configuration of a detector's training; raises as :func:`read_config`."""
    return read_config(path, TrainingConfig, "training/configs/own_images.yaml")


def read_config(path: str | Path, kind: type[Config], like: str = "those in changen2/training/configs") -> Config:
    """Read and check a configuration.

    Args:
        path: a YAML file.
        kind: what it is to hold.
        like: what a person may compare it with.

    Raises:
        InputError: the file is missing, is no text in UTF-8, is no YAML mapping or holds a value that is not allowed.
    """
    try:
        return kind.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(
            f"The configuration {path} cannot be read.", hint="Check the path.", code="missing_file"
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise InputError(f"The configuration {path} is not valid: {error}", hint=f"Compare it with {like}.") from error
