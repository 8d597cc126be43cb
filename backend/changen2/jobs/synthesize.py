"""Draw the images that follow from change events: the synthesize job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from changen2.gpcm.labels import Box
from changen2.gpcm.synthesis import Generator
from changen2.heap import kept_memory
from changen2.jobs.runs.folder import SERIES, run_folder, series_there
from changen2.jobs.runs.journal import note_request
from changen2.jobs.runs.manifest import describe_input, describe_layer, versions, write_manifest
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.jobs.synthesis import rates
from changen2.jobs.synthesis.event_series import EventSeries, rows_inside
from changen2.jobs.synthesis.events import LAYER, EventRow, write_events
from changen2.jobs.synthesis.found_buildings import FOUND
from changen2.jobs.synthesis.given_instances import describe_instances
from changen2.jobs.synthesis.image_drawing import Drawing, DrawingPlan
from changen2.jobs.synthesis.instance_raster import AUTO
from changen2.jobs.synthesis.label_series import LabelRaster, copy_labels, write_change
from changen2.jobs.synthesis.model_defaults import settled, unheard
from changen2.jobs.synthesis.overlays import Cropped, SparseRaster
from changen2.jobs.synthesis.plan import Inputs, files_of, let_happen, make_drawing_plan, open_inputs
from changen2.models.devices import PRECISIONS
from changen2.models.registry import ModelCard, card_of, load_generator
from changen2.protocol import SynthesizeRequest, validate
from changen2.raster.area import Area
from changen2.raster.cover import Cover, polygonal
from changen2.raster.gdal import gdal_environment


def synthesize(
    image: str | Path,
    out_dir: str | Path,
    *,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Draw a time series from one image and change events.

    Writes ``image_t1.tif … image_tN.tif``, ``labels_t0.tif … labels_tN.tif``, ``change_t0_t1.tif …``,
    ``change_events.gpkg`` and ``manifest.json``. Outside the change the images equal the input.

    Args:
        image: the raster to start from; see ``SynthesizeRequest`` for it and every option.
        out_dir: folder for the outputs.
        on_progress: receives ``Progress``.
        is_cancelled: asked between windows of the model.
        **options: fields of ``SynthesizeRequest``.

    Returns:
        ``outputs`` (name → path), ``summary`` and ``warnings``.

    Raises:
        InputError: bad input; nothing is left behind but finished steps, if any: ``resume`` goes on after them.
        JobError: the job failed; as above.
        Cancelled: ``is_cancelled`` said so; as above.
    """
    request = validate(SynthesizeRequest, {"image": image, "out_dir": out_dir, **options})
    return run(request, Reporter(on_progress, is_cancelled))


def run(request: SynthesizeRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request with the generator that it names."""
    card = card_of(request.model, "synthesize")
    return run_with(request, card, lambda: load_generator(card), reporter)


def run_with(
    request: SynthesizeRequest, card: ModelCard, load: Callable[[], Generator], reporter: Reporter
) -> dict[str, Any]:
    """Run a validated request with a generator that is loaded once the inputs are found good."""
    began, clock = datetime.now(timezone.utc), time.monotonic()
    asked, request = request, settled(request, card)
    folder = run_folder(request, SERIES, (request.image, *files_of(request)))
    with gdal_environment(), kept_memory(), ExitStack() as stack:
        inputs = open_inputs(request, card, stack)
        inputs.image.radiometry()  # measured, and refused where no pixel is valid, before anything is written
        generator = load()
        with folder, ExitStack() as files:
            series = let_happen(request, inputs, folder.work, files, reporter)
            names, changed = _write_labels(inputs, series, folder.work, reporter)
            plan = make_drawing_plan(request, card, inputs, series)
            drawing = Drawing(plan, generator, folder.work, reporter)
            note_request(folder.work, "synthesize", request)
            names += drawing.run()
            rates.remember(request, card, drawing.rates)
            rows = _rows_of_output(series, inputs.area)
            write_events(folder.work / "change_events.gpkg", rows, inputs.area.grid)
            summary = {
                "steps": len(series.steps),
                "events": dict(Counter(row.event for row in rows)),
                "changed_px": changed,
                **drawing.summary,
                "model": card.name,
                "seconds": round(time.monotonic() - clock, 2),
            }
            warnings = [*inputs.notes, *unheard(asked, request), *series.warnings]
            names += ["change_events.gpkg", "manifest.json"]
            outputs = {_key(name): name for name in names}
            manifest = {
                **_manifest(request, card, inputs, plan, began),
                "batch_size": drawing.batch_size,
                **_detector(summary),
                "summary": summary,
                "warnings": warnings,
                "outputs": outputs,
            }
            write_manifest(folder.work / "manifest.json", manifest)
            placed = folder.publish(names, series_there(folder.path))
    return {
        "outputs": {key: str(placed[name]) for key, name in outputs.items()},
        "summary": summary,
        "warnings": warnings,
    }


def _write_labels(inputs: Inputs, series: EventSeries, work: Path, reporter: Reporter) -> tuple[list[str], list[int]]:
    """Write label and change maps of the area asked for; return their names and the changed pixels of each step."""
    window = inputs.area.window
    grid = inputs.image.grid.crop(window)
    names, changed = [], []
    paths = [series.steps[0].now, *(step.then for step in series.steps)]
    for number, path in enumerate(paths):

        def on_block(done: int, total: int, number: int = number) -> None:
            reporter.step("labels", number * total + done, len(paths) * total)

        with ExitStack() as stack:
            names.append(f"labels_t{number}.tif")
            now = series.open(path, stack)
            target = LabelRaster(work / names[-1], grid, inputs.classes)
            stack.callback(target.close)
            copy_labels(Cropped(now, window), target, on_block)
            target.finish()
            if number:
                names.append(f"change_t{number - 1}_t{number}.tif")
                before = series.open(paths[number - 1], stack)
                changed.append(write_change(work / names[-1], grid, Cropped(before, window), Cropped(now, window)))
    return names, changed


def _rows_of_output(series: EventSeries, area: Area) -> list[EventRow]:
    """What events do in the area asked for, in the coordinates of the outputs."""
    inside = _cut_off(rows_inside(series.rows, area), series, area)
    if area.grid.crs is not None:
        return inside
    # Without CRS the pixels of a cropped output count from its own corner.
    corner = np.array([area.window.col_off, area.window.row_off])
    return [replace(row, geometry=shapely.transform(row.geometry, lambda places: places - corner)) for row in inside]


def _cut_off(rows: list[EventRow], series: EventSeries, area: Area) -> list[EventRow]:
    """Events without what of them lies beside the window: of the cut ones the changed pixels in it are counted.

    Where drawn events overlap, a pixel that both changed counts for each of those that are cut.
    """
    frame = shapely.box(*area.grid.crop(area.window).bounds())
    kept = []
    for row in rows:
        if not frame.covers(row.geometry):
            geometry = polygonal(row.geometry.intersection(frame))
            row = replace(
                row, geometry=geometry, area_px=min(row.area_px, _changed_px(geometry, row.step, series, area))
            )
        kept.append(row)
    return kept


def _changed_px(geometry: BaseGeometry, step: int, series: EventSeries, area: Area) -> int:
    """How many pixels under a shape change at a step, in the window asked for."""
    cover, count = Cover([geometry]), 0
    change = SparseRaster(series.steps[step - 1].change, area.grid, 0)
    for block in Box.of(area.window).blocks():
        part = area.grid.crop(block.window)
        if geometry.intersects(shapely.box(*part.bounds())):
            count += int((cover.burn(block.shape, part.transform) & (change.read(block) == 1)).sum())
    change.close()
    return count


def _manifest(
    request: SynthesizeRequest, card: ModelCard, inputs: Inputs, plan: DrawingPlan, began: datetime
) -> dict[str, Any]:
    import torch

    image = {
        **describe_input(request.image),
        "bands": inputs.image.aligned.bands,
        "stretch": inputs.image.aligned.stretch.model_dump(),
        "bands_guessed": [index + 1 for index in inputs.image.unknown],
    }
    given = {"image": image}
    if request.labels is not None:
        given["labels"] = describe_input(request.labels)
    if request.events is not None:
        given["events"] = describe_layer(request.events, usual=(LAYER,))
    if request.instances not in (None, AUTO):
        given["instances"] = describe_instances(request.instances)
    if request.aoi is not None:
        given["aoi"] = describe_layer(request.aoi)
    started = "the sampler started from noise"
    if request.init == "exemplar":
        started = (
            "changed places started from a picture of the wanted class (summary, exemplars: from where), noised to "
            f"{request.exemplar_level:g} of the diffusion (SDEdit, Meng et al. 2022); its fine detail was laid back"
        )
    return {
        "job": "synthesize",
        "began": began.isoformat(),
        "versions": versions(),
        "model": card.model_dump(include={"name", "title", "sha256", "licence", "noncommercial"}),
        "inputs": given,
        "parameters": request.model_dump(exclude={"image"}),
        "classes": dict(inputs.classes.names),
        "grid": {"gsd_m": inputs.gsd, "window": list(inputs.area.window.flatten())},
        "start": started,
        "device": str(plan.device),
        "precision": PRECISIONS[plan.precision],
        "threads": torch.get_num_threads(),
    }


def _detector(summary: dict[str, Any]) -> dict[str, Any]:
    """The detector, where it found the houses that new ones were made from or coloured by."""
    if FOUND not in summary.get("exemplars", {}):
        return {}
    return {"detector": card_of("tiny").model_dump(include={"name", "title", "sha256", "licence"})}


def _key(name: str) -> str:
    return name.split(".")[0]
