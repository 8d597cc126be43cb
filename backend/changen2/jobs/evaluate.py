"""How right a change map is: against a reference map, a folder of them, or labelled points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.jobs.change_truth import open_truth, read_change
from changen2.raster.accuracy import area_adjusted, confusion, scores_with_intervals
from changen2.raster.grid import Grid
from changen2.raster.ground import pixel_size_m
from changen2.raster.reading import gdal_environment, open_raster

UNIT = 256
"""Side in pixels of the blocks that are resampled for the intervals of a single map."""

REFERENCE_FIELD = "reference"


def evaluate(
    prediction: str | Path, reference: str | Path | None, *, points: str | Path | None = None, threshold: float = 0.5
) -> dict[str, Any]:
    """Score a change map.

    Args:
        prediction: a 0/1 change map or a change probability, or a folder of them.
        reference: a map whose non-zero valid pixels are change (warped to the prediction by nearest
            neighbour), a polygon layer of changes, or a folder with a file of the same name for each
            prediction. None with ``points`` alone.
        points: a point layer with a field ``reference`` (0 or 1); adds area-adjusted accuracy.
        threshold: for a change probability.

    Returns:
        ``f1``, ``iou``, ``precision``, ``recall``, ``kappa``, each with ``_low`` and ``_high`` (95 %
        bootstrap over images, or over blocks of 256² pixels of one map), ``pixels``, ``units``; with
        points ``area_adjusted``.

    Raises:
        InputError: bad input.
    """
    with gdal_environment():
        result: dict[str, Any] = {}
        if reference is not None:
            maps = [_units(*pair, threshold) for pair in _pairs(Path(prediction), Path(reference))]
            units = maps[0] if len(maps) == 1 else np.array([blocks.sum(axis=0) for blocks in maps])
            if units.sum() == 0:
                raise InputError(
                    f"{prediction} and {reference} share no valid pixel.",
                    hint="Check their nodata values and that both show the same place.",
                    code="no_valid_pixels",
                )
            result |= scores_with_intervals(units) | {"pixels": int(units.sum()), "units": len(units)}
        if points is not None:
            result["area_adjusted"] = _from_points(Path(prediction), Path(points), threshold)
        if not result:
            raise InputError(
                "Neither a reference nor points are given: there is nothing to compare with.",
                hint="Give a reference map, a polygon layer, or --points FILE.",
                code="bad_value",
            )
        return result


def _pairs(prediction: Path, reference: Path) -> Iterator[tuple[Path, Path]]:
    if not prediction.is_dir():
        yield prediction, reference
        return
    if not reference.is_dir():
        raise InputError(
            f"{prediction} is a folder but {reference} is none.",
            hint="Give two folders, or two files.",
            code="bad_value",
        )
    there = {path.stem: path for path in reference.iterdir() if path.is_file()}
    found = sorted(path for path in prediction.iterdir() if path.suffix.lower() in {".tif", ".tiff", ".png"})
    missing = [path.name for path in found if path.stem not in there]
    if missing or not found:
        raise InputError(
            f"{reference} has no reference for {', '.join(missing[:3])}." if missing else f"{prediction} holds no map.",
            hint="Each prediction needs a reference of the same name.",
            code="missing_file",
        )
    for path in found:
        yield path, there[path.stem]


def _units(prediction: Path, reference: Path, threshold: float) -> NDArray[np.float64]:
    """Return the confusion of each block ``[n, 4]``; blocks without a known pixel are left out."""
    with open_raster(prediction) as mapped:
        grid = Grid.of(mapped)
        truth = open_truth(reference, grid)
        rows = []
        for row in range(0, grid.height, UNIT):
            for column in range(0, grid.width, UNIT):
                window = Window(column, row, min(UNIT, grid.width - column), min(UNIT, grid.height - row))
                predicted, valid = read_change(mapped, window, threshold)
                true, known = truth(window)
                counts = confusion(predicted, true, valid & known)
                if counts.sum():
                    rows.append(counts)
    return np.array(rows).reshape(-1, 4)


def _from_points(prediction: Path, points: Path, threshold: float) -> dict[str, Any]:
    """Area-adjusted accuracy of a 0/1 map from points labelled 0 or 1."""
    with open_raster(prediction) as mapped:
        grid = Grid.of(mapped)
        places, labels = _read_points(points, grid)
        areas = np.zeros(2)
        for _, window in mapped.block_windows(1):
            changed, valid = read_change(mapped, window, threshold)
            areas += [np.count_nonzero(valid & ~changed), np.count_nonzero(valid & changed)]
        matrix = np.zeros((2, 2))
        for (x, y), label in zip(places, labels, strict=True):
            column, row = (int(np.floor(value)) for value in ~grid.transform @ (x, y))
            if not (0 <= column < grid.width and 0 <= row < grid.height):
                continue
            changed, valid = read_change(mapped, Window(column, row, 1, 1), threshold)
            if valid[0, 0]:
                matrix[int(changed[0, 0]), label] += 1
    empty = [name for name, count in zip(("no change", "change"), matrix.sum(axis=1), strict=True) if count < 2]
    if empty:
        raise InputError(
            f"Fewer than two labelled points lie on {' and '.join(empty)} of the map; the sample has {len(labels)}.",
            hint="Label a stratified sample: some dozens of points on each class of the map.",
            code="bad_value",
        )
    size = pixel_size_m(grid)
    unit = size[0] * size[1] if size else 1.0
    estimates = area_adjusted(matrix, areas * unit)
    return {
        "points": int(matrix.sum()),
        "matrix": matrix.astype(int).tolist(),
        "area_unit": "m2" if size else "px",
        **{name: [asdict(estimate) for estimate in values] for name, values in estimates.items()},
    }


def _read_points(path: Path, grid: Grid) -> tuple[list[tuple[float, float]], list[int]]:
    if not path.exists():
        raise InputError(f"There is no file {path}.", hint="Check the path.", code="missing_file")
    try:
        meta, _, wkb, fields = pyogrio.raw.read(path, columns=[REFERENCE_FIELD])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="Give a point layer.", code="unreadable") from error
    if not len(fields):
        raise InputError(
            f"{path} has no field {REFERENCE_FIELD!r}.",
            hint="Add one: 1 where there is change, 0 where there is none.",
            code="bad_value",
        )
    # A sample is labelled by and by; a point without a label is null, which a column of numbers holds as NaN.
    labelled = fields[0].astype(float)
    known = np.isfinite(labelled)
    places = [(point.x, point.y) for point in shapely.from_wkb(wkb[known])]
    labels = [int(value) for value in labelled[known]]
    if not set(labels) <= {0, 1}:
        raise InputError(
            f"Field {REFERENCE_FIELD!r} of {path} holds {sorted(set(labels))}; allowed are 0 and 1.",
            hint="Label each point 1 (change) or 0 (no change).",
            code="bad_value",
        )
    if grid.crs is not None and meta["crs"]:
        transformer = Transformer.from_crs(meta["crs"], grid.crs.to_wkt(), always_xy=True)
        places = [transformer.transform(x, y) for x, y in places]
    return places, labels
