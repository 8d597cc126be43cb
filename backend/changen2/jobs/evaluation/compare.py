"""One change map against what is true there: pixels, places, probabilities and classes, counted block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.jobs.detection.change_map import LEVELS
from changen2.jobs.evaluation.class_maps import ClassMaps
from changen2.jobs.evaluation.places import FOUND_SHARE, Shares, least_pixels, outcome_of, place_shares
from changen2.jobs.evaluation.truth import PROBABILITY, VECTORS, ChangeMap, Truth, open_truth
from changen2.jobs.runs.manifest import read_manifest
from changen2.jobs.runs.progress import Reporter
from changen2.raster.accuracy import confusion, place_scores_with_intervals
from changen2.raster.calibration import tally_levels
from changen2.raster.grid import Grid
from changen2.raster.semantic_accuracy import Pairs
from changen2.raster.vectors import Classes

UNIT = 256
"""Side in pixels of the blocks that are resampled for the intervals of a single map."""

GROUPS = 64
"""Of blocks, for the interval of a single map's calibration."""

MAPS = {".tif", ".tiff", ".png"}

REFERENCES = MAPS | VECTORS | {".bmp", ".gif", ".img", ".jp2", ".vrt"}
"""Endings of what may be a reference: beside it lie parts of shapefiles, world files and overviews."""

CHANGE = "change.tif"
"""What a detection's change map is called, and so the reference of its folder; it is of the run's own threshold."""


@dataclass(frozen=True)
class Matched:
    """A change map, its reference, and where there are classes of both the class maps of either date.

    Attributes:
        prediction, reference: of change.
        said, true: class maps before and after, of the prediction and of the reference; None: no classes.
        asked: whether somebody asked for the classes; else they were found beside.
    """

    prediction: str | Path
    reference: str | Path
    said: tuple[str | Path, str | Path] | None = None
    true: tuple[str | Path, str | Path] | None = None
    asked: bool = False


@dataclass
class Comparison:
    """What one map is found to be.

    Attributes:
        confusion: ``[blocks, 4]``; blocks without a known pixel are left out.
        taken_for: what the map is, see ``ChangeMap``.
        levels: pixels by stored probability and truth, of a probability: ``[GROUPS, 255, 2]``, each of a share of the
            blocks.
        states, transitions: of each block in which classes are known; no states where a number does not mean the same
            at both dates.
        class_names: before and after, by number.
        places: shares of known places that are reported, and of reported places that are known.
        notes: what a person should know.
    """

    confusion: NDArray[np.float64]
    taken_for: str
    levels: NDArray[np.float64] | None = None
    states: list[Pairs] = field(default_factory=list)
    transitions: list[Pairs] = field(default_factory=list)
    class_names: tuple[Mapping[int, str], Mapping[int, str]] = ({}, {})
    places: tuple[Shares, Shares] | None = None
    notes: list[str] = field(default_factory=list)


def matched(
    prediction: str | Path,
    reference: str | Path,
    classes_before: str | Path | None,
    classes_after: str | Path | None,
) -> Iterator[Matched]:
    """Pair maps with their references: two files, two folders, or two folders in the layout of a data set.

    Of the folder of a detection its change map alone counts, see :func:`map_of`; its reference is called ``change``.

    Raises:
        InputError: ``bad_value`` or ``missing_file``.
    """
    true = (classes_before, classes_after) if classes_before and classes_after else None
    if true is None and (classes_before or classes_after):
        raise InputError(
            "The classes of one date only are given.", hint="Give both --classes-before and --classes-after."
        )
    if not Path(prediction).is_dir():
        beside = Classes.beside(prediction) if true else None
        if true and beside is None:
            raise InputError(
                f"Beside {prediction} there are no class maps to compare.",
                hint="Detect with a model that tells classes; semantic_before.tif and semantic_after.tif lie beside.",
                code="missing_file",
            )
        yield Matched(prediction, reference, (beside.before, beside.after) if beside else None, true, bool(true))
        return
    if not Path(reference).is_dir():
        raise InputError(
            f"{prediction} is a folder but {reference} is none.",
            hint=f"Give two folders, or two files{_such_as(prediction)}.",
            code="bad_value",
        )
    yield from _in_folders(Path(prediction), Path(reference))


def map_of(folder: Path) -> Path | None:
    """Return the change map in the folder of a detection; None in any other."""
    path = folder / CHANGE
    return path if path.exists() and read_manifest(folder).get("job") == "detect" else None


def require_one_map(prediction: str | Path) -> None:
    """Refuse a folder where one map is asked for.

    Raises:
        InputError: ``bad_value``.
    """
    if Path(prediction).is_dir():
        raise InputError(
            f"{prediction} is a folder, but labelled points are of one map.",
            hint=f"Give the map itself{_such_as(prediction)}.",
            code="bad_value",
        )


def _such_as(folder: str | Path) -> str:
    return f", such as {path}" if (path := map_of(Path(folder))) else ""


def _in_folders(prediction: Path, reference: Path) -> Iterator[Matched]:
    roots = (prediction, reference)
    laid_out = all((root / "label").is_dir() for root in roots)
    with_classes = laid_out and all((root / f"semantic_{date}").is_dir() for root in roots for date in "AB")
    maps, truths = (root / "label" if laid_out else root for root in roots)
    there = {path.stem: path for path in sorted(truths.iterdir()) if path.suffix.lower() in REFERENCES}
    found = {path: path.name for path in sorted(maps.iterdir()) if path.suffix.lower() in MAPS}
    if of_detection := map_of(prediction):
        found = {of_detection: CHANGE}
    missing = [name for name in found.values() if Path(name).stem not in there]
    if missing or not found:
        raise InputError(
            f"{truths} has no reference for {', '.join(missing[:3])}." if missing else f"{maps} holds no map.",
            hint="Each prediction needs a reference of the same name.",
            code="missing_file",
        )
    if not with_classes:
        yield from (Matched(path, there[Path(name).stem]) for path, name in found.items())
        return
    said, true = ((_Classes(root / "semantic_A"), _Classes(root / "semantic_B")) for root in roots)
    for path, name in found.items():
        seen, known = ((before.of(path), after.of(path)) for before, after in (said, true))
        yield Matched(path, there[Path(name).stem], seen, known)


class _Classes:
    """The class maps of a folder, listed once: it may hold many thousands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        maps = (path for path in folder.iterdir() if path.suffix.lower() in REFERENCES)
        self._first = {path.stem: path for path in sorted(maps, reverse=True)}

    def of(self, path: Path) -> Path:
        if path.stem not in self._first:
            raise InputError(
                f"{self._folder} has no {path.name}.", hint="Each map needs its classes.", code="missing_file"
            )
        return self._first[path.stem]


def compare(
    pair: Matched, threshold: float, objects: bool, min_area: float = 0.0, check: Callable[[], None] = lambda: None
) -> Comparison:
    """Compare one map with its reference.

    Args:
        pair: what to compare; the reference may lie on another grid.
        threshold: for a probability.
        objects: also count connected places.
        min_area: m² (pixels without CRS) below which a place is not counted.
        check: called for each block; may raise to cancel.

    Raises:
        InputError: one cannot be read or compared; ``bad_value`` also where classes are asked for that map and
            reference number differently.
    """
    with ExitStack() as stack:
        mapped = stack.enter_context(ChangeMap(pair.prediction, threshold, check))
        grid, notes = mapped.grid, mapped.notes
        truth = open_truth(pair.reference, grid, notes)
        classes = _classes(pair, grid, stack, notes)
        result = Comparison(np.zeros((0, 4)), mapped.taken_for, notes=notes)
        if mapped.taken_for == PROBABILITY:
            result.levels = np.zeros((GROUPS, LEVELS + 1, 2))
        rows = []
        for number, window in enumerate(grid.windows(UNIT)):
            check()
            predicted, valid = mapped(window)
            true, known = truth(window)
            known = valid & known
            if not known.any():
                continue
            if classes and (pairs := classes.count(window, predicted, true, known)):
                result.states += [pairs[0]] if classes.alike else []
                result.transitions.append(pairs[1])
            rows.append(confusion(predicted, true, known))
            if result.levels is not None:
                result.levels[number % GROUPS] += tally_levels(mapped.levels(window)[known], true[known])
        result.confusion = np.array(rows).reshape(-1, 4)
        if classes:
            result.class_names = classes.names
        if objects and rows:
            result.places = _places(mapped, truth, least_pixels(grid, min_area), check)
    return result


def _classes(pair: Matched, grid: Grid, files: ExitStack, notes: list[str]) -> ClassMaps | None:
    """The class maps of a pair, if it has some whose numbers mean the same in the map and in the reference."""
    if not (pair.said and pair.true):
        return None
    classes = ClassMaps(pair.said, pair.true, grid, files)
    contradiction = classes.contradiction(files=pair.asked)
    if contradiction and pair.asked:
        raise InputError(
            contradiction,
            hint="Give classes that are numbered as the map's are; what means the same must be named alike in both, or "
            "in one alone (items CLASS_0, CLASS_1 … of the metadata). Without classes the change is assessed.",
            code="bad_value",
        )
    if contradiction:
        # Without the files: the same of all maps of a folder is told once.
        notes.append(f"its classes are left out. {contradiction}")
        return None
    if not classes.alike:
        notes.append(
            "classes before and after are different things, as of damage: what turned into what is counted, and there "
            "are no scores of both dates together."
        )
    return classes


def _places(mapped: ChangeMap, truth: Truth, least: int, check: Callable[[], None]) -> tuple[Shares, Shares]:
    def outcomes(window: Window) -> NDArray[np.uint8]:
        check()
        return outcome_of(*mapped(window), *truth(window))

    return place_shares(outcomes, (mapped.grid.height, mapped.grid.width), least, Reporter())


def merged(parts: list[Pairs]) -> Pairs:
    """Counts of several blocks as one."""
    codes = np.concatenate([codes for codes, _ in parts])
    counts = np.concatenate([counts for _, counts in parts])
    found, place = np.unique(codes, return_inverse=True)
    return found, np.bincount(place, weights=counts, minlength=len(found)).astype(np.int64)


def objects_report(places: list[tuple[Shares, Shares]]) -> dict[str, Any]:
    """Return how many places there are and how many are right, of all maps together.

    A known place is found where at least half of it is reported, a reported one is right where at least half of it is
    known to have changed. Intervals are over the maps, or over the places of a single one.
    """
    hits = [[shares >= FOUND_SHARE for shares in each] for each in zip(*places, strict=True)]
    paired = len(places) > 1
    if paired:
        known, reported = (np.array([[hit.size, hit.sum()] for hit in each], np.float64) for each in hits)
    else:
        known, reported = (np.stack([np.ones(hit.size), hit], axis=1) for (hit,) in hits)
    counts = (int(count) for units in (known, reported) for count in units.sum(axis=0))
    named = dict(zip(("known", "found", "reported", "right"), counts, strict=True))
    return named | place_scores_with_intervals(known, reported, paired)
