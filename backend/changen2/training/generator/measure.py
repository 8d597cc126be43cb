"""How well the autoencoder remembers imagery that it has not seen."""

from __future__ import annotations

import numpy as np
import torch

from changen2.models.generator_tiny import TinyGenerator
from changen2.training.generator.config import CropsConfig
from changen2.training.generator.crops import LabelledCrop, draw_crop
from changen2.training.generator.imagery import READERS, SCENES


def held_out_crops(config: CropsConfig, count: int) -> list[LabelledCrop]:
    """Crops of the areas that no run learns from, in the light they were taken in.

    Args:
        config: of the runs; sources without a held-out area are left out.
        count: how many.
    """
    places = {name: [place for place in READERS[name](config.folder(name)) if place.held_out] for name in READERS}
    sources = {name: weight for name, weight in config.sources.items() if name != SCENES and places[name]}
    # A seed of its own: the crops' numbers are those of the training crops.
    plain = config.model_copy(update={"sources": sources, "colour_strength": 0.0, "seed": config.seed + 1})
    return [draw_crop(places, plain, index) for index in range(count)]


@torch.inference_mode()
def psnr(generator: TinyGenerator, crops: list[LabelledCrop]) -> list[float]:
    """Peak signal-to-noise ratio of each crop after encoding and decoding, in dB."""
    found = []
    for crop in crops:
        image = torch.from_numpy(crop.image)[None].float()
        error = (generator.decode(generator.encode(image)).round() - image).square().mean().item()
        found.append(float(10 * np.log10(255**2 / max(error, 1e-9))))
    return found
