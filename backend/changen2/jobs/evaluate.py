"""How right a change map is: against a reference map, a folder of them, or labelled points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from changen2.errors import InputError
from changen2.jobs.evaluation import labelled_points
from changen2.jobs.evaluation.compare import Comparison, compare, matched, merged, objects_report, require_one_map
from changen2.jobs.evaluation.scaled_before import scaling_before
from changen2.jobs.evaluation.truth import MASK, ChangeMap
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.models.store import amend_card, amendable_card
from changen2.protocol import EvaluateRequest, validate
from changen2.raster.accuracy import scores_with_intervals
from changen2.raster.calibration import calibration, ece_interval
from changen2.raster.gdal import gdal_environment
from changen2.raster.semantic_accuracy import semantic_report


def evaluate(
    prediction: str | Path,
    reference: str | Path | None = None,
    *,
    points: str | Path | None = None,
    threshold: float = 0.5,
    classes_before: str | Path | None = None,
    classes_after: str | Path | None = None,
    objects: bool = True,
    min_area: float = 0.0,
    store: str | None = None,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
) -> dict[str, Any]:
    """Score a change map.

    Args:
        prediction: a 0/1 change map or a change probability, or a folder of them, or a folder in the layout of a data
            set (``label``, ``semantic_A``, ``semantic_B``), or that of a detection, of which the change map alone is
            compared, at the threshold of its run.
        reference: a map whose non-zero valid pixels are change (warped to the prediction by nearest
            neighbour), a polygon layer of changes, or a folder with a file of the same name for each
            prediction, or of the same layout, or with ``change.tif`` for a detection. None with ``points`` alone.
        points: a point layer with a field ``reference`` (0 or 1); adds area-adjusted accuracy. With ``map`` (the
            stratum a point was drawn in) and ``stratum_pixels`` (its size) also of a map that has changed since.
        threshold: for a change probability.
        classes_before, classes_after: class maps of the reference, for a prediction that has its own beside it.
        objects: also count connected places of change.
        min_area: m² (pixels without CRS) below which a place is not counted.
        store: name of an installed model, in whose card the calibration is kept.
        on_progress: receives ``Progress`` of the stage ``score``.
        is_cancelled: asked between blocks.

    Returns:
        ``f1``, ``iou``, ``precision``, ``recall``, ``kappa``, each with ``_low`` and ``_high`` (95 %
        bootstrap over images, or over blocks of 256² pixels of one map), None where nothing defines them;
        ``pixels``, ``units``; ``objects``; of a probability ``calibration``, its error with ``_low`` and ``_high``;
        with classes ``semantic``, its scores None where a number does not mean the same at both dates, as of damage;
        with points ``area_adjusted``. ``taken_for``: "0/1 map", "change probability" or, of a folder, "0/1 map or
        change probability"; ``warnings``.

    Raises:
        InputError: bad input.
        Cancelled: ``is_cancelled`` said so.
    """
    given = {
        "prediction": prediction, "reference": reference, "points": points,
        "classes_before": classes_before, "classes_after": classes_after,
    }  # fmt: skip
    validate(EvaluateRequest, {**given, "threshold": threshold, "min_area": min_area})
    if store is not None:
        amendable_card(store)
    if points is not None:
        require_one_map(prediction)
    reporter = Reporter(on_progress, is_cancelled)
    with gdal_environment():
        result: dict[str, Any] = {}
        taken_for: set[str] = set()
        notes: dict[str, list[str]] = {}
        undefined: list[str] = []
        if reference is not None:
            pairs = list(matched(prediction, reference, classes_before, classes_after))
            found = []
            for number, pair in enumerate(pairs):
                reporter.step("score", number, len(pairs))
                found.append(compare(pair, threshold, objects, min_area, reporter.check))
            reporter.step("score", len(pairs), len(pairs))
            result |= report(found, f"{prediction} and {reference}")
            undefined = _undefined(found)
            taken_for = {each.taken_for for each in found}
            notes = {str(pair.prediction): each.notes for pair, each in zip(pairs, found, strict=True)}
        if points is not None:
            with ChangeMap(prediction, threshold, reporter.check) as mapped:
                result["area_adjusted"] = labelled_points.estimate(mapped, points, notes.setdefault(str(points), []))
                taken_for.add(mapped.taken_for)
                notes.setdefault(str(prediction), mapped.notes)
        if not result:
            raise InputError(
                "Neither a reference nor points are given: there is nothing to compare with.",
                hint="Give a reference map, a polygon layer, or --points FILE.",
                code="bad_value",
            )
        result |= {"taken_for": " or ".join(sorted(taken_for)), "warnings": _warnings(notes) + undefined}
        if store is not None:
            amend_card(store, calibration=calibration_to_keep(store, result, prediction, reference))
        return result


def _warnings(notes: dict[str, list[str]]) -> list[str]:
    """Each note once, with the first map that it is of."""
    maps: dict[str, list[str]] = {}
    for path, said in notes.items():
        for note in said:
            maps.setdefault(note, []).append(path)
    return [
        f"{paths[0]}{f' and {len(paths) - 1:,} more' if len(paths) > 1 else ''}: {note}" for note, paths in maps.items()
    ]


def _undefined(found: list[Comparison]) -> list[str]:
    """Why some scores are undefined or say little."""
    hit, false, missed, _ = np.concatenate([each.confusion for each in found]).sum(axis=0)
    said = []
    if hit + missed == 0:
        said.append("The reference holds no change here: nothing can be found or missed, only reported in vain.")
    if hit + false == 0:
        said.append("The map reports no change at all.")
    return said


def report(found: list[Comparison], what: str) -> dict[str, Any]:
    """Return the scores of all maps together; intervals are over the maps, or over the blocks of a single one.

    Raises:
        InputError: ``no_valid_pixels``.
    """
    single = len(found) == 1
    units = found[0].confusion if single else np.array([each.confusion.sum(axis=0) for each in found])
    if units.sum() == 0:
        raise InputError(
            f"{what} share no valid pixel.",
            hint="Check their nodata values and that both show the same place.",
            code="no_valid_pixels",
        )
    result: dict[str, Any] = scores_with_intervals(units) | {"pixels": int(units.sum()), "units": len(units)}
    if any(each.places for each in found):
        result["objects"] = objects_report([each.places for each in found if each.places])
    tallies = [each.levels for each in found if each.levels is not None]
    if tallies:
        parts = tallies[0] if single else np.array([levels.sum(axis=0) for levels in tallies])
        result["calibration"] = calibration(parts.sum(axis=0)) | ece_interval(parts)
    # A map whose classes are known nowhere says nothing of them, nor against those of the others.
    if classed := [each for each in found if each.transitions]:
        pooled = [each.states for each in classed if each.states]
        states = pooled[0] if len(pooled) == 1 else [merged(units) for units in pooled]
        transitions = [pairs for each in classed for pairs in each.transitions]
        result["semantic"] = semantic_report(states, transitions, classed[0].class_names)
    return result


def calibration_to_keep(
    name: str, result: dict[str, Any], prediction: str | Path, reference: str | Path | None
) -> dict[str, Any]:
    """Return the calibration for a model's card; detections with the model are scaled by it from then on.

    Args:
        name: of the model.
        result: of the evaluation.
        prediction: the probability, or its folder. Where it, or the manifest beside it, says that it was scaled
            already, the card gets both scalings as one.
        reference: what it was compared with.

    Raises:
        InputError: ``bad_value``: none was measured, another model made the map, nothing tells whether it was scaled,
            or the order of pixels would turn around.
    """
    if reference is None or "calibration" not in result:
        why = "the prediction is a 0/1 map" if result["taken_for"] == MASK else "points alone measure none"
        raise InputError(
            f"There is no calibration to keep: {why}.",
            hint="Give a change_probability.tif and a reference, a map or polygons of change.",
            code="bad_value",
        )
    found = dict(result["calibration"])
    if "platt" not in found:
        raise InputError(
            "There is no calibration to keep: where both are known, all of the reference is change, or none is.",
            hint="Give a reference that shows change and places without.",
            code="bad_value",
        )
    scaling = found["platt"]
    if scaling["a"] <= 0:
        raise InputError(
            f"The more probable a change, the rarer it is here (a = {scaling['a']:.3f}): that cannot be kept.",
            hint="Check that prediction and reference show the same place and the same change.",
            code="bad_value",
        )
    with gdal_environment():
        before = scaling_before(amendable_card(name), prediction, reference)
    found["platt"] = {"a": scaling["a"] * before.a, "b": scaling["a"] * before.b + scaling["b"]}
    return found
