"""Change event simulation, P(S_{t+1} | S_t): objects appear, vanish or change their class.

After Changen2 (Zheng et al. 2024, section on change event simulation). All draws depend on the seed, the step
and the objects alone, never on the blocks in which a map is worked through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from changen2.gpcm.labels import BLOCK, NODATA, Box, LabelMap
from changen2.gpcm.objects import Objects, find_objects
from changen2.gpcm.transitions import Transitions

KINDS = ("create", "remove", "edit")

MAX_SIDE = 2048
"""Objects wider or higher than this are not copied to other places: their footprint is held in memory."""


@dataclass(frozen=True)
class Rules:
    """What may happen in one step.

    Attributes:
        kinds: which of ``KINDS``.
        object_classes: classes whose objects are created and removed.
        background: class that is left where an object was removed.
        count: least and largest number of objects created, and of objects removed, in a step.
        min_area: only objects of more pixels are copied or removed; attribute edit takes objects of any size.
        tries: attempts to find a place for a created object.
        edit_probability: of each object to change its class.
        transitions: allowed classes by class; objects of other classes are not edited.
    """

    kinds: tuple[str, ...] = KINDS
    object_classes: frozenset[int] = frozenset({8})
    background: int = 0
    count: tuple[int, int] = (1, 5)
    min_area: int = 64
    tries: int = 50
    edit_probability: float = 0.3
    transitions: Transitions | None = None


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: create, remove or edit.
        number: from 1 within the step; marks its pixels in the map of events.
        from_class: class before; None for a creation, which may cover several.
        to_class: class after.
        area: pixels that it changes: those of an edit under an object created in the same step are the creation's.
        box: where.
    """

    kind: str
    number: int
    from_class: int | None
    to_class: int
    area: int
    box: Box


Covered = tuple[Box, NDArray[np.bool_]]
"""A window and which of its pixels [h, w] are covered."""

OnMark = Callable[[Box, NDArray[np.int32]], None]
"""Receives each touched window with the number of the event at each pixel (0 = none)."""


def simulate_step(
    now: LabelMap,
    then: LabelMap,
    rules: Rules,
    seed: int,
    step: int,
    *,
    block: int = BLOCK,
    on_mark: OnMark | None = None,
    on_block: Callable[[int, int], None] | None = None,
) -> list[Event]:
    """Let events happen to a map.

    Args:
        now: S_t; only read.
        then: a copy of S_t, which becomes S_{t+1}.
        rules: what may happen.
        seed: of the series.
        step: number of the step, so that each one draws anew.
        block: side of the blocks in which ``now`` is searched.
        on_mark: receives where each event acted.
        on_block: progress of the search (done, total), may raise to cancel.

    Returns:
        The events, numbered from 1.
    """
    objects = find_objects(now, block=block, on_block=on_block)
    mark = on_mark or (lambda box, numbers: None)
    removed = choose_removed(objects, rules, _generator(seed, step, "remove"))
    targets = choose_edits(objects, rules, _generator(seed, step, "edit"))
    if "remove" not in rules.kinds:
        removed = removed[:0]
    if "edit" not in rules.kinds:
        targets[:] = -1
    targets[removed] = rules.background
    chosen = np.flatnonzero(targets >= 0)
    numbers = np.zeros(len(objects), np.int32)
    numbers[chosen] = np.arange(1, len(chosen) + 1)
    _repaint(now, then, objects, targets, numbers, mark)
    created: list[Event] = []
    lost = np.zeros(len(chosen) + 1, np.int64)
    if "create" in rules.kinds:
        created, covered = _create(now, then, objects, rules, _generator(seed, step, "create"), len(chosen), mark)
        lost += _count_covered(now, objects, numbers, covered, len(chosen))
    gone = set(removed.tolist())
    changed = [
        Event(
            kind="remove" if int(index) in gone else "edit",
            number=int(numbers[index]),
            from_class=int(objects.classes[index]),
            to_class=int(targets[index]),
            area=int(objects.areas[index] - lost[numbers[index]]),
            box=objects.box(int(index)),
        )
        for index in chosen
    ]
    return changed + created


def choose_removed(objects: Objects, rules: Rules, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of k objects to remove, k uniform in ``rules.count`` (or all, where there are fewer)."""
    candidates = np.flatnonzero(_countable(objects, rules) & (objects.classes != rules.background))
    count = min(int(rng.integers(rules.count[0], rules.count[1] + 1)), len(candidates))
    return rng.choice(candidates, count, replace=False) if count else candidates[:0]


def choose_edits(objects: Objects, rules: Rules, rng: np.random.Generator) -> NDArray[np.int16]:
    """The new class of each object [n], −1 where it stays as it is."""
    chance, pick = rng.random(len(objects)), rng.random(len(objects))
    targets = np.full(len(objects), -1, np.int16)
    for source, allowed in (rules.transitions or {}).items():
        mine = (objects.classes == source) & (chance < rules.edit_probability)
        if allowed and source != NODATA:
            targets[mine] = np.array(allowed, np.int16)[(pick[mine] * len(allowed)).astype(np.int64)]
    return targets


def _generator(seed: int, step: int, kind: str) -> np.random.Generator:
    return np.random.default_rng([seed, step, KINDS.index(kind)])


def _countable(objects: Objects, rules: Rules) -> NDArray[np.bool_]:
    return np.isin(objects.classes, sorted(rules.object_classes)) & (objects.areas > rules.min_area)


def _repaint(
    now: LabelMap,
    then: LabelMap,
    objects: Objects,
    targets: NDArray[np.int16],
    numbers: NDArray[np.int32],
    mark: OnMark,
) -> None:
    """Give the objects that have a target [n] their new class and mark them by their numbers [n], block by block."""
    boxes = objects.boxes[targets >= 0]
    for box in objects.blocks():
        near = (
            (boxes[:, 0] < box.bottom) & (boxes[:, 2] > box.top) & (boxes[:, 1] < box.right) & (boxes[:, 3] > box.left)
        )
        if not near.any():
            continue
        values = now.read(box)
        ids = objects.ids(box, values)
        new = targets[ids]
        then.write(box, np.where(new >= 0, new, then.read(box)).astype(np.uint8))
        mark(box, numbers[ids])


def _create(
    now: LabelMap,
    then: LabelMap,
    objects: Objects,
    rules: Rules,
    rng: np.random.Generator,
    before: int,
    mark: OnMark,
) -> tuple[list[Event], list[Covered]]:
    """Copy footprints of existing objects to places where none stands; also return what of the repainted they cover."""
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    candidates = np.flatnonzero(_countable(objects, rules) & (sides.max(axis=1, initial=0) <= MAX_SIDE))
    events: list[Event] = []
    covered: list[Covered] = []
    if not len(candidates):
        return events, covered
    for _ in range(int(rng.integers(rules.count[0], rules.count[1] + 1))):
        index = int(rng.choice(candidates))
        footprint = objects.footprint(now, index)
        box = _free_place(now, then, footprint, rules, rng)
        if box is None:
            continue
        number = before + len(events) + 1
        to_class = int(objects.classes[index])
        values = then.read(box)
        repainted = footprint & (values != now.read(box))
        if repainted.any():
            covered.append((box, repainted))
        values[footprint] = to_class
        then.write(box, values)
        mark(box, np.where(footprint, number, 0).astype(np.int32))
        events.append(Event("create", number, None, to_class, int(objects.areas[index]), box))
    return events, covered


def _count_covered(
    now: LabelMap, objects: Objects, numbers: NDArray[np.int32], covered: list[Covered], count: int
) -> NDArray[np.int64]:
    """How many pixels of each event [count + 1] are covered, by the numbers of the objects' events [n]."""
    lost = np.zeros(count + 1, np.int64)
    for block in objects.blocks():
        parts = [(block.meet(box), box, mask) for box, mask in covered]
        parts = [(part, box, mask) for part, box, mask in parts if 0 not in part.shape]
        if not parts:
            continue
        here = numbers[objects.ids(block, now.read(block))]
        for part, box, mask in parts:
            lost += np.bincount(here[part.inside(block)][mask[part.inside(box)]], minlength=count + 1)
    return lost


def _free_place(
    now: LabelMap, then: LabelMap, footprint: NDArray[np.bool_], rules: Rules, rng: np.random.Generator
) -> Box | None:
    """A place where no object stands under the footprint at either date, or None after all tries."""
    height, width = now.shape
    rows, columns = footprint.shape
    taken = [*sorted(rules.object_classes), NODATA]
    for _ in range(rules.tries):
        top = int(rng.integers(height - rows + 1))
        left = int(rng.integers(width - columns + 1))
        box = Box(top, left, top + rows, left + columns)
        if not any(np.isin(labels.read(box)[footprint], taken).any() for labels in (now, then)):
            return box
    return None
