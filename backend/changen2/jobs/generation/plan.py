"""What a request for a data set means for its images: classes, events, places, and the order of every pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError
from changen2.gpcm.classes import ClassTable
from changen2.gpcm.simulation import Rules
from changen2.gpcm.synthesis import Generator, Settings
from changen2.jobs.generation.files import Order, Workshop
from changen2.jobs.generation.look import Look
from changen2.jobs.generation.pair import Recipe
from changen2.jobs.generation.scale import scale, scale_warnings
from changen2.jobs.generation.sources import MOST_UNKNOWN, LabelReading, Place, Source, find_places, find_sources
from changen2.jobs.generation.split import hold_out_end, hold_out_images
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis.condition import CONTOUR, INSTANCES, class_table, generator_numbers, own_table
from changen2.jobs.synthesis.event_rules import drawable, make_rules
from changen2.models.registry import ModelCard
from changen2.protocol import GenerateRequest

MASKS = ClassTable({0: "background", 1: "building"}, {0: (190, 190, 190), 1: (204, 60, 52)})
"""Classes of label rasters that only say where objects are."""

EVENTS = {"S0": ("remove",), "S1": ("create", "remove"), "S9": ("create", "remove", "edit")}
"""Kinds of events by kind of data set."""

VIEW_SHIFT = 1.5
"""Pixels that the highest objects lean apart, unless the request says otherwise."""

TRIES = 6
"""Places of an image, or of its part, that are looked at for one pair with change."""

PLACES, DECK = 1, 2
"""Streams of random numbers, beside those of the pairs themselves."""


@dataclass(frozen=True)
class DatasetPlan:
    """A data set before its first pair is drawn.

    Attributes:
        kind: S0, S1 or S9.
        classes: of the semantic maps.
        sources: the images, or both parts of the only one.
        places: squares that cover them.
        fertile: those of them where something can change.
        workshop: what every process needs.
        warnings: what the user should know.
        device: what kind of device draws; empty until a worker was asked.
    """

    kind: str
    classes: ClassTable
    sources: list[Source]
    places: list[Place]
    fertile: list[Place]
    workshop: Workshop
    warnings: list[str]
    device: str = ""


def kind_of(request: GenerateRequest) -> str:
    """Return the kind of the data set."""
    return request.kind or ("S1" if request.labels else "S0")


def with_view_shift(request: GenerateRequest) -> GenerateRequest:
    """The request with its view shift, so that all that follows and the manifest name it.

    Raises:
        InputError: ``bad_value`` where objects are to lean that nobody knows of.
    """
    if kind_of(request) != "S0":
        return request.model_copy(
            update={"view_shift": VIEW_SHIFT if request.view_shift is None else request.view_shift}
        )
    if request.view_shift:
        raise InputError(
            f"Objects are to lean by {request.view_shift:g} pixels (--view-shift), but a data set of kind S0 does not "
            "know which regions stand above the ground.",
            hint="Leave --view-shift out, or give labels (--labels).",
            code="bad_value",
        )
    return request.model_copy(update={"view_shift": 0.0})


def make_plan(
    request: GenerateRequest, card: ModelCard, load: Callable[[], Generator], reporter: Reporter
) -> DatasetPlan:
    """Check a request against its images.

    Args:
        request: as validated.
        card: the generator's.
        load: loads it; picklable.
        reporter: progress and cancel.

    Raises:
        InputError: whatever cannot work.
    """
    kind = kind_of(request)
    mix = _mix(request, kind)
    if request.least_change > request.most_change:
        raise InputError(
            f"At least {request.least_change:g} and at most {request.most_change:g} of the pixels change.",
            hint="The least share must not exceed the most.",
            code="bad_value",
        )
    labels = None if kind == "S0" else request.labels
    hold_out = partial(hold_out_images, share=request.val_share, seed=request.seed)
    sources, left_out = find_sources(
        request.image_dir, labels, request.bands, partial(scale, request, card), hold_out, reporter.check
    )
    kinds = tuple(
        event for event in EVENTS[kind] if any(event in together for together, weight in mix.items() if weight)
    )
    reading, rules = _labels(request, kind, card, sources, kinds, reporter.check)
    numbers, strange = generator_numbers(reading.classes, card)
    rules, alike = drawable(rules, numbers, reading.classes)
    found = find_places(
        sources,
        reading,
        rules.object_classes if "edit" not in kinds else frozenset(reading.classes.names) - {rules.background},
        request.size,
        rules.min_area,
        lambda done, total: reporter.step("read", done, total),
    )
    warnings = [
        *left_out,
        *scale_warnings(request, card, sources),
        *_size_warnings(sources, request.size),
        *_marks_warnings(reading.objects),
        *_barren_warnings(sources, [place for place, _ in found], request.size),
        *alike,
    ]
    if len(sources) == 1 and 0 < request.val_share < 1:
        sources, found = hold_out_end(sources[0], found, request.size, request.val_share)
    fertile = [place for place, has_objects in found if has_objects]
    _check_places(request, [place for place, _ in found], fertile)
    if strange:
        warnings.append(f"The generator does not know the classes {', '.join(strange)}; it draws them as class 0.")
    workshop = Workshop(
        recipe=_recipe(request, kind, mix, kinds, rules, numbers, card),
        reading=reading,
        size=request.size,
        seed=request.seed,
        model=(card.name, card.sha256),
        load=load,
        device=request.device,
        precision=request.precision,
    )
    return DatasetPlan(kind, reading.classes, sources, [place for place, _ in found], fertile, workshop, warnings)


def _recipe(
    request: GenerateRequest,
    kind: str,
    mix: dict[tuple[str, ...], float],
    kinds: tuple[str, ...],
    rules: Rules,
    numbers: NDArray[np.uint8],
    card: ModelCard,
) -> Recipe:
    """How each pair is made."""
    return Recipe(
        kind=kind,
        rules=rules,
        mix=mix,
        numbers=numbers,
        class_names=tuple(entry.name for entry in sorted(card.classes, key=lambda entry: entry.index)),
        contour=next((entry.index for entry in card.classes if entry.name == CONTOUR), None),
        least_change=request.least_change,
        most_change=request.most_change,
        removal=request.removal_probability,
        surroundings=request.surroundings,
        distractors=request.distractors,
        exemplar=request.init == "exemplar",
        settings=Settings(
            sampler=request.sampler,
            steps=request.sampling_steps,
            guidance_ratio=request.guidance_ratio,
            exemplar_level=request.exemplar_level,
            # Both dates are decoded from latents alone: detail from elsewhere on one of them would give it away.
            exemplar_detail=False,
            label_guidance=request.label_guidance or 1.0,
        ),
        # Whoever asks for one kind of event alone wants to see no other from A to B.
        both_ways=request.events is None or len(kinds) > 1,
        look=Look(request.photometry, request.season, request.misregistration, request.view_shift or 0.0),
    )


def orders(request: GenerateRequest, plan: DatasetPlan) -> Iterator[Order]:
    """The order of every pair; each follows from the seed and its number alone."""
    beside: dict[Source, list[Place]] = {}
    for place in plan.fertile:
        beside.setdefault(place.source, []).append(place)
    decks = {True: _Deck(plan.fertile, request.seed), False: _Deck(plan.places, request.seed)}
    for number in range(request.pairs):
        rng = np.random.default_rng([request.seed, number, PLACES])
        changes = bool(rng.random() >= request.unchanged)
        first = decks[changes].at(number)
        others = beside[first.source] if changes else [first]
        chosen = [first, *(others[int(i)] for i in rng.integers(len(others), size=TRIES - 1 if changes else 0))]
        yield Order(number, changes, [(_jittered(place, request.size, rng), place) for place in chosen])


class _Deck:
    """Places in an order drawn anew each time all of them were had."""

    def __init__(self, places: Sequence[Place], seed: int) -> None:
        self._places, self._seed = places, seed
        self._round, self._cards = -1, np.zeros(0, np.int64)

    def at(self, number: int) -> Place:
        """The place of a pair."""
        turn, card = divmod(number, len(self._places))
        if turn != self._round:
            rng = np.random.default_rng([self._seed, turn, DECK])
            self._round, self._cards = turn, rng.permutation(len(self._places))
        return self._places[int(self._cards[card])]


def _jittered(place: Place, size: int, rng: np.random.Generator) -> Place:
    """A place moved by up to half a square, inside its part of the image where that is large enough."""
    part, start = place.source.part, []
    for first, least, end in ((place.top, part.top, part.bottom), (place.left, part.left, part.right)):
        moved = first + int(rng.integers(-(size // 2), size // 2 + 1))
        start.append(min(max(moved, least), max(end - size, least)))
    return Place(place.source, *start)


def _mix(request: GenerateRequest, kind: str) -> dict[tuple[str, ...], float]:
    """The weight of each set of kinds of events that happen together in a pair."""
    if request.events is None:
        return {(event,): 1.0 for event in EVENTS[kind]}
    mix = {}
    for part in request.events.split(","):
        names, _, weight = part.strip().casefold().partition(":")
        together = tuple(sorted({name.strip() for name in names.split("+")}))
        try:
            # Named twice: which of the weights is meant?
            mix[together] = -1.0 if together in mix else float(weight or 1)
        except ValueError:
            mix[together] = -1.0
    known, weights = set(EVENTS[kind]), mix.values()
    if (
        not all(known.issuperset(together) for together in mix)
        or not all(0 <= weight < math.inf for weight in weights)
        or not 0 < sum(weights) < math.inf
    ):
        raise InputError(
            f"{request.events!r} is no mix of events for a data set of kind {kind}.",
            hint=f"Allowed are {', '.join(EVENTS[kind])}, or several in a pair, each once, with a weight if need be: "
            "create:2,remove:1,create+remove:3.",
            code="bad_event",
        )
    return mix


def _labels(
    request: GenerateRequest,
    kind: str,
    card: ModelCard,
    sources: Sequence[Source],
    kinds: tuple[str, ...],
    check: Callable[[], None],
) -> tuple[LabelReading, Rules]:
    """How labels are read, and what may happen to them."""
    if kind == "S0":
        return LabelReading(INSTANCES, True), Rules(kinds=kinds, object_classes=frozenset({1}))
    if request.labels is None:
        raise InputError(
            f"A data set of kind {kind} needs labels.",
            hint="Give a folder of label rasters (--labels), or use --kind S0.",
            code="no_labels",
        )
    is_named = bool(request.classes or _own_names(sources, check))
    marks = frozenset[int]() if is_named or kind != "S1" else _marks(request.object_classes)
    if marks:
        # The background is a number of the same rasters: building (1) if it is a mark, else the ground (0).
        left = request.background.strip()
        left = str(int(int(left) in marks)) if left.isdecimal() else left
        request = request.model_copy(update={"object_classes": None, "background": left})
    is_mask = kind == "S1" and not is_named and not request.object_classes
    classes = MASKS if is_mask else class_table(request.classes, sources[0].labels, card)
    rules = make_rules(request, classes, kinds)
    return LabelReading(classes, is_mask, marks, MOST_UNKNOWN if kind == "S1" else 1.0), rules


def _marks(object_classes: str | None) -> frozenset[int]:
    """Classes that are given by numbers alone; empty where any is named."""
    parts = [part.strip() for part in (object_classes or "").split(",") if part.strip()]
    return frozenset(map(int, parts)) if all(part.isdecimal() and int(part) for part in parts) else frozenset()


def _own_names(sources: Sequence[Source], check: Callable[[], None]) -> Mapping[int, str]:
    """The classes that the label rasters name, all of them the same; empty where none names any.

    Raises:
        InputError: ``bad_labels``; the numbers of one would mean other classes in another.
    """
    first, *others = (str(source.labels) for source in sources)
    names = _names_of(first)
    for path in others:
        check()
        if (theirs := _names_of(path)) != names:
            raise InputError(
                f"{first} names {_listed(names)}, {path} names {_listed(theirs)}; in a data set all name the same.",
                hint="Where their numbers mean the same give one table for all (--classes), else number them alike.",
                code="bad_labels",
            )
    return names


def _names_of(path: str) -> Mapping[int, str]:
    table = own_table(path)
    return table.names if table else {}


def _listed(names: Mapping[int, str]) -> str:
    return "the classes " + ", ".join(f"{index} {name}" for index, name in names.items()) if names else "no classes"


def _check_places(request: GenerateRequest, places: Sequence[Place], fertile: Sequence[Place]) -> None:
    if not places:
        raise InputError(
            f"No square of {request.size} pixels in {request.image_dir} holds an image whose labels are known: all is "
            "nodata.",
            hint="Use a smaller --size, or check the nodata value of the images and of their labels.",
            code="no_valid_pixels",
        )
    if not fertile and request.unchanged < 1:
        raise InputError(
            f"The labels in {request.labels} show nothing that could change: no object of more than 64 pixels.",
            hint="Check the labels' class numbers, or say which classes are objects (--object-classes).",
            code="no_objects",
        )


def _marks_warnings(marks: frozenset[int]) -> list[str]:
    if not marks:
        return []
    return [
        f"The label rasters name no classes, so {', '.join(map(str, sorted(marks)))} are taken for marks of buildings, "
        "and all else for the ground. Of other objects give the names (--object-classes water), or a table (--classes)."
    ]


def _barren_warnings(sources: Sequence[Source], places: Sequence[Place], size: int) -> list[str]:
    known = {place.source for place in places}
    barren = [source.image for source in sources if source not in known]
    if not barren:
        return []
    return [
        f"{len(barren)} of {len(sources)} images give no pair, {Path(barren[0]).name} among them: no square of {size} "
        "pixels there shows an image whose labels are known. Check their nodata values and class numbers."
    ]


def _size_warnings(sources: Sequence[Source], size: int) -> list[str]:
    small = [source for source in sources if min(source.shape) < size]
    if not small:
        return []
    return [
        f"{len(small)} of {len(sources)} images are smaller than {size} pixels as they are read; they go on mirrored. "
        "A smaller --size avoids that."
    ]
