"""One pair of a change data set, from one date: events on its labels, the other date drawn, both dates seen anew.

Both dates pass through the generator's autoencoder and are decoded whole. A composite would give itself away: pixels
that are exactly equal outside the change, and its edge. For the same reason more is drawn anew than the objects: the
ground around them, and places where nothing changes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage
import torch
from numpy.typing import NDArray

from changen2.gpcm.exemplar import start_picture
from changen2.gpcm.instances import contours, contours_after, remove_instances, segment
from changen2.gpcm.labels import NODATA, ArrayLabels, Box, Labels
from changen2.gpcm.libraries import ArrayLibrary, Elsewhere, Exemplars
from changen2.gpcm.regions import CELL, Region
from changen2.gpcm.simulation import Rules, simulate_step
from changen2.gpcm.synthesis import HALO, Generator, Settings, Synthesizer
from changen2.jobs.generation.look import Floats, Look
from changen2.jobs.synthesis.condition import ground_classes
from changen2.jobs.synthesis.exemplar_libraries import exemplars_for, look_of_pixels
from changen2.jobs.synthesis.image_series import mirrored_read
from changen2.models.memory import enough_memory

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]

DISTRACTOR_RADIUS = (4, 20)
"""Pixels; from a car to a house."""


BACKWARDS = {"create": "remove", "remove": "create", "edit": "edit"}
"""What an event is from the later date to the earlier one."""


@dataclass(frozen=True)
class Recipe:
    """What all pairs of a data set have in common.

    Attributes:
        kind: S0, S1 or S9.
        rules: of the events; ``kinds`` is drawn anew for each pair.
        mix: weight of each set of kinds of events that happen together in a pair.
        numbers: the generator's class for each class of the labels [256].
        class_names: the generator's classes, by index.
        contour: the generator's class for boundaries of instances, None where it has none.
        least_change, most_change: share of pixels that change in the others.
        removal: probability of an instance to go (S0).
        surroundings: largest distance drawn anew around a change, pixels.
        distractors: most places drawn anew without change.
        exemplar: whether the change starts from an object or a patch of its class.
        settings: of the sampler; its seed is drawn anew for each pair.
        both_ways: whether every other pair shows the date that was drawn first.
        look: how the dates differ besides.
    """

    kind: str
    rules: Rules
    mix: dict[tuple[str, ...], float]
    numbers: NDArray[np.uint8]
    class_names: tuple[str, ...]
    contour: int | None
    least_change: float
    most_change: float
    removal: float
    surroundings: int
    distractors: int
    exemplar: bool
    settings: Settings
    both_ways: bool
    look: Look


@dataclass(frozen=True)
class Labelled:
    """A square of one date.

    Attributes:
        rgb: [3, h, w], uint8.
        valid: where there is an image [h, w].
        labels: classes [h, w]; 0 where nothing is known.
    """

    rgb: Picture
    valid: Mask
    labels: Labels


@dataclass(frozen=True)
class Events:
    """What happened on a square.

    Attributes:
        before, after: semantic maps [h, w].
        change: where they differ, on pixels that are known on both dates [h, w].
        condition: what the generator is told of the date after [h, w].
        objects_before, objects_after: what stands above the ground [h, w].
        kinds: how many events of each kind.
    """

    before: Labels
    after: Labels
    change: Mask
    condition: Labels
    objects_before: Mask
    objects_after: Mask
    kinds: Counter[str]


@dataclass(frozen=True)
class Pair:
    """A finished pair.

    Attributes:
        a, b: both dates [h, w, 3], uint8.
        change: [h, w].
        semantic_a, semantic_b: classes [h, w].
        kinds: how many events of each kind from the first date to the second.
    """

    a: Picture
    b: Picture
    change: Mask
    semantic_a: Labels
    semantic_b: Labels
    kinds: Counter[str]


def let_happen(square: Labelled, recipe: Recipe, rng: np.random.Generator) -> Events:
    """Let events happen on a square, of the kinds that the data set's mix says."""
    choices = sorted(recipe.mix)
    weights = np.array([recipe.mix[kinds] for kinds in choices])
    kinds = choices[int(rng.choice(len(choices), p=weights / weights.sum()))]
    return _events(square, recipe, kinds, int(rng.integers(2**63)))


def nothing_happens(square: Labelled, recipe: Recipe) -> Events:
    """The events of a pair without change."""
    return _events(square, recipe, (), 0)


def is_wanted(events: Events, recipe: Recipe) -> bool:
    """Whether as much changed as the data set's pairs are to have."""
    return bool(events.change.any()) and recipe.least_change <= events.change.mean() <= recipe.most_change


def draw_pair(
    square: Labelled,
    events: Events,
    recipe: Recipe,
    generator: Generator,
    device: torch.device,
    precision: torch.dtype,
    gsd: float,
    rng: np.random.Generator,
) -> Pair:
    """Draw the date after and show both dates as two days would.

    Args:
        square: the date before.
        events: what happened there.
        recipe: of the data set.
        generator: in eval mode on ``device``.
        device: where it runs.
        precision: of its denoiser.
        gsd: metres of a pixel.
        rng: of this pair alone.
    """
    drawn = _drawn_anew(square, events, recipe, rng)
    before, after = _dates(square, events, drawn, recipe, generator, device, precision, gsd, rng)
    dates = [(before, events.before, events.objects_before), (after, events.after, events.objects_after)]
    kinds = events.kinds
    if rng.random() < 0.5 and recipe.both_ways:
        dates.reverse()
        kinds = Counter({BACKWARDS[kind]: count for kind, count in kinds.items()})
    (a, semantic_a, _), (b, semantic_b, objects_b) = dates
    look = recipe.look
    # Labels stay on the first date's grid; the second is off by what misregistration and view shift say.
    seen_a = look.seen(a, rng)
    seen_b = look.seen(look.moved(b, objects_b, rng), rng)
    return Pair(_bytes(seen_a), _bytes(seen_b), events.change, semantic_a, semantic_b, kinds)


def _events(square: Labelled, recipe: Recipe, kinds: tuple[str, ...], seed: int) -> Events:
    if recipe.kind == "S0":
        return _vanished(square, recipe, seed if kinds else None)
    now = np.where(square.valid, square.labels, NODATA).astype(np.uint8)
    then = ArrayLabels(now.copy())
    happened = []
    if kinds:
        rules = replace(recipe.rules, kinds=kinds)
        happened = simulate_step(ArrayLabels(now), then, rules, seed, 1)
    objects = np.zeros(256, bool)
    objects[sorted(recipe.rules.object_classes)] = True
    return Events(
        before=now,
        after=then.values,
        change=now != then.values,
        condition=recipe.numbers[then.values],
        objects_before=objects[now],
        objects_after=objects[then.values],
        kinds=Counter(event.kind for event in happened),
    )


def _vanished(square: Labelled, recipe: Recipe, seed: int | None) -> Events:
    """Regions of an image without labels vanish, class-agnostic."""
    instances = np.where(square.valid, segment(np.moveaxis(square.rgb, 0, -1)), 0)
    removal = remove_instances(instances, seed or 0, 1, 0.0 if seed is None else recipe.removal)
    condition = np.full(instances.shape, recipe.numbers[0], np.uint8)
    if recipe.contour is not None:
        kept = contours(instances) if seed is None else contours_after(instances, removal.change)
        condition = (kept * recipe.contour).astype(np.uint8)
    still = np.zeros(instances.shape, bool)
    return Events(
        before=(instances > 0).astype(np.uint8),
        after=(removal.instances > 0).astype(np.uint8),
        change=removal.change,
        condition=condition,
        objects_before=still,
        objects_after=still,
        kinds=Counter({"remove": len(removal.removed)}) if len(removal.removed) else Counter(),
    )


def _drawn_anew(square: Labelled, events: Events, recipe: Recipe, rng: np.random.Generator) -> Mask:
    """The change, some ground around it, and places where nothing changes [h, w]."""
    reach = rng.uniform(0, recipe.surroundings) if recipe.surroundings else 0.0
    drawn = events.change.copy()
    if drawn.any():
        drawn = np.asarray(scipy.ndimage.distance_transform_edt(~drawn) <= reach)
    rows, columns = np.indices(drawn.shape)
    for _ in range(int(rng.integers(recipe.distractors + 1))):
        row, column = rng.integers(drawn.shape)
        stretch, radius = rng.uniform(0.5, 2), rng.uniform(*DISTRACTOR_RADIUS)
        drawn |= ((rows - row) ** 2 * stretch + (columns - column) ** 2 / stretch) <= radius**2
    # An object that stays must stay in the picture too, and the generator would move its walls.
    return drawn & square.valid & (events.change | ~(events.objects_before & events.objects_after))


class _Square:
    """A square as the generator's scene: mirrored beyond its edges."""

    def __init__(self, square: Labelled, events: Events, drawn: Mask) -> None:
        self._square, self._events, self._drawn = square, events, drawn

    def rgb(self, box: Box) -> Picture:
        return _mirrored(self._square.rgb, box).astype(np.uint8)

    def labels(self, box: Box) -> Labels:
        return _mirrored(self._events.condition, box).astype(np.uint8)

    def change(self, box: Box) -> Mask:
        return _mirrored(self._drawn, box).astype(bool)


def _dates(
    square: Labelled,
    events: Events,
    drawn: Mask,
    recipe: Recipe,
    generator: Generator,
    device: torch.device,
    precision: torch.dtype,
    gsd: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Both dates [h, w, 3], 0..255, decoded whole."""
    seed = int(rng.integers(2**63))
    scene = _Square(square, events, drawn)
    before = _through_autoencoder(scene, drawn.shape, generator, device)
    if not drawn.any():
        return before, before.copy()
    stride = generator.latent_stride
    settings = replace(recipe.settings, seed=seed, gsd=gsd)
    start = None
    if recipe.exemplar:
        library = ArrayLibrary("same place", square.rgb, recipe.numbers[square.labels])
        known = exemplars_for(look_of_pixels(square.rgb[:, square.valid]), recipe.class_names, gsd, seed)

        def exemplars_at(place: Box) -> Exemplars:
            return replace(known, own=[Elsewhere(library, place)], others=[])  # the square itself is enough

        ground = ground_classes(recipe.class_names)[events.condition]

        def ground_at(place: Box) -> Mask:
            return np.asarray(ground[place.top : place.bottom, place.left : place.right])

        start, _ = start_picture(square.rgb, events.condition, drawn, square.valid, exemplars_at, ground_at, [seed])
    height, width = drawn.shape
    # One window over the whole square: the sizes that pairs have are sizes that the generator sees at once.
    region = Region(_cells(drawn, CELL * stride), Box(0, 0, height // stride, width // stride))
    synthesizer = Synthesizer(generator, settings, device=device, precision=precision)
    (piece,) = synthesizer.draw(region, scene, 1, start)
    return before, np.moveaxis(piece.rgb, 0, -1)


@torch.inference_mode()
def _through_autoencoder(scene: _Square, shape: tuple[int, ...], generator: Generator, device: torch.device) -> Floats:
    """The date before [h, w, 3], encoded and decoded just as the date after is."""
    halo = HALO * generator.latent_stride
    around = Box(-halo, -halo, shape[0] + halo, shape[1] + halo)
    picture = torch.from_numpy(scene.rgb(around).astype(np.float32))[None]
    with enough_memory(device, f"An image of {around.shape[1]} × {around.shape[0]} pixels"):
        latents = generator.encode(picture.to(device))[..., HALO:-HALO, HALO:-HALO]
        return np.moveaxis(generator.decode(latents).float().cpu()[0].numpy(), 0, -1)


def _cells(drawn: Mask, side: int) -> NDArray[np.int64]:
    """Rows and columns of the cells that hold something drawn."""
    pads = [(0, -length % side) for length in drawn.shape]
    padded = np.pad(drawn, pads)
    rows, columns = padded.shape[0] // side, padded.shape[1] // side
    return np.argwhere(padded.reshape(rows, side, columns, side).any(axis=(1, 3)))


def _mirrored(values: NDArray[np.generic], box: Box) -> NDArray[np.generic]:
    """A box [..., h, w] of an array, mirrored beyond its edges."""
    height, width = values.shape[-2:]
    return mirrored_read(lambda i: values[..., i.top : i.bottom, i.left : i.right], box, (height, width))


def _bytes(picture: Floats) -> Picture:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
