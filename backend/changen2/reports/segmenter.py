"""Who says what a building is: two segmenters of single images.

``embedded`` is the building head of the embedded detector. It was trained on real and on drawn scenes (see its card),
so it may be kinder to a drawn roof than one that has only seen real ones. ``real`` is trained here, in minutes, on the
real places of the detector's training alone: a small decoder on the frozen ImageNet encoder, kept for the next time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.models.changestar_tiny import ChangeStarTiny, building_map
from changen2.models.devices import channels_last
from changen2.reports.held_out import Tile
from changen2.training.crops import Crop, random_cut
from changen2.training.examples import seen
from changen2.training.export import export_weights
from changen2.training.loop import read_encoder
from changen2.training.losses import masked_cross_entropy
from changen2.training.measure import to_input
from changen2.training.places import IGNORE, Place
from changen2.training.sources import SOURCES

KINDS = ("embedded", "real")

REAL_SOURCES = {"banepa": 0.26, "kampala": 0.1, "spacenet1_rio": 0.24, "spacenet2": 0.28, "estonia": 0.12}
"""Weight of each source of real places; those held out are left aside."""

CROP, GSD_RANGE, DIM, BATCH = 192, (0.2, 0.6), 64, 8
LEARNING_RATE = 2e-3

OnStep = Callable[[int, int], None]

Levels = tuple[list[Tensor], list[Tensor]]
"""The encoder's maps of an image and of the image at half size, [b, channels, h, w] each."""


def found_buildings(segmenter: ChangeStarTiny, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a segmenter sees buildings [h, w] in a picture [3, h, w]."""
    return np.asarray(building_map(segmenter, picture) >= 0.5)


def building_iou(segmenter: ChangeStarTiny, tiles: list[Tile]) -> float:
    """Intersection over union of buildings, pooled over real tiles."""
    both = either = 0
    for tile in tiles:
        found = found_buildings(segmenter, tile.image)
        both += int((found & tile.buildings).sum())
        either += int((found | tile.buildings).sum())
    return both / max(1, either)


def real_segmenter(
    data: Path,
    cache: Path,
    encoder: str,
    crops: int = 600,
    steps: int = 800,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> ChangeStarTiny:
    """The segmenter that has seen real images only, from the cache or trained now.

    Args:
        data: folder that holds ``train``.
        cache: folder for its weights.
        encoder: ImageNet weights of its encoder, see :func:`changen2.training.loop.encoder_checkpoint`.
        crops: drawn once; the frozen encoder looks at each of them once.
        steps: of the decoder's training.
        seed: of everything.
        on_step: called with (steps done, steps in all).
    """
    path = cache / f"segmenter-{crops}-{steps}-{seed}.safetensors"
    model = ChangeStarTiny(dim=DIM)
    if path.exists():
        model.load_state_dict(load_file(path))
        return model.eval()
    torch.manual_seed(seed)
    model = ChangeStarTiny(dim=DIM)
    read_encoder(model.encoder, encoder)
    model.encoder.requires_grad_(False)
    channels_last(model)
    train_decoder(model.eval(), real_crops(data, crops, seed), steps, seed, on_step or (lambda done, total: None))
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    export_weights(model, part)
    part.replace(path)
    model.load_state_dict(load_file(path))
    return model.eval()


def real_crops(data: Path, count: int, seed: int) -> list[Crop]:
    """Crops of real places as some day and some sensor show them, without those held out."""
    places: dict[str, list[Place]] = {}
    for source in REAL_SOURCES:
        folder = data / "train" / source
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}.", hint="Say where the imagery is with --data.")
        places[source] = [place for place in SOURCES[source](folder) if not place.held_out]
    rng = np.random.default_rng(seed)
    shares = list(REAL_SOURCES.values())
    crops = []
    for _ in range(count):
        mine = places[list(REAL_SOURCES)[rng.choice(len(shares), p=shares)]]
        areas = np.array([place.label.size * place.gsd**2 for place in mine]) ** 0.5
        place = mine[rng.choice(len(mine), p=areas / areas.sum())]
        crop = random_cut(place, CROP, rng, GSD_RANGE, centred=rng.random() < 0.5).of(place)
        crops.append(seen(crop, 1.0, rng))
    return crops


def train_decoder(model: ChangeStarTiny, crops: list[Crop], steps: int, seed: int, on_step: OnStep) -> None:
    """Train decoder and building head on what the frozen encoder says of the crops."""
    levels = [_encode(model, crop) for crop in crops]
    labels = torch.from_numpy(np.stack([crop.label for crop in crops]))[:, None]
    trained = [*model.decoder.parameters(), *model.semantic.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng((seed, 1))
    for step in range(steps):
        # The last fifth runs on settled statistics, those that it is used with.
        model.decoder.train(step < 0.8 * steps)
        chosen = rng.integers(len(crops), size=BATCH)
        near, far = (_stacked([levels[index][view] for index in chosen]) for view in (0, 1))
        semantic = model.semantic(model.decoder(near, far))
        logits = nn.functional.interpolate(semantic, size=(CROP, CROP), mode="bilinear", align_corners=False)
        target = labels[chosen]
        loss = masked_cross_entropy(logits, (target == 1).float(), (target != IGNORE).float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        on_step(step + 1, steps)
    model.eval()


@torch.no_grad()
def _encode(model: ChangeStarTiny, crop: Crop) -> Levels:
    """The encoder's two looks at a crop, in half precision to keep them all in memory."""
    images = to_input(crop.image) * model.scale + model.offset
    near, far = model.encoder(images), model.encoder(nn.functional.avg_pool2d(images, 2))
    return [level.half() for level in near], [level.half() for level in far]


def _stacked(levels: list[list[Tensor]]) -> list[Tensor]:
    """Batches of each level, in the layout that convolutions take two thirds of the time in."""
    batches = (torch.cat(same).float() for same in zip(*levels, strict=True))
    return [batch.contiguous(memory_format=torch.channels_last) for batch in batches]
