"""Classes where only buildings are known, or nothing, from a land-cover detector trained before: self-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from changen2.models.changestar_landcover import CLASSES, ChangeStarLandCover
from changen2.models.changestar_tiny import pad_to_stride
from changen2.scenes.classes import BUILDING
from changen2.training.landcover import NOT_BUILDING
from changen2.training.measure import to_input
from changen2.training.places import IGNORE, Place

SURE = 0.8  # probability from which a class is told
GSDS = (0.5, 1.0)  # metres per pixel that the teacher looks at, then averages; never finer than the image
MANY = 0.05  # share of such pixels from which a place is worth looking at


@torch.inference_mode()
def class_probability(model: ChangeStarLandCover, place: Place) -> NDArray[np.float32]:
    """Probabilities ``[5, h, w]`` of the classes 1 to 5: the mean over the scales."""
    height, width = place.label.shape
    total = np.zeros((CLASSES, height, width), np.float32)
    factors = sorted({min(1.0, place.gsd / gsd) for gsd in GSDS})
    for factor in factors:
        rows, columns = max(32, round(height * factor)), max(32, round(width * factor))
        image = np.asarray(Image.fromarray(place.image).resize((columns, rows), Image.Resampling.BICUBIC))
        logits = model.eval().semantic_logits(pad_to_stride(to_input(image)))[0, :, :rows, :columns]
        for plane, probability in zip(total, logits.softmax(dim=0).numpy(), strict=True):
            picture = Image.fromarray(np.ascontiguousarray(probability))
            plane += np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)) / len(factors)
    return total


def fill_unknown(model: ChangeStarLandCover, places: Sequence[Place]) -> list[Place]:
    """Tell the class of pixels that are unknown, or known to be no building, where the teacher is sure of it.

    What is held out keeps the labels that people gave it.
    """
    filled = []
    for place in places:
        partial, unknown = place.label == NOT_BUILDING, place.label == IGNORE
        if place.held_out or (partial | unknown).mean() < MANY:
            filled.append(place)
            continue
        probability = class_probability(model, place)
        # What is no building is one of the others.
        probability[BUILDING - 1, partial] = 0
        probability /= probability.sum(axis=0)
        sure = (probability.max(axis=0) > SURE) & (partial | unknown)
        told = (probability.argmax(axis=0) + 1).astype(np.uint8)
        filled.append(replace(place, label=np.where(sure, told, place.label)))
    return filled
