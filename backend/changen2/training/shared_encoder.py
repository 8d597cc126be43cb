"""Train the encoder that both embedded detectors share, together with both of them.

``python -m changen2.training.shared_encoder CONFIG`` goes on from detectors that were trained on the frozen ImageNet
encoder: each step sees a batch of either, and what both want of the encoder moves it, slower than the rest. Writes
``tiny.safetensors`` and ``tiny-landcover.safetensors``, which lacks the encoder (``landcover.safetensors`` has it), and
their calibration on held-out pairs as ``calibration.json``. Started again, it goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils.data import default_collate

from changen2.models.changestar_landcover import ChangeStarLandCover
from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.models.devices import channels_last
from changen2.training import landcover_train, loop, run
from changen2.training.ahead import Ahead
from changen2.training.calibrate import honest_bias, measure_calibration, shift_bias
from changen2.training.config import TrainingConfig, load_config, read_config
from changen2.training.examples import Example, TrainingPairs
from changen2.training.export import export_weights
from changen2.training.held_out import held_out_pairs
from changen2.training.loop import Imagery
from changen2.training.mix import part
from changen2.training.run import OnStep, Run

logger = logging.getLogger(__name__)

Batch = tuple[Example, Example]
"""Of buildings and of land cover."""


class SharedEncoderConfig(BaseModel):
    """Everything that decides a run's outcome, and where it is kept.

    Attributes:
        buildings: configuration whose mix the building detector sees; a file beside this one, or a path.
        landcover: that of the land-cover detector.
        buildings_from: weights that the building detector begins with and labels by what is unknown.
        landcover_from: those of the land-cover detector; without an encoder it has that of ImageNet.
        out: folder for checkpoint, log and weights.
        landcover_batch_size: pairs of land cover a step.
        landcover_weight: of the land-cover loss.
        archive_share: of either detector's pairs that are seen as archives have them, see
            :class:`changen2.training.config.TrainingConfig`.
        encoder_share: learning rate of the encoder, as a share of that of the rest.
        steps: length of the run.
        warmup: steps in which the learning rate rises.
        learning_rate: of AdamW, at its highest; it falls by a half cosine.
        ema: share of the averaged weights kept each step.
        held_out_pairs: of either detector, that calibrate it at the end.
        threads: for torch.
        seed: of everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    buildings: Path
    landcover: Path
    buildings_from: Path
    landcover_from: Path
    out: Path
    landcover_batch_size: int = Field(4, ge=1)
    landcover_weight: float = Field(0.5, gt=0)
    archive_share: float = Field(0.0, ge=0, le=1)
    encoder_share: float = Field(0.5, gt=0)
    steps: int = Field(2000, ge=1)
    warmup: int = 60
    learning_rate: float = Field(6e-4, gt=0)
    weight_decay: float = 1e-4
    ema: float = Field(0.998, ge=0, lt=1)
    held_out_pairs: int = Field(192, ge=1)
    threads: int = 2
    seed: int = 0

    def of_buildings(self, beside: Path) -> TrainingConfig:
        """What the building detector is trained by.

        Args:
            beside: folder that file names without one are looked for in.
        """
        return self._of(beside / self.buildings, self.buildings_from, seed=self.seed)

    def of_landcover(self, beside: Path) -> TrainingConfig:
        """What the land-cover detector is trained by; arguments as of :meth:`of_buildings`."""
        size = self.landcover_batch_size
        return self._of(beside / self.landcover, self.landcover_from, batch_size=size, seed=self.seed + 1)

    def _of(self, path: Path, weights: Path, **changes: Any) -> TrainingConfig:
        shared = {name: getattr(self, name) for name in ("out", "steps", "threads", "held_out_pairs", "archive_share")}
        return load_config(path).model_copy(update={**shared, "start_from": weights, "teacher": weights, **changes})


class Both(nn.Module):
    """Two detectors on one encoder.

    Args:
        buildings: its encoder is kept.
        landcover: its encoder is given up for the other's.
    """

    def __init__(self, buildings: ChangeStarTiny, landcover: ChangeStarLandCover) -> None:
        super().__init__()
        landcover.encoder = buildings.encoder
        self.buildings, self.landcover = buildings, landcover


def batches(buildings: Imagery, landcover: Imagery, first: TrainingConfig, second: TrainingConfig) -> Ahead[Batch]:
    """Those of a run; what is held out of the land cover is left aside here, that of buildings where they are drawn."""
    examples = TrainingPairs(buildings.places, buildings.pairs, first)
    learned = part(landcover, held_out=False)
    size, others = first.batch_size, second.batch_size

    def make(step: int) -> Batch:
        rngs = [np.random.default_rng((second.seed, step * others + index)) for index in range(others)]
        pairs = [landcover_train.draw_pair(learned, second, rng) for rng in rngs]
        return (
            default_collate([examples[step * size + index] for index in range(size)]),
            default_collate([landcover_train.to_example(pair) for pair in pairs]),
        )

    return Ahead(make, first.steps)


def begin(model: Both, config: SharedEncoderConfig) -> Run:
    """A new run in which everything is trained, the encoder slower."""
    channels_last(model.requires_grad_(True))
    encoder = list(model.buildings.encoder.parameters())
    of_encoder = {id(parameter) for parameter in encoder}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in of_encoder]
    groups: list[dict[str, Any]] = [{"params": encoder, "share": config.encoder_share}, {"params": rest}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    return Run(model, copy.deepcopy(model).requires_grad_(False), optimizer)


def hold_norms(state: Run) -> None:
    """All batch norms keep what they measured: of so mixed a stream of images, statistics do not settle."""
    for module in state.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def train(
    config: SharedEncoderConfig, beside: Path, buildings: Imagery, landcover: Imagery, on_step: OnStep | None = None
) -> Both:
    """Train both detectors and their encoder.

    Args:
        config: the experiment.
        beside: folder of the two detectors' configurations.
        buildings: what the building detector is to see.
        landcover: what the land-cover detector is to see; what is held out of it is left aside.
        on_step: progress; may raise :class:`changen2.errors.Cancelled`, which leaves a checkpoint.

    Returns:
        The averaged models.
    """
    torch.set_num_threads(config.threads)
    first, second = config.of_buildings(beside), config.of_landcover(beside)
    state = begin(Both(loop.fresh(first), landcover_train.fresh(second)), config)
    with batches(buildings, landcover, first, second) as coming:

        def losses(now: Run) -> tuple[dict[str, Tensor], int]:
            one, other = coming.of(now.step)
            of_buildings = loop.losses(now.model.buildings, one, first)  # type: ignore[arg-type]
            of_landcover = landcover_train.losses(now.model.landcover, other, second)  # type: ignore[arg-type]
            parts = {f"buildings_{key}": value for key, value in of_buildings.items()}
            parts |= {f"landcover_{key}": value for key, value in of_landcover.items()}
            total = of_buildings["total"] + config.landcover_weight * of_landcover["total"]
            return {**parts, "total": total}, first.batch_size + second.batch_size

        trained = run.train(
            state, config, losses, run.warm_cosine(config), resumed=True, on_step=on_step, settle=hold_norms
        )
    return trained.eval()  # type: ignore[return-value]


def calibrate(model: Both, first: TrainingConfig, second: TrainingConfig) -> dict[str, Any]:
    """Make 0.5 the natural threshold of both on what is held out, in place; tell how reliable they then are."""
    # What is unknown stays out: the detectors' own word on it would prove them right.
    first, second = (config.model_copy(update={"teacher": None}) for config in (first, second))
    pairs = held_out_pairs(loop.read_imagery(first), first)
    bias = honest_bias(model.buildings, pairs)
    shift_bias(model.buildings, bias)
    found = {"tiny": {"bias_from_calibration": bias, "calibration": measure_calibration(model.buildings, pairs)}}
    pairs = landcover_train.held_out_pairs(landcover_train.read_imagery(second), second)
    return found | {"tiny-landcover": landcover_train.calibrate(model.landcover, pairs)}


def export(model: Both, out: Path) -> None:
    """Write both detectors; the second without the encoder, which is the first one's, and whole for a further round."""
    export_weights(model.buildings, out / "tiny.safetensors")
    export_weights(model.landcover, out / "landcover.safetensors")
    landcover_train.export(model.landcover, out / "tiny-landcover.safetensors")


def main() -> None:
    """Train as a configuration says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    path = parser.parse_args().config
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = read_config(path, SharedEncoderConfig)
    first, second = config.of_buildings(path.parent), config.of_landcover(path.parent)
    buildings, landcover = loop.read_imagery(first), landcover_train.read_imagery(second)

    def tell(step: int, steps: int, means: dict[str, float]) -> None:
        if means:
            logger.info("step %d of %d: %s", step, steps, " ".join(f"{k} {v:.4f}" for k, v in means.items()))

    model = train(config, path.parent, buildings, landcover, tell)
    calibrated = calibrate(model, first, second)
    export(model, config.out)
    (config.out / "calibration.json").write_text(json.dumps(calibrated, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
