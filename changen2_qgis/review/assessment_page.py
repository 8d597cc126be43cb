"""How right a detection is, as a page to keep."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from .assessment import in_words

SCORES = (
    # name, what it says of a map
    ("precision", "Precision", "Share of the reported area that did change"),
    ("recall", "Recall", "Share of the changed area that is reported"),
    ("f1", "F1", "Both in one: the harmonic mean of precision and recall"),
    ("iou", "IoU", "Area both reported and changed, of the area that is either"),
    ("kappa", "Kappa", "Agreement beyond what chance would give"),
)

CLASS_SCORES = (("sek", "SeK"), ("miou", "mIoU"), ("score", "Score of SECOND"), ("f_scd", "F_scd"))

NO_INTERVAL = "interval not known"

FEW = 10
"""Blocks below which a bootstrap interval says little."""

OUTCOMES = (
    ("hit", "Found"),
    ("missed", "Missed"),
    ("false", "Reported, but no change"),
    ("right", "No change, as known"),
)


def report(summary: dict[str, Any], prediction: str, reference: str) -> str:
    """An assessment as an HTML page.

    Args:
        summary: of the backend's `evaluate`.
        prediction: what was assessed, for a person.
        reference: what it was compared with.
    """
    told = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in in_words(summary))
    parts = [
        told,
        _score_table(summary),
        _place_table(summary.get("objects")),
        _outcome_table(summary),
        _class_tables(summary.get("semantic")),
        _calibration_tables(summary.get("calibration")),
        _point_tables(summary.get("area_adjusted")),
    ]
    compared = f"<p>Compared with {html.escape(reference)}.</p>"
    if "taken_for" in summary:
        compared += f"<p>The map was taken for: {summary['taken_for']}.</p>"
    title = f"Assessment of {html.escape(prediction)}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>body{{font-family:sans-serif;max-width:48em;margin:2em auto}}"
        "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left}"
        f"</style></head><body><h1>{title}</h1>{compared}{''.join(parts)}"
        "</body></html>"
    )


def _score_table(summary: dict[str, Any]) -> str:
    if "f1" not in summary:
        return ""
    rows = [(name, *_with_interval(summary, key), meaning) for key, name, meaning in SCORES]
    units = summary.get("units", FEW)
    told = ""
    if units < FEW:
        told = f"<p>Intervals are over {units} blocks of the map: with so few they are too narrow.</p>"
    if units == 1:
        told = "<p>A single block of 256² pixels tells no interval.</p>"
    return _table(("Score", "Value", "95 % interval", "Meaning"), rows) + told


def _place_table(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    rows = [
        ("Known and found", f"{found['found']:,} of {found['known']:,}", *_with_interval(found, "recall")),
        ("Reported and right", f"{found['right']:,} of {found['reported']:,}", *_with_interval(found, "precision")),
    ]
    return (
        "<p>Whole places. A known one is found where at least half of it is reported, a reported one is right where "
        "at least half of it is known to have changed:</p>"
        f"{_table(('', 'Places', 'Share', '95 % interval'), rows)}"
    )


def _outcome_table(summary: dict[str, Any]) -> str:
    if "outcome_px" not in summary:
        return ""
    areas = summary["outcome_m2"]
    rows = [
        (name, f"{summary['outcome_px'][key]:,}", "" if areas is None else f"{areas[key] / 10_000:,.3f}")
        for key, name in OUTCOMES
    ]
    return _table(("Outcome", "Pixels", "Hectares"), rows)


def _class_tables(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    scores = [(name, *_with_interval(found, key)) for key, name in CLASS_SCORES]
    changes = [
        (f"{row['from']} → {row['to']}", *(f"{row[key]:,}" for key in ("reference", "prediction", "both")))
        for row in found["from_to"]
    ]
    return (
        f"<p>Classes of what changed:</p>{_table(('Score', 'Value', '95 % interval'), scores)}"
        f"{_table(('From → to', 'Pixels, as known', 'As reported', 'As known and reported'), changes)}"
    )


def _calibration_tables(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    error = "{} ({})".format(*_with_interval(found, "ece"))
    scaling = "no scaling: all that is known is change, or none of it"
    if platt := found.get("platt"):
        scaling = f"error {found['ece_scaled']:.3f}, with a = {platt['a']:.3f} and b = {platt['b']:.3f}"
    measures = [("Calibration error", error), ("After Platt's scaling", scaling)]
    curve = [
        (
            f"{part['low']:.1f} to {part['high']:.1f}",
            f"{part['pixels']:,}",
            f"{part['predicted']:.3f}",
            f"{part['observed']:.3f}",
        )
        for part in found["reliability"]
    ]
    return (
        "<p>Whether the probability means what it says: of pixels with a probability of 0.7, 70 % should have "
        f"changed.</p>{_table(('Measure', 'Value'), measures)}"
        f"{_table(('Probability', 'Pixels', 'Mean', 'Share that changed'), curve)}"
    )


def _point_tables(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    counts = _table(
        ("Points on", "labelled no change", "labelled change"),
        [(name, *map(str, row)) for name, row in zip(("no change", "change"), found["matrix"])],
    )
    rows = [("Overall accuracy", _interval(found["overall"][0]))]
    for number, name in enumerate(("no change", "change")):
        rows.append((f"User's accuracy of {name}", _interval(found["users"][number])))
        rows.append((f"Producer's accuracy of {name}", _interval(found["producers"][number])))
        rows.append((f"Area of {name} ({found['area_unit']})", _interval(found["area"][number], 0)))
    by = "Olofsson et al. 2014, with finite population correction"
    if found["strata_differ"]:
        by = "Stehman 2014: the map has changed since the points were drawn, and they count as they were drawn"
    return (
        f"<p>Area-adjusted accuracy from labelled points, with 95 % intervals (by {by}):</p>"
        f"{counts}{_table(('Measure', 'Value'), rows)}"
    )


def _with_interval(found: dict[str, Any], key: str) -> tuple[str, str]:
    value, low, high = (found[f"{key}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "–", "not defined"
    # A single block, drawn again and again, is always the same.
    return f"{value:.3f}", NO_INTERVAL if low == high and 0 < value < 1 else f"{low:.3f} to {high:.3f}"


def _interval(estimate: dict[str, float | None] | None, digits: int = 3) -> str:
    if estimate is None:
        return "not known: no point tells"
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    return f"{value:,.{digits}f} ({NO_INTERVAL if low is None else f'{low:,.{digits}f} to {high:,.{digits}f}'})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [("th", head), *(("td", row) for row in rows)]
    cells = ("".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) for tag, texts in lines)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
