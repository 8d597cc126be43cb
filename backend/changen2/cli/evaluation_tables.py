"""What an evaluation found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from changen2.cli.terminal import make_console

SCORES = {
    "f1": ("F1", "precision and recall in one: their harmonic mean"),
    "iou": ("IoU", "area both reported and changed, of the area that is either"),
    "precision": ("precision", "share of the reported area that did change"),
    "recall": ("recall", "share of the changed area that is reported"),
    "kappa": ("kappa", "agreement beyond what chance would give"),
}

FEW = 10
"""Blocks or maps below which a bootstrap interval says little."""

NONE = "–"
"""In place of a score that is not defined, as where nothing changed."""

NO_INTERVAL = "interval not known"

CLASS_SCORES = {"sek": "SeK", "miou": "mIoU", "score": "score of SECOND", "f_scd": "F_scd"}


def show(result: dict[str, Any], console: Console | None = None) -> None:
    """Print an evaluation.

    Args:
        result: of `changen2.jobs.evaluate.evaluate`.
        console: where to; None: standard output.
    """
    console = console or make_console()
    for table in tables(result):
        console.print(table)


def tables(result: dict[str, Any]) -> Iterator[Table]:
    """Yield the tables of what there is, of pixels first."""
    if "f1" in result:
        yield _scores(result)
    if "objects" in result:
        yield _places(result["objects"])
    if "semantic" in result:
        yield from _classes(result["semantic"])
    if "calibration" in result:
        yield from _calibration(result["calibration"])
    if "area_adjusted" in result:
        yield from _points(result["area_adjusted"])


def _scores(result: dict[str, Any]) -> Table:
    rows = [(said, *_with_interval(result, name), meaning) for name, (said, meaning) in SCORES.items()]
    units = result["units"]
    told = None
    if units < FEW:
        told = f"Intervals are over {units} blocks or maps: with so few they are too narrow."
    if units == 1:
        told = "A single block of 256² pixels tells no interval."
    return _table(
        f"{result['pixels']:,} pixels, taken for: {result['taken_for']}",
        ("score", "value", "95 % interval", "meaning"),
        rows,
        told,
    )


def _places(places: dict[str, Any]) -> Table:
    rows = [
        ("known and found", f"{places['found']:,} of {places['known']:,}", *_with_interval(places, "recall")),
        ("reported and right", f"{places['right']:,} of {places['reported']:,}", *_with_interval(places, "precision")),
        ("both in one: F1", "", *_with_interval(places, "f1")),
    ]
    return _table("Whole places", ("", "places", "share", "95 % interval"), rows)


def _classes(semantic: dict[str, Any]) -> Iterator[Table]:
    rows = [(said, *_with_interval(semantic, name)) for name, said in CLASS_SCORES.items()]
    yield _table("Classes of what changed", ("score", "value", "95 % interval"), rows)
    of_class = [
        (name, *(_number(found[score]) for score in ("precision", "recall", "f1", "iou")), f"{found['pixels']:,}")
        for name, found in semantic["classes"].items()
    ]
    if of_class:
        yield _table("Each class, both dates", ("class", "precision", "recall", "F1", "IoU", "pixels so"), of_class)
    from_to = [
        (f"{row['from']} → {row['to']}", *(f"{row[name]:,}" for name in ("reference", "prediction", "both")))
        for row in semantic["from_to"]
    ]
    yield _table("From class to class, in pixels", ("change", "so", "said", "said and so"), from_to)


def _calibration(found: dict[str, Any]) -> Iterator[Table]:
    error, interval = _with_interval(found, "ece")
    rows = [("calibration error", f"{error} ({interval})")]
    if platt := found.get("platt"):
        rows.append(("after Platt's scaling", f"{found['ece_scaled']:.3f}"))
        rows.append(("Platt's sigmoid(a · logit(p) + b)", f"a = {platt['a']:.3f}, b = {platt['b']:.3f}"))
    else:
        rows.append(("Platt's scaling", "no scaling: all of the reference is change, or none"))
    yield _table("Probability", ("measure", "value"), rows)
    curve = [
        (
            f"{part['low']:.1f} to {part['high']:.1f}",
            f"{part['pixels']:,}",
            *(f"{part[name]:.3f}" for name in ("predicted", "observed")),
        )
        for part in found["reliability"]
    ]
    yield _table("What was said and what was so", ("probability", "pixels", "mean said", "share changed"), curve)


def _points(found: dict[str, Any]) -> Iterator[Table]:
    names = ("no change", "change")
    counts = [(name, *(f"{count:,}" for count in row)) for name, row in zip(names, found["matrix"], strict=True)]
    yield _table(f"{found['points']:,} labelled points", ("on", "labelled no change", "labelled change"), counts)
    unit = "m²" if found["area_unit"] == "m2" else "pixels"
    rows = [("overall accuracy", *_estimate(found["overall"][0]))]
    for number, name in enumerate(names):
        rows.append((f"user's accuracy of {name}", *_estimate(found["users"][number])))
        rows.append((f"producer's accuracy of {name}", *_estimate(found["producers"][number])))
        rows.append((f"area of {name} ({unit})", *_estimate(found["area"][number], 0)))
    by = "Olofsson et al. 2014, with finite population correction"
    if found["strata_differ"]:
        by = "Stehman 2014: drawn on another state of the map"
    yield _table(f"Area-adjusted (by {by})", ("measure", "value", "95 % interval"), rows)


def _with_interval(found: dict[str, Any], name: str) -> tuple[str, str]:
    value, low, high = (found[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return NONE, "not defined"
    # A single block, drawn again and again, is always the same.
    return f"{value:.3f}", NO_INTERVAL if low == high and 0 < value < 1 else f"{low:.3f} to {high:.3f}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _estimate(found: dict[str, float | None] | None, digits: int = 3) -> tuple[str, str]:
    if found is None:
        return "not known", "no point tells"
    value, low, high = (
        None if found[name] is None else f"{found[name]:,.{digits}f}" for name in ("value", "low", "high")
    )
    return str(value), NO_INTERVAL if low is None else f"{low} to {high}"


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], caption: str | None = None) -> Table:
    table = Table(*head, title=title, title_justify="left", caption=caption, caption_justify="left")
    for row in rows:
        table.add_row(*row)
    return table
