"""Find change between two rasters: the detect job."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError
from changen2.heap import kept_memory
from changen2.jobs.cluster.crew import crew
from changen2.jobs.cluster.detection import ClusterPredictor, Date
from changen2.jobs.detection.alignment import doubt, grid_of_after, open_after, undone
from changen2.jobs.detection.calibrated import scaling_of
from changen2.jobs.detection.change_map import Decoder, DetectionMaps, polygons_of
from changen2.jobs.detection.plan import Plan, make_plan
from changen2.jobs.runs.folder import files_there, run_folder
from changen2.jobs.runs.journal import Journal, begun_as, note_request, stamps
from changen2.jobs.runs.manifest import describe_input, describe_layer, versions, write_manifest
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.models.devices import PRECISIONS, choose_device, choose_precision, default_threads
from changen2.models.predictor import Predictor, batch_that_fits
from changen2.models.registry import load_model
from changen2.protocol import DetectRequest, EstimateRequest, validate
from changen2.raster.blending import Carry
from changen2.raster.gdal import gdal_environment
from changen2.raster.output_folder import OutputFolder
from changen2.raster.pipeline import run_tiles
from changen2.raster.reading import AlignedRaster
from changen2.raster.registration import Shift
from changen2.raster.resampling import blocks_of, resample_nearest, resample_probability, source_window
from changen2.raster.tiles import Block
from changen2.raster.vectors import Classes, total_area

RESULTS = (
    r"(change_probability\.tif|change_class\.tif|semantic_(before|after)\.tif|manifest\.json"
    r"|(threshold \d\.\d\d( \(\d+\))?/)?(change\.(tif|gpkg)|vectorize_manifest\.json))(\.aux\.xml)?"
)
"""Names of what a detection writes, of what the plugin makes of it at other thresholds in folders of their own, and of
what GDAL notes beside them. A detection replaces all of it: class maps of another model, or polygons of another
probability, would be taken for its own."""

EDITION = 3
"""Raised where pixels follow from a request in another way than before: an unfinished run of another is not resumed."""

_seconds_per_pixel: dict[tuple[str, str], float] = {}
"""Measured by the runs of this process: model and device → seconds for a pixel of a tile."""


def detect(
    before: str | Path,
    after: str | Path,
    out_dir: str | Path,
    *,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Detect change and write the maps, the polygons and the manifest.

    Args:
        before, after: rasters; see ``DetectRequest`` for them and every option.
        out_dir: folder for the outputs.
        on_progress: receives ``Progress``.
        is_cancelled: asked between the parts of the network.
        **options: fields of ``DetectRequest``.

    Returns:
        ``outputs`` (name → path), ``summary`` and ``warnings``.

    Raises:
        InputError: bad input; nothing is left behind but finished blocks, if any: ``resume`` goes on after them.
        JobError: the job failed; as above.
        Cancelled: ``is_cancelled`` said so; as above.
    """
    request = validate(DetectRequest, {"before": before, "after": after, "out_dir": out_dir, **options})
    return run(request, Reporter(on_progress, is_cancelled))


def run(request: DetectRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request with the model that it names."""
    with gdal_environment():
        plan = make_plan(request)
        folder = output_folder(request)
        if request.dask is None:
            return run_plan(plan, load_predictor(plan), folder, reporter)
        with crew(1, request.dask, request.device) as workers:
            begun = begun_as(folder.work) if folder.goes_on else {}
            return run_plan(plan, ClusterPredictor(plan, workers, reporter.check, begun), folder, reporter)


def output_folder(request: DetectRequest) -> OutputFolder:
    """Return the request's output folder.

    Raises:
        InputError: results or an unfinished run are there, or an input where a result would be.
    """
    return run_folder(request, RESULTS, (request.before, request.after, request.aoi))


def load_predictor(plan: Plan) -> Predictor:
    """Load the plan's model onto its device."""
    import torch

    request = plan.request
    device = choose_device(request.device)
    torch.set_num_threads(request.threads or default_threads())
    batch = request.batch_size or batch_that_fits(device, plan.tile)
    return Predictor(load_model(plan.card), device, choose_precision(request.precision, device), batch)


def run_plan(
    plan: Plan, predictor: Predictor | ClusterPredictor, folder: OutputFolder, reporter: Reporter
) -> dict[str, Any]:
    """Carry out a plan: read, detect (here or on a cluster), write, vectorize."""
    began, clock = datetime.now(timezone.utc), time.monotonic()
    request, warnings = plan.request, list(plan.warnings)
    with folder, ExitStack() as stack:
        journal = Journal(folder.work, _identity(plan, predictor))
        note_request(folder.work, "detect", request)
        reporter.step("read", 0, 1)
        before = stack.enter_context(AlignedRaster(request.before, plan.work_grid, request.bands))
        after, shift = open_after(plan, before, stack, reporter)
        # Measured, and refused where no pixel is valid, before anything is detected.
        _ = before.stretch, after.stretch
        if told := doubt(shift):
            warnings.append(told)
        if isinstance(predictor, Predictor):
            stack.enter_context(predictor.watched(reporter.check))
            stack.enter_context(kept_memory())
        planes = predictor.probe(plan.tile)
        decoder = Decoder(plan.card)
        maps = DetectionMaps(folder.work, plan.grid, plan.area, decoder, plan.threshold, resume=folder.goes_on)
        stack.callback(maps.close)
        run_blocks = _runner(plan, predictor, before, after, shift, planes)
        _compute(plan, predictor, run_blocks, maps, journal, folder.work, reporter)
        if maps.valid_px == 0:
            journal.discard()
            raise InputError(
                "No pixel is valid on both dates in the area asked for.",
                hint="Check the nodata values of both rasters, and that the extent lies where both have data.",
                code="no_valid_pixels",
            )
        rasters = maps.finish(reporter)
        probability = folder.work / "change_probability.tif"
        classes = Classes.beside(probability)
        polygons = polygons_of(folder.work, probability, plan.grid, classes, request.min_area, reporter)
        if not polygons:
            warnings.append(f"No change found at threshold {plan.threshold:.2f}.")
        summary = {
            "polygons": len(polygons),
            "change_area_m2": total_area(polygons),
            "change_px": maps.change_px,
            "valid_px": maps.valid_px,
            "threshold": plan.threshold,
            "shift": undone(plan, shift),
            "device": str(predictor.device),
            "model": plan.card.name,
            "seconds": round(time.monotonic() - clock, 2),
        }
        names = {**rasters, "polygons": "change.gpkg"}
        write_manifest(
            folder.work / "manifest.json",
            _manifest(plan, predictor, before, after, shift, began, summary, names, warnings),
        )
        placed = folder.publish([*names.values(), "manifest.json"], files_there(folder.path, RESULTS))
    outputs = {key: str(placed[name]) for key, name in names.items()}
    return {
        "outputs": {**outputs, "manifest": str(placed["manifest.json"])},
        "summary": summary,
        "warnings": warnings,
    }


def estimate(request: EstimateRequest) -> dict[str, Any]:
    """Tell what a detection would take: tiles, memory and disk in bytes, and seconds.

    Nothing is computed or written. The time is known once this process has detected with the same model and
    device, else None.
    """
    with gdal_environment():
        plan = make_plan(request)
    window = plan.area.window
    pixels = window.width * window.height
    tiles = plan.tile_count
    each = _seconds_per_pixel.get(_rate_key(plan, choose_device(request.device)))
    return {
        "width": window.width,
        "height": window.height,
        "gsd_m": plan.gsd,
        "tiles": tiles,
        "memory_bytes": plan.memory_bytes,
        # Four byte planes twice: once raw, once as COG (never larger), for a moment together.
        "disk_bytes": pixels * 4 * 2 + (plan.wanted.width * plan.wanted.height * 3 if plan.factor != 1 else 0),
        "seconds": None if each is None else round(tiles * plan.tile[0] * plan.tile[1] * each, 1),
        "warnings": plan.warnings,
    }


def _rate_key(plan: Plan, device: Any) -> tuple[str, str]:
    return plan.card.name, str(device)


def _runner(
    plan: Plan,
    predictor: Predictor | ClusterPredictor,
    before: AlignedRaster,
    after: AlignedRaster,
    shift: Shift | None,
    planes: int,
) -> Callable[..., None]:
    """What runs the model over blocks: this process, or the workers of a cluster."""
    if isinstance(predictor, ClusterPredictor):
        return partial(
            predictor.run_tiles,
            Date.of(plan.request.before, plan.work_grid, before),
            Date.of(plan.request.after, grid_of_after(plan, shift), after),
        )
    run = partial(run_tiles, predict=predictor.predict, planes=planes, batch_size=predictor.batch_size)
    return partial(run, before, after)


def _compute(
    plan: Plan,
    predictor: Predictor | ClusterPredictor,
    run_blocks: Callable[..., None],
    maps: DetectionMaps,
    journal: Journal,
    work: Path,
    reporter: Reporter,
) -> None:
    """Fill the maps, by way of the model's ground sampling distance where that differs."""
    blocks = [block for block in plan.blocks if (block.i, block.j) not in journal.done]
    computed, total = sum(len(block.tiles) for block in blocks), plan.tile_count
    done = total - computed
    scaled = None if plan.factor == 1 else maps.at_scale(plan.work_grid, plan.wanted)
    target = scaled or maps
    target.valid_px = sum(block["valid_px"] for block in journal.blocks)
    target.change_px = sum(block["change_px"] for block in journal.blocks)

    def on_tiles(count: int) -> None:
        nonlocal done
        done += count
        reporter.step("detect", done, total)

    def write_core(block: Block, values: NDArray[np.uint16], valid: NDArray[np.bool_]) -> None:
        valid_px, change_px = target.valid_px, target.change_px
        target.write_core(block.core, values, valid)
        journal.add(i=block.i, j=block.j, valid_px=target.valid_px - valid_px, change_px=target.change_px - change_px)

    carry_folder = work / "carry"
    carry_folder.mkdir(exist_ok=True)
    reporter.step("detect", done, total)
    began = time.monotonic()
    run_blocks(blocks, carry=Carry(carry_folder, plan.tiles), write_core=write_core, on_tiles=on_tiles)
    if blocks and plan.request.dask is None:
        pixels = computed * plan.tile[0] * plan.tile[1]
        _seconds_per_pixel[_rate_key(plan, predictor.device)] = (time.monotonic() - began) / pixels
    if scaled:
        _resample_back(plan, scaled, maps, reporter)


def _resample_back(plan: Plan, scaled: DetectionMaps, maps: DetectionMaps, reporter: Reporter) -> None:
    blocks = blocks_of(plan.area.window)
    for count, block in enumerate(blocks, 1):
        source = source_window(block, plan.factor, plan.work_grid.height, plan.work_grid.width)
        layers = scaled.read(source)
        values = [resample_probability(layers[0], source, block, plan.factor)]
        values += [resample_nearest(layer, source, block, plan.factor) for layer in layers[1:]]
        maps.write(block, values)
        reporter.step("resample", count, len(blocks))
    scaled.close()


def _identity(plan: Plan, predictor: Predictor | ClusterPredictor) -> dict[str, Any]:
    """Return everything that the pixels of a run depend on; a run resumes only with the same."""
    import torch

    request = plan.request
    return {
        "versions": versions(),
        "edition": EDITION,
        "model": plan.card.sha256,
        "scaling": _scaling(plan),
        **({"unchanged": plan.card.unchanged_classes} if plan.card.change_classes else {}),
        "before": describe_input(request.before),
        "after": describe_input(request.after),
        "files": stamps((request.aoi,)),
        "parameters": request.model_dump(
            exclude={"out_dir", "resume", "overwrite", "min_area", "batch_size", "threads", "dask"}
        ),
        "tiles": [*plan.tile, plan.tiles.rows.overlap],
        "threads": torch.get_num_threads(),
        "device": predictor.device.type,  # whichever of several GPUs
        "precision": PRECISIONS[predictor.precision],
    }


def _scaling(plan: Plan) -> dict[str, float] | None:
    """Platt's scaling of the probability, as a manifest states it: of its logit z, a · z + b."""
    scaling = scaling_of(plan.card)
    return {"a": scaling.a, "b": scaling.b} if scaling else None


def _manifest(
    plan: Plan,
    predictor: Predictor | ClusterPredictor,
    before: AlignedRaster,
    after: AlignedRaster,
    shift: Shift | None,
    began: datetime,
    summary: dict[str, Any],
    outputs: dict[str, str],
    warnings: list[str],
) -> dict[str, Any]:
    import torch

    request, card = plan.request, plan.card
    inputs = {
        name: {**describe_input(path), "bands": raster.bands, "stretch": raster.stretch.model_dump()}
        for name, path, raster in (("before", request.before, before), ("after", request.after, after))
    }
    if request.aoi is not None:
        inputs["aoi"] = describe_layer(request.aoi)
    return {
        "job": "detect",
        "began": began.isoformat(),
        "versions": versions(),
        "model": card.model_dump(include={"name", "title", "sha256", "licence", "noncommercial"}),
        "scaling": _scaling(plan),
        "inputs": inputs,
        "parameters": request.model_dump(exclude={"before", "after"}),
        "grid": {"gsd_m": plan.gsd, "scale_factor": plan.factor, "window": list(plan.area.window.flatten())},
        "tiles": {
            "size": list(plan.tile),
            "overlap": plan.tiles.rows.overlap,
            "count": plan.tile_count,
            "batch_size": predictor.batch_size,
        },
        "shift": shift.model_dump() if shift else None,
        "device": str(predictor.device),
        "precision": PRECISIONS[predictor.precision],
        "threads": torch.get_num_threads(),
        "summary": summary,
        "warnings": warnings,
        "outputs": outputs,
    }
