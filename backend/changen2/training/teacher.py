"""Labels where there are none, from a detector trained before: self-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from changen2.models.changestar_tiny import ChangeStarTiny, pad_to_stride
from changen2.models.detection import normalize
from changen2.training.places import BACKGROUND, BUILDING, IGNORE, Place

SURE_BUILDING, SURE_BACKGROUND = 0.65, 0.2  # between them a pixel stays unknown
GSDS = (0.33, 0.5)  # metres per pixel that the teacher looks at, then averages; never finer than the image
STRIP = 512  # rows at a time, which bounds memory
OVERLAP = 64


@torch.inference_mode()
def building_probability(model: ChangeStarTiny, place: Place) -> NDArray[np.float32]:
    """Probability of building ``[h, w]``: the mean over the scales, the second one turned around."""
    height, width = place.label.shape
    total = np.zeros((height, width), np.float32)
    factors = sorted({min(1.0, place.gsd / gsd) for gsd in GSDS})
    for index, factor in enumerate(factors):
        size = (max(32, round(width * factor)), max(32, round(height * factor)))
        image = np.asarray(Image.fromarray(place.image).resize(size, Image.Resampling.BICUBIC))
        turned = (slice(None, None, -1),) * 2 if index else (slice(None),) * 2
        probability = _in_strips(model, np.ascontiguousarray(image[turned]))[turned]
        picture = Image.fromarray(np.ascontiguousarray(probability))
        total += np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)) / len(factors)
    return total


def _in_strips(model: ChangeStarTiny, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    result = np.empty(image.shape[:2], np.float32)
    for top in range(0, len(image), STRIP):
        first = max(0, top - OVERLAP)
        strip = image[first : top + STRIP + OVERLAP]
        inputs = pad_to_stride(normalize(torch.from_numpy(strip.copy()).permute(2, 0, 1)[None]))
        probability = model.semantic_logits(inputs)[0, 0, : len(strip), : image.shape[1]].sigmoid().numpy()
        result[top : top + STRIP] = probability[top - first : top - first + STRIP]
    return result


def fill_unknown(model: ChangeStarTiny, places: Sequence[Place]) -> list[Place]:
    """Label the unknown pixels of places that the teacher is sure of; known labels stay.

    What is held out keeps the labels that people gave it: a detector that learned from the teacher would agree with it.
    """
    filled = []
    for place in places:
        if place.held_out or not (place.label == IGNORE).any():
            filled.append(place)
            continue
        probability = building_probability(model, place)
        told = np.full(place.label.shape, IGNORE, np.uint8)
        told[probability > SURE_BUILDING] = BUILDING
        told[probability < SURE_BACKGROUND] = BACKGROUND
        filled.append(replace(place, label=np.where(place.label == IGNORE, told, place.label)))
    return filled
