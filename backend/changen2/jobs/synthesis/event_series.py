"""The events of a whole series on labels, before any image is drawn: cost follows the events, not the raster."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from changen2.gpcm.classes import ClassTable
from changen2.gpcm.drawn import DrawnEvent, apply_drawn
from changen2.gpcm.labels import Box, LabelMap, Labels, change
from changen2.gpcm.regions import Mask
from changen2.gpcm.simulation import Event, OnMark, Rules, simulate_step
from changen2.jobs.synthesis.events import EventRow, MarkRaster, footprints, to_grid
from changen2.jobs.synthesis.instance_raster import OnBlock, Removals
from changen2.jobs.synthesis.overlays import FirstLabels, LabelOverlay, SparseRaster
from changen2.raster.area import Area
from changen2.raster.grid import Grid

SIDE = 1024
"""Side of the blocks, on the raster's grid, in which change is looked for around events."""

Happen = Callable[[LabelMap, LabelMap, int, OnMark], list[Event]]
"""(S_t, a copy of it that becomes S_{t+1}, step, receiver of marks) → what happened."""


@dataclass(frozen=True)
class Step:
    """One step of a series.

    Attributes:
        number: from 1.
        now, then: what S_t and S_{t+1} have over S_0.
        change: where they differ; 0 and 1.
        blocks: in which there may be change.
        block: side, in pixels, of blocks of the raster whose events are drawn apart, as none crosses their edges; None
            where any may.
    """

    number: int
    now: Path
    then: Path
    change: Path
    blocks: list[Box]
    block: int | None = None

    def occupied(self, grid: Grid, cell: int) -> Mask:
        """Which square cells of ``cell`` pixels hold change [rows, columns]."""
        found = np.zeros((-(-grid.height // cell), -(-grid.width // cell)), bool)
        changed = SparseRaster(self.change, grid, 0)
        for block in self.blocks:
            rows, columns = np.nonzero(changed.read(block))
            found[(rows + block.top) // cell, (columns + block.left) // cell] = True
        changed.close()
        return found


class EventSeries:
    """Lets events happen step by step.

    Args:
        work: folder for what is needed in between.
        grid: of the image.
        classes: names for the events layer.
        first: S_0.
        block: as of :class:`Step`.
        numbers: the generator's class for each class [256]; None where no generator's matter.

    Attributes:
        steps: what changed at each step.
        rows: what happened, for the events layer.
        warnings: what the user should know.
        removals: of instances, where no classes are known.
    """

    def __init__(
        self,
        work: Path,
        grid: Grid,
        classes: ClassTable,
        first: FirstLabels,
        block: int | None = None,
        numbers: NDArray[np.uint8] | None = None,
    ) -> None:
        self._work, self._grid, self._classes, self._first, self._block = work, grid, classes, first, block
        self._numbers = numbers
        self.steps: list[Step] = []
        self.rows: list[EventRow] = []
        self.warnings: list[str] = []
        self.removals: Removals | None = None

    def labels(self, path: Path) -> LabelOverlay:
        """One of the maps, to be closed by the caller."""
        return LabelOverlay(self._first, path, self._grid)

    def open(self, path: Path, stack: ExitStack) -> LabelOverlay:
        """One of the maps, closed with the stack."""
        labels = self.labels(path)
        stack.callback(labels.close)
        return labels

    def around(self, path: Path, stack: ExitStack) -> LabelOverlay:
        """One of the maps, with the labels beside the area of interest, too; to read only, closed with the stack."""
        labels = LabelOverlay(self._first.everywhere(), path, self._grid)
        stack.callback(labels.close)
        return labels

    def draw(self, drawn: list[DrawnEvent], steps: int, check: Callable[[], None]) -> None:
        """Burn the events that an analyst drew; ``check`` may raise to cancel."""

        def happen(now: LabelMap, then: LabelMap, step: int, mark: OnMark) -> list[Event]:
            return apply_drawn(then, drawn, step, check=check)

        def outlines(step: int, change: Path, events: list[Event]) -> list[tuple[Event, BaseGeometry]]:
            mine = [event.geometry for event in drawn if event.step == step]
            return [(e, to_grid(geometry, self._grid)) for e, geometry in zip(events, mine, strict=True)]

        self._run(happen, steps, "drawn", outlines, check)

    def simulate(self, happen: Happen, steps: int, check: Callable[[], None]) -> None:
        """Let events happen by themselves; ``check`` may raise to cancel."""

        def outlines(step: int, change: Path, events: list[Event]) -> list[tuple[Event, BaseGeometry]]:
            return list(footprints(self._path("marks"), change, events, check))

        self._run(happen, steps, "simulated", outlines, check)

    def _run(
        self,
        happen: Happen,
        steps: int,
        origin: str,
        outlines: Callable[[int, Path, list[Event]], list[tuple[Event, BaseGeometry]]],
        check: Callable[[], None],
    ) -> None:
        before = self._fresh("labels_0")
        self.labels(before).close()
        for number in range(1, steps + 1):
            after = self._fresh(f"labels_{number}")
            shutil.copyfile(before, after)
            now, then = self.labels(before), self.labels(after)
            marks = MarkRaster(self._fresh("marks"), self._grid)
            try:
                events = happen(now, then, number, marks.mark)
                around = _around(events, self._grid)
                step = Step(number, before, after, self._fresh(f"change_{number}"), around, self._block)
                self._compare(step, now, then, check)
            finally:
                marks.close()
                now.close()
                then.close()
            self.steps.append(step)
            kept = outlines(number, step.change, events)
            for event, geometry in kept:
                self._keep(event, number, geometry, origin)
            self.warnings += no_change((event for event, _ in kept), number, self._classes.names)
            before = after

    def _path(self, name: str) -> Path:
        return self._work / f"{name}.sparse.tif"

    def _fresh(self, name: str) -> Path:
        path = self._path(name)
        path.unlink(missing_ok=True)
        return path

    def _compare(self, step: Step, now: LabelMap, then: LabelMap, check: Callable[[], None]) -> None:
        target = SparseRaster(step.change, self._grid, 0)
        alike: Counter[tuple[int, int]] = Counter()
        for block in step.blocks:
            check()
            before, after = now.read(block), then.read(block)
            differs = change(before, after) == 1
            if differs.any():
                target.write(block, differs.astype(np.uint8))
                alike += self._drawn_alike(before[differs], after[differs])
        target.close()
        names = self._classes.names
        self.warnings += [
            f"{count} pixels change from {names[source]} to {names[target]} at step {step.number}, which the generator "
            "draws alike: the labels tell of that change, the image hardly does."
            for (source, target), count in sorted(alike.items())
        ]

    def _drawn_alike(self, before: Labels, after: Labels) -> Counter[tuple[int, int]]:
        """How many of some changed pixels [n] the generator is told nothing new of, by their classes."""
        if self._numbers is None:
            return Counter()
        same = self._numbers[before] == self._numbers[after]
        pairs, counts = np.unique(np.stack([before[same], after[same]]), axis=1, return_counts=True)
        return Counter(
            {(int(source), int(target)): int(n) for (source, target), n in zip(pairs.T, counts, strict=True)}
        )

    def _keep(self, event: Event, step: int, geometry: BaseGeometry, origin: str) -> None:
        names = self._classes.names
        before = None if event.from_class is None else names.get(event.from_class)
        self.rows.append(
            EventRow(geometry, event.kind, names[event.to_class], step, before, event.area, origin)
        )  # fmt: skip


def rows_inside(rows: list[EventRow], area: Area) -> list[EventRow]:
    """The events that act in the window that is asked for; what only touches it from outside does not."""
    frame = shapely.box(*area.grid.crop(area.window).bounds())
    shapely.prepare(frame)
    return [row for row in rows if frame.intersects(row.geometry) and not frame.touches(row.geometry)]


def no_change(events: Iterable[Event], step: int, names: Mapping[int, str]) -> list[str]:
    """What to say of those of a step's events that change nothing: a sentence for all that are alike.

    Args:
        events: of the step.
        step: its number.
        names: of the classes.
    """
    idle = Counter((event.kind, names[event.to_class]) for event in events if event.area == 0)
    said = []
    for (kind, to_class), count in idle.items():
        who, change = ("A drawn event", "changes") if count == 1 else (f"{count:,} drawn events", "change")
        said.append(
            f"{who} ({kind}, step {step}) {change} no pixel: none with a label has its centre there, or all that have "
            f"are {to_class} already."
        )
    return said


def by_rules(rules: Rules, seed: int, on_block: OnBlock) -> Happen:
    """Creation, removal and edit on labels; ``on_block`` as of :class:`Removals`."""

    def happen(now: LabelMap, then: LabelMap, step: int, mark: OnMark) -> list[Event]:
        return simulate_step(now, then, rules, seed, step, on_mark=mark, on_block=partial(on_block, step))

    return happen


def _around(events: list[Event], grid: Grid) -> list[Box]:
    """The blocks of the raster in which events may have changed something, in reading order."""
    places = set()
    for event in events:
        box = event.box.clip((grid.height, grid.width))
        if event.area:
            for row in range(box.top // SIDE, -(-box.bottom // SIDE)):
                places |= {(row, column) for column in range(box.left // SIDE, -(-box.right // SIDE))}
    shape = grid.height, grid.width
    return [Box(r * SIDE, c * SIDE, (r + 1) * SIDE, (c + 1) * SIDE).clip(shape) for r, c in sorted(places)]
