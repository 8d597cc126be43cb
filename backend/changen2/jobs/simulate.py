"""Simulate change events on a label map: a time series of semantic and change labels."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from changen2.errors import InputError
from changen2.gpcm.classes import ClassTable
from changen2.gpcm.drawn import DrawnEvent, apply_drawn
from changen2.gpcm.labels import Box, Labels, Readable
from changen2.gpcm.simulation import KINDS, Event
from changen2.jobs.runs.folder import SERIES, check_apart, is_unfinished, series_there
from changen2.jobs.runs.manifest import describe_input, describe_layer, versions, write_manifest
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.jobs.synthesis.condition import INSTANCES
from changen2.jobs.synthesis.event_rules import background_class, make_rules
from changen2.jobs.synthesis.event_series import Happen, by_rules, no_change
from changen2.jobs.synthesis.events import LAYER, EventRow, MarkRaster, footprints, read_events, to_grid, write_events
from changen2.jobs.synthesis.given_instances import describe_instances
from changen2.jobs.synthesis.image_series import SourceImage
from changen2.jobs.synthesis.instance_raster import AUTO, InstanceLabels, OnBlock, Removals, find_instances
from changen2.jobs.synthesis.label_series import LabelRaster, LabelSource, copy_labels, write_change
from changen2.jobs.synthesis.overlays import FirstLabels
from changen2.paths import local_file, only_gdal_can_tell
from changen2.protocol import SimulateRequest, validate
from changen2.raster.area import Area
from changen2.raster.gdal import gdal_environment
from changen2.raster.grid import Grid
from changen2.raster.output_folder import OutputFolder


def simulate(
    labels: str | Path,
    out_dir: str | Path,
    *,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write ``labels_t0.tif … labels_tN.tif``, ``change_t0_t1.tif …``, ``change_events.gpkg`` and a manifest.

    Args:
        labels: raster of class numbers; see ``SimulateRequest`` for it and every option.
        out_dir: folder for the outputs.
        on_progress: receives ``Progress``.
        is_cancelled: asked between blocks.
        **options: fields of ``SimulateRequest``.

    Returns:
        ``outputs`` (name → path), ``summary`` and ``warnings``.

    Raises:
        InputError: bad input; nothing is left behind.
        JobError: ``disk``: the disk is full; as above.
        Cancelled: ``is_cancelled`` said so.
    """
    request = validate(SimulateRequest, {"labels": labels, "out_dir": out_dir, **options})
    return run(request, Reporter(on_progress, is_cancelled))


def run(request: SimulateRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request."""
    began, clock = datetime.now(timezone.utc), time.monotonic()
    check_apart(request.out_dir, SERIES, (request.labels, request.instances, request.events))
    with (
        gdal_environment(),
        ExitStack() as inputs,
        OutputFolder(request.out_dir, overwrite=request.overwrite, results=SERIES, unfinished=is_unfinished) as out,
        ExitStack() as files,
    ):
        source = _open(request, inputs, out.work, files)
        plan = _Plan(request, source)
        series = _Series(out.work, source, plan, reporter)
        series.run()
        write_events(out.work / "change_events.gpkg", series.rows, source.grid)
        if not series.rows:
            plan.warnings.append("No event could happen: there are no objects to act on, or no room for new ones.")
        warnings = [*source.notes, *plan.warnings]
        summary = {
            "steps": plan.steps,
            "events": dict(Counter(row.event for row in series.rows)),
            "changed_px": series.changed,
            "seconds": round(time.monotonic() - clock, 2),
        }
        names = [*series.names, "change_events.gpkg", "manifest.json"]
        manifest = {
            "job": "simulate",
            "began": began.isoformat(),
            "versions": versions(),
            "inputs": _inputs(request, plan),
            "parameters": request.model_dump(exclude={"labels"}),
            "classes": dict(source.classes.names),
            "summary": summary,
            "warnings": warnings,
            "outputs": {_key(name): name for name in names},
        }
        write_manifest(out.work / "manifest.json", manifest)
        placed = out.publish(names, series_there(out.path))
    outputs = {_key(name): str(path) for name, path in placed.items()}
    return {"outputs": outputs, "summary": summary, "warnings": warnings}


@dataclass(frozen=True)
class _Source:
    """S_0, and how instances go from it where it has no classes."""

    grid: Grid
    classes: ClassTable
    labels: Readable
    removals: Callable[[OnBlock], Removals] | None = None
    notes: Sequence[str] = ()

    @property
    def shape(self) -> tuple[int, int]:
        return self.grid.height, self.grid.width

    def read(self, box: Box) -> Labels:
        return self.labels.read(box)


def _open(request: SimulateRequest, inputs: ExitStack, work: Path, files: ExitStack) -> _Source:
    """The labels, or the instances of an image without."""
    if request.instances is None:
        table = ClassTable.read(request.classes) if request.classes else None
        labels = inputs.enter_context(LabelSource(request.labels, classes=table, may_be_mask=True))
        return _Source(labels.grid, labels.classes, labels, notes=labels.notes)
    if request.classes is not None:
        raise InputError(
            f"A class table ({request.classes}) is given, but instances have no classes.",
            hint="Leave --classes or --instances out.",
            code="bad_value",
        )
    image = inputs.enter_context(SourceImage(request.labels, request.bands))
    instances, notes = find_instances(request.instances, image, work, files)
    valid = image.valid if image.may_be_invalid else None
    first = FirstLabels(image.grid, InstanceLabels(instances), valid, Area.choose(image.grid))
    everywhere = Box(0, 0, *image.shape)

    def removals(on_block: OnBlock) -> Removals:
        return Removals(instances, everywhere, request.seed, request.removal_probability, on_block)

    return _Source(image.grid, INSTANCES, first, removals, notes)


class _Plan:
    """What will happen: drawn events, removal of instances or rules, and for how many steps."""

    def __init__(self, request: SimulateRequest, source: _Source) -> None:
        self.seed = request.seed
        self.warnings: list[str] = []
        self.drawn: list[DrawnEvent] | None = None
        kinds = tuple(part.strip().casefold() for part in request.events.split(",") if part.strip())
        if kinds and all(kind in KINDS for kind in kinds):
            self.steps = request.steps or 1
            if source.removals is not None:
                if "remove" not in kinds:
                    raise InputError(
                        f"Without labels only removal can be simulated, not {request.events}.",
                        hint="Give a raster of classes, or let instances be removed (--events remove).",
                        code="no_labels",
                    )
                return
            self.rules = make_rules(request, source.classes, kinds)
            return
        if not only_gdal_can_tell(request.events) and local_file(request.events) is None:
            raise InputError(
                f"{request.events!r} is neither a list of events nor a file.",
                hint=f"Events are {', '.join(KINDS)}, parted by commas; or name a vector file of drawn events.",
                code="bad_event",
            )
        self.drawn, self.warnings = read_events(
            request.events,
            source.grid,
            source.classes,
            request.steps,
            partial(background_class, request, source.classes, needed=True),
        )
        self.steps = request.steps or max(event.step for event in self.drawn)


def _inputs(request: SimulateRequest, plan: _Plan) -> dict[str, Any]:
    """What the simulation was made of, as its manifest states it."""
    given = {"labels": describe_input(request.labels)}
    if plan.drawn is not None:
        given["events"] = describe_layer(request.events, usual=(LAYER,))
    if request.instances not in (None, AUTO):
        given["instances"] = describe_instances(request.instances)
    return given


class _Series:
    """The maps of all steps, written one after the other; only two are open at a time."""

    def __init__(self, work: Path, source: _Source, plan: _Plan, reporter: Reporter) -> None:
        self._work, self._source, self._plan, self._reporter = work, source, plan, reporter
        self._grid: Grid = source.grid
        self._blocks = len(list(Box(0, 0, *source.shape).blocks()))
        self.names: list[str] = []
        self.rows: list[EventRow] = []
        self.changed: list[int] = []

    def run(self) -> None:
        """Make all steps."""
        now = self._open(0)
        then = now
        try:
            copy_labels(self._source, now, lambda done, total: self._reporter.step("read", done, total))
            for step in range(1, self._plan.steps + 1):
                then = self._open(step)
                copy_labels(now, then, lambda done, total: self._reporter.check())
                self._step(now, then, step)
                now.finish()
                now = then
            now.finish()
        finally:
            now.close()
            then.close()

    def _open(self, step: int) -> LabelRaster:
        self.names.append(f"labels_t{step}.tif")
        return LabelRaster(self._work / self.names[-1], self._grid, self._source.classes)

    def _step(self, now: LabelRaster, then: LabelRaster, step: int) -> None:
        """Let the events of one step happen, and write its change map."""
        total = self._blocks * self._plan.steps

        def on_block(step: int, done: int, of: int) -> None:
            self._reporter.step("simulate", (step - 1) * self._blocks + done * self._blocks // of, total)

        name = f"change_t{step - 1}_t{step}.tif"
        self.names.append(name)
        if self._plan.drawn is not None:
            events = apply_drawn(then, self._plan.drawn, step, check=self._reporter.check)
            self.changed.append(write_change(self._work / name, self._grid, now, then))
            self._keep_drawn(events, step)
            on_block(step, self._blocks, self._blocks)
            return
        marks = MarkRaster(self._work / "marks.tif", self._grid)
        try:
            events = self._happen(on_block)(now, then, step, marks.mark)
        finally:
            marks.close()
        self.changed.append(write_change(self._work / name, self._grid, now, then))
        for event, geometry in footprints(marks.path, self._work / name, events, self._reporter.check):
            self._keep(event, step, geometry, "simulated")
        marks.path.unlink()

    def _happen(self, on_block: OnBlock) -> Happen:
        """How events happen by themselves."""
        if self._source.removals is not None:
            return self._source.removals(on_block).happen
        return by_rules(self._plan.rules, self._plan.seed, on_block)

    def _keep_drawn(self, events: list[Event], step: int) -> None:
        """Record drawn events with the polygons that were drawn."""
        for event, drawn in zip(events, [e for e in self._plan.drawn or [] if e.step == step], strict=True):
            self._keep(event, step, to_grid(drawn.geometry, self._grid), "drawn")
        self._plan.warnings += no_change(events, step, self._source.classes.names)

    def _keep(self, event: Event, step: int, geometry: Any, origin: str) -> None:
        names = self._source.classes.names
        self.rows.append(
            EventRow(
                geometry=geometry,
                event=event.kind,
                to_class=names[event.to_class],
                step=step,
                from_class=None if event.from_class is None else names.get(event.from_class),
                area_px=event.area,
                origin=origin,
            )
        )


def _key(name: str) -> str:
    return name.split(".")[0]
