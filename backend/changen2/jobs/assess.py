"""A change map against what is known, for a person: the scores, how many places were found, and a map of both."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from changen2.errors import Changen2Error
from changen2.jobs.evaluate import calibration_to_keep, evaluate
from changen2.jobs.evaluation.compare import objects_report
from changen2.jobs.evaluation.labelled_points import SAMPLE
from changen2.jobs.evaluation.places import (
    FALSE,
    FOUND_SHARE,
    HIT,
    MISSED,
    NODATA,
    RIGHT,
    Shares,
    least_pixels,
    outcome_of,
    place_shares,
)
from changen2.jobs.evaluation.truth import ChangeMap, is_layer, open_truth
from changen2.jobs.runs.manifest import describe_input, describe_layer, versions, write_manifest
from changen2.jobs.runs.progress import Reporter
from changen2.models.store import amend_card, amendable_card
from changen2.protocol import EvaluateRequest
from changen2.raster.gdal import gdal_environment
from changen2.raster.grid import Grid
from changen2.raster.ground import row_areas_m2
from changen2.raster.layers import CHANGES
from changen2.raster.output_folder import OutputFolder
from changen2.raster.vectors import class_tags
from changen2.raster.writing import Colors, WindowedRaster

NAMES = {RIGHT: "No change, as known", HIT: "Found", MISSED: "Missed", FALSE: "Reported, but no change"}

# Blue, yellow and vermilion stay apart for colour-blind readers, and over imagery.
COLORS: Colors = {
    RIGHT: (238, 238, 238, 255), HIT: (0, 114, 178, 255), MISSED: (240, 228, 66, 255), FALSE: (213, 94, 0, 255)
}  # fmt: skip

STRIP = 1024
"""Rows and columns of the windows that are compared at once."""

OUTPUTS = {"assessment": "assessment.tif", "manifest": "assessment_manifest.json"}


@dataclass
class Places:
    """How connected places of change fared.

    Attributes:
        known: places that changed.
        found: of these, reported to at least ``FOUND_SHARE``.
        found_in_part: of these, reported to a smaller share.
        reported: places that the map reports.
        false: of these, where nothing changed at all.
    """

    known: int = 0
    found: int = 0
    found_in_part: int = 0
    reported: int = 0
    false: int = 0

    @classmethod
    def of(cls, known: Shares, reported: Shares) -> Places:
        """Count the shares of known places that are reported, and of reported places that are known."""
        found = int((known >= FOUND_SHARE).sum())
        return cls(known.size, found, int((known > 0).sum()) - found, reported.size, int((reported == 0).sum()))


@dataclass
class _Tally:
    """Pixels of each outcome, and what they measure on the ground: nothing without CRS, and beside the ellipsoid."""

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    areas: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))

    def add(self, outcome: NDArray[np.uint8], grid: Grid, window: Window) -> None:
        counts = np.stack([np.count_nonzero(outcome == kind, axis=1) for kind in range(4)])
        self.pixels += counts.sum(axis=1)
        areas = row_areas_m2(grid.crop(window))
        self.areas += 0 if areas is None else counts @ areas


def run(request: EvaluateRequest, reporter: Reporter) -> dict[str, Any]:
    """Score a change map and, with a reference and an output folder, write the map of hits, misses and false alarms.

    Returns:
        ``summary``: what ``evaluate`` returns; with a reference also ``outcome_px`` and ``outcome_m2`` of ``right``,
        ``hit``, ``missed`` and ``false`` (m² None without CRS), ``places``, see ``Places``, and ``objects``, the
        scores of whole places with intervals; ``stored``, the model whose card took the calibration. ``outputs``:
        name → path, where a folder is given. ``warnings``, among them why a card did not take it.

    Raises:
        InputError: bad input; nothing is left behind.
        Cancelled: the reporter said so.
    """
    began, clock = datetime.now(timezone.utc), time.monotonic()
    if request.store:
        amendable_card(request.store)
    reporter.step("score", 0, 1)
    scores = evaluate(
        request.prediction,
        request.reference,
        points=request.points,
        threshold=request.threshold,
        classes_before=request.classes_before,
        classes_after=request.classes_after,
        objects=False,
        is_cancelled=reporter.is_cancelled,
    )
    warnings = scores.pop("warnings")
    reporter.step("score", 1, 1)
    kept = {}
    if request.store:
        kept = calibration_to_keep(request.store, scores, request.prediction, request.reference)
    if request.reference is None or not request.out_dir:
        return {"summary": scores, "outputs": {}, "warnings": warnings + _keep(request.store, kept, scores)}
    with gdal_environment(), OutputFolder(
        request.out_dir, overwrite=request.overwrite, replaces=OUTPUTS.values()
    ) as out:  # fmt: skip
        tally, shares = _write(request, out.work / OUTPUTS["assessment"], reporter)
        places = {"places": vars(Places.of(*shares)), "objects": objects_report([shares])}
        summary = {**scores, **_measured(tally), **places, "threshold": request.threshold}
        manifest = {
            "job": "evaluate",
            "began": began.isoformat(),
            "versions": versions(),
            "inputs": _inputs(request),
            "parameters": request.model_dump(exclude={"prediction", "reference"}),
            "seconds": round(time.monotonic() - clock, 2),
            "summary": summary,
            "warnings": warnings,
            "outputs": OUTPUTS,
        }
        write_manifest(out.work / OUTPUTS["manifest"], manifest)
        placed = out.publish(list(OUTPUTS.values()))
    warnings += _keep(request.store, kept, summary)
    outputs = {key: str(placed[name]) for key, name in OUTPUTS.items()}
    return {"outputs": outputs, "summary": summary, "warnings": warnings}


def _inputs(request: EvaluateRequest) -> dict[str, Any]:
    """What the assessment was made of, as its manifest states it."""
    names = ("prediction", "reference", "points", "classes_before", "classes_after")
    given = {name: path for name in names if (path := getattr(request, name)) is not None}
    return {name: _described(name, path) for name, path in given.items()}


def _described(name: str, path: str) -> dict[str, Any]:
    if name == "points":
        return describe_layer(path, "point", (SAMPLE,))
    return describe_layer(path, usual=CHANGES) if is_layer(path) else describe_input(path)


def _keep(name: str, calibration: dict[str, Any], summary: dict[str, Any]) -> list[str]:
    """Write a calibration into a model's card and note it as ``stored``; an assessment is worth having without that."""
    if not name:
        return []
    try:
        amend_card(name, calibration=calibration)
    except Changen2Error as error:
        return [f"The calibration could not be kept for {name}. {error}"]
    summary["stored"] = name
    return []


def _write(request: EvaluateRequest, path: Path, reporter: Reporter) -> tuple[_Tally, tuple[Shares, Shares]]:
    """Write the assessment, count its pixels, and compare the places that are known and reported."""
    tally = _Tally()
    with ChangeMap(request.prediction, request.threshold, reporter.check) as mapped:
        grid = mapped.grid
        truth = open_truth(str(request.reference), grid)
        tags = class_tags(NAMES)
        raster = WindowedRaster(path, grid, NODATA, colors=COLORS, description="Assessment of change", tags=tags)
        with closing(raster):
            windows = list(grid.windows(STRIP))
            for number, window in enumerate(windows, 1):
                outcome = outcome_of(*mapped(window), *truth(window))
                raster.write(window, outcome)
                tally.add(outcome, grid, window)
                reporter.step("compare", number, len(windows))
            least = least_pixels(grid, request.min_area)
            shares = place_shares(raster.read, (grid.height, grid.width), least, reporter)
            raster.finish()
    return tally, shares


def _measured(tally: _Tally) -> dict[str, Any]:
    names = ("right", "hit", "missed", "false")
    pixels = dict(zip(names, tally.pixels.tolist(), strict=True))
    areas = dict(zip(names, tally.areas.tolist(), strict=True)) if tally.areas.any() else None
    return {"outcome_px": pixels, "outcome_m2": areas}
