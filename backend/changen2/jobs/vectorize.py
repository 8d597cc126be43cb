"""Make the binary map and the polygons again at another threshold: no model runs."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.jobs.detection.change_map import CHANGE_COLORS, NODATA, binary, polygons_of
from changen2.jobs.runs.manifest import describe_input, detector_of, versions, write_manifest
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.protocol import VectorizeRequest, validate
from changen2.raster.gdal import gdal_environment
from changen2.raster.grid import Grid
from changen2.raster.output_folder import OutputFolder
from changen2.raster.reading import broken_pixels, open_raster
from changen2.raster.vectors import Classes, total_area
from changen2.raster.writing import WindowedRaster

STRIP = 1024
"""Rows and columns of the windows that are thresholded at once."""

OUTPUTS = {"change": "change.tif", "polygons": "change.gpkg"}


def vectorize(
    probability: str | Path,
    out_dir: str | Path,
    *,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write ``change.tif`` and ``change.gpkg`` from a probability map.

    Class names are kept where the class maps of the detection lie beside the probability, or beside a part of it.

    Args:
        probability: a ``change_probability.tif``.
        out_dir: folder for the outputs.
        on_progress: receives ``Progress``.
        is_cancelled: asked between windows.
        **options: fields of ``VectorizeRequest``.

    Returns:
        ``outputs`` (name → path), ``summary`` and ``warnings``.

    Raises:
        InputError: bad input; nothing is left behind.
        Cancelled: ``is_cancelled`` said so.
    """
    request = validate(VectorizeRequest, {"probability": probability, "out_dir": out_dir, **options})
    return run(request, Reporter(on_progress, is_cancelled))


def run(request: VectorizeRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request."""
    began, clock = datetime.now(timezone.utc), time.monotonic()
    source = request.probability
    with (
        gdal_environment(),
        OutputFolder(request.out_dir, overwrite=request.overwrite, replaces=OUTPUTS.values()) as out,
    ):
        grid, valid_px, change_px = _threshold(source, out.work / "change.tif", request.threshold, reporter)
        classes, warnings = _classes_of(source, grid)
        polygons = polygons_of(out.work, source, grid, classes, request.min_area, reporter)
        if not polygons:
            warnings.append(f"No change found at threshold {request.threshold:.2f}.")
        # Weights that made the probability bind what is made of it.
        model = detector_of(Path(source).parent)
        summary = {
            "polygons": len(polygons),
            "change_area_m2": total_area(polygons),
            "change_px": change_px,
            "valid_px": valid_px,
            "threshold": request.threshold,
            "device": None,
            "model": model["name"] if model else None,
            "seconds": round(time.monotonic() - clock, 2),
        }
        manifest = {
            "job": "vectorize",
            "began": began.isoformat(),
            "versions": versions(),
            "model": model,
            "inputs": {"probability": describe_input(source)},
            "parameters": request.model_dump(exclude={"probability"}),
            "summary": summary,
            "warnings": warnings,
            "outputs": OUTPUTS,
        }
        write_manifest(out.work / "vectorize_manifest.json", manifest)
        placed = out.publish([*OUTPUTS.values(), "vectorize_manifest.json"])
    outputs = {key: str(placed[name]) for key, name in OUTPUTS.items()}
    outputs["change_probability"] = source
    outputs["manifest"] = str(placed["vectorize_manifest.json"])
    return {"outputs": outputs, "summary": summary, "warnings": warnings}


def _classes_of(source: str, grid: Grid) -> tuple[Classes | None, list[str]]:
    """The class maps beside a map where they tell of its ground, and what a person should know of that."""
    classes = Classes.beside(source)
    if classes is None or classes.share_ground_with(grid):
        return classes, []
    return None, [f"{classes.before} is of another place or grid than {source}: the polygons have no classes."]


def _threshold(source: str, target: Path, threshold: float, reporter: Reporter) -> tuple[Grid, int, int]:
    """Write the binary map; return its grid and how many pixels are valid and changed."""
    valid_px = change_px = 0
    with open_raster(source) as dataset:
        if dataset.count != 1 or dataset.dtypes[0] != "uint8" or dataset.nodata != 0:
            raise InputError(
                f"{source} is no change probability: it has {dataset.count} band(s) of {dataset.dtypes[0]} with "
                f"nodata {dataset.nodata}; expected is one band of uint8 with nodata 0.",
                hint="Give the change_probability.tif of a detection.",
                code="bad_value",
            )
        grid = Grid.of(dataset)
        raster = WindowedRaster(
            target, grid, NODATA, colors=CHANGE_COLORS, description=f"Change at threshold {threshold:.3f}"
        )
        try:
            rows = range(0, grid.height, STRIP)
            for count, row in enumerate(rows):
                for column in range(0, grid.width, STRIP):
                    window = Window(column, row, min(STRIP, grid.width - column), min(STRIP, grid.height - row))
                    values = _read(dataset, window)
                    changed = binary(values, threshold)
                    raster.write(window, changed)
                    valid_px += int(np.count_nonzero(values))
                    change_px += int(np.count_nonzero(changed == 1))
                reporter.step("write", count + 1, len(rows))
            raster.finish()
        finally:
            raster.close()
    return grid, valid_px, change_px


def _read(dataset: rasterio.DatasetReader, window: Window) -> Any:
    with broken_pixels(dataset.name):
        return dataset.read(1, window=window)
