"""How right a change map is, and how much changed, from points that a person labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.jobs.evaluation.truth import ChangeMap
from changen2.raster.area import way_to_grid
from changen2.raster.area_estimates import Alike, Sample, alike_strata, area_adjusted
from changen2.raster.grid import Grid
from changen2.raster.ground import row_areas_m2
from changen2.raster.layers import read_layer

REFERENCE_FIELD = "reference"
STRATUM_FIELD = "map"
SIZE_FIELD = "stratum_pixels"

SAMPLE = "sample_points"
"""Name of the layer in which QGIS keeps a sample."""

ROUNDED = 1e-3
"""Share of a map's pixels that the sizes of strata may lack: they may have been rounded."""

CLASSES = ("no change", "change")

SIDE = 1024
"""Rows and columns of the windows in which a map is measured."""


@dataclass(frozen=True)
class Points:
    """A sample as it is read.

    Attributes:
        places: x, y in the map's CRS ``[n, 2]``.
        labels: 0, 1, or NaN where nobody has looked yet ``[n]``.
        strata: of each, a number; NaN where it has none ``[n]``; None: not told.
        sizes: pixels of each one's stratum ``[n]``; None: not told.
    """

    places: NDArray[np.float64]
    labels: NDArray[np.float64]
    strata: NDArray[np.float64] | None
    sizes: NDArray[np.float64] | None


def estimate(mapped: ChangeMap, path: str | Path, notes: list[str]) -> dict[str, Any]:
    """Estimate accuracy and areas of a change map from labelled points.

    The points are a random sample of the pixels of each stratum. With the fields ``map`` (the stratum) and
    ``stratum_pixels`` (its size) they count as they were drawn, whatever the map says by now; with ``map`` alone the
    map must still say the same; with neither, the strata are the map's two classes.

    Args:
        mapped: the map.
        path: of the points, which have a field ``reference``, 0 or 1; points without a label are left out.
        notes: takes what a person should know of them.

    Returns:
        ``points`` on the map, ``matrix`` of them (row on the map, column in reality), ``strata_differ``: whether the
        map says something else than when they were drawn, ``area_unit`` (``m2``, or ``px`` without CRS), and of
        `area_adjusted` a list of ``value``, ``low`` and ``high``, or None where no point tells; the ends of an interval
        are None where it is not known, and ``unseen`` says in sentences why.

    Raises:
        InputError: bad points, too few of them, one pixel labelled in two ways, or strata whose sizes are not known or
            do not make up the map.
    """
    points = _once(_read(path, mapped.grid), mapped.grid, path, notes)
    pixels, area, in_metres = _measure(mapped)
    said, ground = _look(mapped, points.places, in_metres)
    labelled, on_map = np.isfinite(points.labels), said >= 0
    if not (labelled & on_map).any():
        raise InputError(
            f"None of the {len(said):,} points of {path} is labelled and lies on the map.",
            hint=f"Label points on it in the field {REFERENCE_FIELD!r}: 1 (change) or 0 (no change).",
            code="bad_value",
        )
    stratum, sizes, names = _strata(points, said, labelled & on_map, pixels, path)
    counted = labelled & (stratum >= 0)
    _check_enough(np.bincount(stratum[counted], minlength=len(sizes)), sizes, names)
    _check_not_too_many(np.bincount(stratum[stratum >= 0], minlength=len(sizes)), sizes, names, path)
    _check_whole(sizes, pixels.sum(), path)
    true = np.where(labelled, points.labels, 0).astype(np.int64)
    sample = Sample(stratum[counted], sizes, said[counted], true[counted], ground[counted])
    estimates = area_adjusted(sample, area)
    unseen = [_unseen(each, names[each.stratum], in_metres) for each in alike_strata(sample)]
    if not unseen and any(each and each.low is None for values in estimates.values() for each in values):
        unseen = [
            "All labelled points that some accuracies rest on were right, or all wrong: how sure these are is not "
            "known. Label more points."
        ]
    notes += unseen
    matrix = np.zeros((2, 2), np.int64)
    np.add.at(matrix, (said[labelled & on_map], true[labelled & on_map]), 1)
    return {
        "points": int(matrix.sum()),
        "matrix": matrix.tolist(),
        "strata_differ": points.strata is not None and bool((points.strata != said)[counted & on_map].any()),
        "area_unit": "m2" if in_metres else "px",
        "unseen": unseen,
        **{name: [None if value is None else asdict(value) for value in values] for name, values in estimates.items()},
    }


def _once(points: Points, grid: Grid, path: str | Path, notes: list[str]) -> Points:
    """Keep one of the points in each pixel, labelled if one is: seen twice, it is still a single draw.

    Raises:
        InputError: ``bad_value``: labels of a pixel differ.
    """
    placed = np.flatnonzero(np.isfinite(points.places).all(axis=1))
    placed = placed[np.argsort(np.isnan(points.labels[placed]), kind="stable")]  # the labelled ones first
    pixels = np.floor(np.stack(~grid.transform @ tuple(points.places[placed].T), axis=1))
    _, first, pixel = np.unique(pixels, axis=0, return_index=True, return_inverse=True)
    labels, of_first = points.labels[placed], points.labels[placed[first]][pixel.ravel()]
    labelled = np.isfinite(labels)
    if differing := np.unique(pixels[labelled & (labels != of_first)], axis=0).shape[0]:
        raise InputError(
            f"Points of {path} say both change and no change of one and the same pixel, in {differing:,} pixels.",
            hint="Look at these places again, and keep one point for each pixel.",
            code="bad_value",
        )
    kept = np.ones(len(points.labels), bool)
    kept[placed] = False
    kept[placed[first]] = True
    if again := np.count_nonzero(~kept & np.isfinite(points.labels)):
        notes.append(f"{again:,} labelled points lie in pixels in which others are, and say the same: left out.")
    strata, sizes = (None if values is None else values[kept] for values in (points.strata, points.sizes))
    return Points(points.places[kept], points.labels[kept], strata, sizes)


def _unseen(found: Alike, where: str, in_metres: bool) -> str:
    area = f"{found.unseen:,.0f} {'m²' if in_metres else 'pixels'}"
    if in_metres and found.unseen >= 1000:
        area = f"{found.unseen / 10_000:,.2f} ha"
    few, other = ("All", "no change") if found.true else ("None", "change")
    return (
        f"{few} of {found.points:,} labelled points {where} had changed: up to {area} of {other} may lie there unseen "
        "(rule of three, 3/n), and how sure the estimates are is not known. Label more points there."
    )


def _measure(mapped: ChangeMap) -> tuple[NDArray[np.float64], float, bool]:
    """Pixels of no change and of change, the area of both together, and whether that is in m²."""
    pixels, area = np.zeros(2), 0.0
    for window in mapped.grid.windows(SIDE):
        changed, valid = mapped(window)
        pixels += [np.count_nonzero(valid & ~changed), np.count_nonzero(valid & changed)]
        areas = row_areas_m2(mapped.grid.crop(window))
        area += 0.0 if areas is None else float(np.count_nonzero(valid, axis=1) @ areas)
    return pixels, area or float(pixels.sum()), area > 0


def _look(
    mapped: ChangeMap, places: NDArray[np.float64], in_metres: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What the map says at each place, -1 where nothing, and the area of its pixel there, 0 where it has none."""
    grid = mapped.grid
    said, ground = np.full(len(places), -1), np.zeros(len(places))
    for number, place in enumerate(places):
        if not np.isfinite(place).all():
            continue  # the map's CRS has no place for it
        column, row = (int(np.floor(value)) for value in ~grid.transform @ tuple(place))
        if not (0 <= column < grid.width and 0 <= row < grid.height):
            continue
        window = Window(column, row, 1, 1)
        changed, valid = mapped(window)
        if valid[0, 0]:
            areas = row_areas_m2(grid.crop(window)) if in_metres else np.ones(1)
            said[number], ground[number] = changed[0, 0], 0.0 if areas is None else areas[0]
    return said, ground


def _strata(
    points: Points, said: NDArray[np.int64], seen: NDArray[np.bool_], pixels: NDArray[np.float64], path: str | Path
) -> tuple[NDArray[np.int64], NDArray[np.float64], Sequence[str]]:
    """The stratum of each point, from 0 and -1 where it counts for none; the size of each stratum, and where it is."""
    if points.strata is None or points.sizes is None:
        moved = 0 if points.strata is None else np.count_nonzero((points.strata != said)[seen])
        if moved:
            raise InputError(
                f"At {moved:,} of {np.count_nonzero(seen):,} labelled points of {path} the map no longer says what it "
                f"said when they were drawn (field {STRATUM_FIELD!r}), and how large their strata were is not known.",
                hint="Move the threshold back to that of the sample, or draw and label a new one: it keeps the sizes.",
                code="bad_value",
            )
        there = np.flatnonzero(pixels)  # of a class that the map does not say no pixel can be drawn
        index = np.where(said < 0, -1, np.searchsorted(there, said))
        return index, pixels[there], [f"on the map's {CLASSES[number]}" for number in there]
    known = np.isfinite(points.strata)
    if not known[np.isfinite(points.labels)].all():
        raise InputError(
            f"Labelled points of {path} have no stratum in the field {STRATUM_FIELD!r}.",
            hint="Points that were added by hand are no random sample: delete them, or remove their labels.",
            code="bad_value",
        )
    numbers, index = np.unique(points.strata[known], return_inverse=True)
    told = [np.unique(points.sizes[known][index == stratum]) for stratum in range(len(numbers))]
    if any(len(sizes) != 1 or not sizes[0] > 0 for sizes in told):
        raise InputError(
            f"The field {SIZE_FIELD!r} of {path} does not hold one number of pixels for each stratum.",
            hint=f"All points with the same {STRATUM_FIELD!r} need the same one, of the whole stratum.",
            code="bad_value",
        )
    stratum = np.full(len(said), -1)
    stratum[known] = index
    return stratum, np.concatenate(told), [f"in stratum {number:g}" for number in numbers]


def _check_enough(counts: NDArray[np.int64], sizes: NDArray[np.float64], strata: Sequence[str]) -> None:
    few = [where for where, count, size in zip(strata, counts, sizes, strict=True) if count < min(2, size)]
    if few:
        raise InputError(
            f"Fewer than two labelled points lie {' and '.join(few)}; the sample has {counts.sum()}.",
            hint="Label a stratified sample: some dozens of points in each stratum, such as a class of the map.",
            code="bad_value",
        )


def _check_not_too_many(
    counts: NDArray[np.int64], sizes: NDArray[np.float64], strata: Sequence[str], path: str | Path
) -> None:
    for count, size, where in zip(counts, sizes, strata, strict=True):
        if count > size:
            raise InputError(
                f"{count:,} points of {path} lie {where}, which has {size:,.0f} pixels: no pixel is drawn twice.",
                hint=f"Give the whole stratum's pixels in {SIZE_FIELD!r}; keep a single point in each pixel.",
                code="bad_value",
            )


def _check_whole(sizes: NDArray[np.float64], pixels: float, path: str | Path) -> None:
    """Refuse strata that leave out a part of the map; a sample over more than the map shows tells of it, too."""
    if sizes.sum() < (1 - ROUNDED) * pixels:
        raise InputError(
            f"The strata of {path} have {sizes.sum():,.0f} pixels together (field {SIZE_FIELD!r}), the map has "
            f"{pixels:,.0f}: of the others no point tells.",
            hint="Give points of every stratum, or assess the part of the map that they were drawn on.",
            code="bad_value",
        )


def _read(path: str | Path, grid: Grid) -> Points:
    layer = read_layer(path, "point", usual=(SAMPLE,), columns=[REFERENCE_FIELD, STRATUM_FIELD, SIZE_FIELD])
    geometries = np.array(layer.geometries, object)
    there = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    if not there.any():
        raise InputError(f"{path} holds no point.", hint="Give a layer of labelled points.", code="bad_value")
    fields = {name: values[there] for name, values in layer.fields.items()}
    if REFERENCE_FIELD not in fields:
        raise InputError(
            f"{path} has no field {REFERENCE_FIELD!r}.",
            hint="Add one: 1 where there is change, 0 where there is none.",
            code="bad_value",
        )
    # A sample is labelled by and by; a point without a label is null, which a column of numbers holds as NaN.
    labels = _numbers(fields[REFERENCE_FIELD])
    known = np.isfinite(labels) if labels is not None else np.zeros(0, bool)
    if labels is None or not np.isin(labels[known], (0, 1)).all():
        held = sorted({str(value) for value in fields[REFERENCE_FIELD]})
        raise InputError(
            f"Field {REFERENCE_FIELD!r} of {path} holds {', '.join(held[:5])}; allowed are 0 and 1.",
            hint="Label each point 1 (change) or 0 (no change).",
            code="bad_value",
        )
    # A field "map" of words is somebody else's.
    strata, sizes = (_numbers(fields[name]) if name in fields else None for name in (STRATUM_FIELD, SIZE_FIELD))
    if strata is None and sizes is not None:
        raise InputError(
            f"{path} tells the sizes of strata ({SIZE_FIELD!r}), but not by a number which point is in which.",
            hint=f"Add the field {STRATUM_FIELD!r}, a whole number, or remove {SIZE_FIELD!r}.",
            code="bad_value",
        )
    places = shapely.get_coordinates(shapely.centroid(geometries[there]))
    if to_grid := way_to_grid(layer.crs, grid, path):
        places = np.stack(to_grid.transform(places[:, 0], places[:, 1]), axis=1)
    return Points(places, labels, strata, sizes)


def _numbers(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """A column as numbers, NaN where there is none; None where it holds words."""
    try:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    except ValueError:
        return None
