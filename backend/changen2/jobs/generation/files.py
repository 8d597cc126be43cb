"""A pair as files of the LEVIR-CD layout, made by whichever process has the task."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from changen2.gpcm.labels import Box
from changen2.gpcm.synthesis import Generator
from changen2.heap import kept_memory
from changen2.jobs.cluster.crew import once_a_process
from changen2.jobs.generation.pair import (
    Events,
    Labelled,
    Pair,
    Recipe,
    draw_pair,
    is_wanted,
    let_happen,
    nothing_happens,
)
from changen2.jobs.generation.sources import Crop, LabelReading, Place
from changen2.models.devices import choose_device, choose_precision
from changen2.models.memory import move
from changen2.raster.gdal import gdal_environment

LAYERS = ("A", "B", "label", "semantic_A", "semantic_B")


@dataclass(frozen=True)
class Workshop:
    """What every process needs to draw pairs.

    Attributes:
        recipe: of the data set.
        reading: how labels are understood.
        size: pixels along a side.
        seed: of the data set.
        model: identifies the generator, by name and digest.
        load: loads it; picklable.
        device, precision: as asked for.
    """

    recipe: Recipe
    reading: LabelReading
    size: int
    seed: int
    model: tuple[str, str]
    load: Callable[[], Generator]
    device: str
    precision: str


@dataclass(frozen=True)
class Order:
    """One pair to be drawn.

    Attributes:
        number: of the pair, from 0.
        changes: whether something is to change.
        places: tried in turn until the wanted share of one changes: where each was moved to, and where it lies if too
            little of an image is there.
    """

    number: int
    changes: bool
    places: Sequence[tuple[Place, Place]]


@dataclass(frozen=True)
class Delivery:
    """One finished pair.

    Attributes:
        number: of the pair.
        place: where it was cut.
        files: PNG bytes by layer.
        changed_px: pixels of the label.
        kinds: how many events of each kind.
    """

    number: int
    place: Place
    files: dict[str, bytes]
    changed_px: int
    kinds: dict[str, int]


def make_files(workshop: Workshop, order: Order) -> Delivery:
    """Draw one pair. Its pixels depend on the seed, its number and the place alone, not on who draws it."""
    # One thread: the order in which several add up is not theirs to choose, and processes would contend for cores.
    torch.set_num_threads(1)
    device = choose_device(workshop.device)
    precision = choose_precision(workshop.precision, device)

    def ready() -> Generator:
        generator = workshop.load()
        move(generator, device)
        return generator

    generator = once_a_process((*workshop.model, str(device)), ready)
    rng = np.random.default_rng([workshop.seed, order.number])
    with gdal_environment():
        place, square, events = _find_events(workshop, order, rng)
    with kept_memory():
        pair = draw_pair(square, events, workshop.recipe, generator, device, precision, place.source.gsd, rng)
    return Delivery(
        number=order.number,
        place=place,
        files=_encode(pair, workshop.recipe),
        changed_px=int(pair.change.sum()),
        kinds=dict(pair.kinds),
    )


def _find_events(workshop: Workshop, order: Order, rng: np.random.Generator) -> tuple[Place, Labelled, Events]:
    """A place with as much change as is wanted, or the last one tried, unchanged."""
    recipe = workshop.recipe
    for place, unmoved in order.places:
        square = _read(workshop, place)
        if not workshop.reading.suffices(square.valid, square.labels):
            place, square = unmoved, _read(workshop, unmoved)
        if order.changes:
            events = let_happen(square, recipe, rng)
            if is_wanted(events, recipe):
                return place, square, events
    return place, square, nothing_happens(square, recipe)


def _read(workshop: Workshop, place: Place) -> Labelled:
    box = Box(place.top, place.left, place.top + workshop.size, place.left + workshop.size)
    with Crop(place.source, workshop.reading) as crop:
        return Labelled(crop.rgb(box), crop.valid(box), crop.labels(box))


def _encode(pair: Pair, recipe: Recipe) -> dict[str, bytes]:
    """The PNG files of a pair; 255 stands for change, and for an object where the kind knows no classes."""
    semantic = [pair.semantic_a, pair.semantic_b]
    if recipe.kind != "S9":
        semantic = [_mask(np.isin(values, sorted(recipe.rules.object_classes))) for values in semantic]
    layers = (pair.a, pair.b, _mask(pair.change), *semantic)
    return {layer: _png(values) for layer, values in zip(LAYERS, layers, strict=True)}


def _mask(values: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return values.astype(np.uint8) * np.uint8(255)


def _png(values: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(buffer, "PNG")
    return buffer.getvalue()
