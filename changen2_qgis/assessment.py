"""How right a detection is, in plain words, as a page to keep, and as a layer of hits and misses."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer

from .results import ROLE, DetectionGroup, open_raster, style_detection_layer

LAYER_NAME = "Found, missed, false"

_WORDS = "changen2/assessment"

SCORES = (
    # name, what it says of a map
    ("precision", "Precision", "Share of the reported area that did change"),
    ("recall", "Recall", "Share of the changed area that is reported"),
    ("f1", "F1", "Both in one: the harmonic mean of precision and recall"),
    ("iou", "IoU", "Area both reported and changed, of the area that is either"),
    ("kappa", "Kappa", "Agreement beyond what chance would give"),
)

OUTCOMES = (
    ("hit", "Found"),
    ("missed", "Missed"),
    ("false", "Reported, but no change"),
    ("right", "No change, as known"),
)


def in_words(summary: dict[str, Any]) -> list[str]:
    """An assessment as sentences, the most telling first.

    Args:
        summary: of the backend's `evaluate`.
    """
    said = []
    if "places" in summary:
        said.append(_places(summary["places"]))
    if "f1" in summary and summary.get("places", {}).get("known", 1):
        recall, precision = summary["recall"], summary["precision"]
        said.append(
            f"{recall:.0%} of the changed area was found, and {precision:.0%} of the reported area did change "
            f"(F1 {summary['f1']:.2f})."
        )
    if "area_adjusted" in summary:
        said.append(_from_points(summary["area_adjusted"]))
    return said


def _places(places: dict[str, int]) -> str:
    """Such as: 8 of 10 known changes were found, 1 more in part; 2 places were reported that did not change."""
    known, found, part = places["known"], places["found"], places["found_in_part"]
    if known == 0:
        first = "No change is known here"
    elif known == 1:
        first = "The known change was " + ("found" if found else "found in part" if part else "missed")
        part = 0
    else:
        first = f"{found} of {known:,} known changes {'was' if found == 1 else 'were'} found"
    if part:
        first += f", {part:,} {'more ' if found else ''}in part"
    false = places["false"]
    if false == 0:
        second = "no place was reported that did not change"
    else:
        second = f"{false:,} {'place was' if false == 1 else 'places were'} reported that did not change"
    return f"{first}; {second}."


def _from_points(found: dict[str, Any]) -> str:
    overall, (_, changed) = found["overall"][0], found["area"]
    unit, scale = (("ha", 10_000) if found["area_unit"] == "m2" else ("pixels", 1))  # fmt: skip
    half = (changed["high"] - changed["value"]) / scale
    return (
        f"By {found['points']:,} labelled points, {overall['value']:.0%} of the map is right "
        f"(95 % interval {max(0.0, overall['low']):.0%} to {min(1.0, overall['high']):.0%}), "
        f"and {changed['value'] / scale:,.2f} ± {half:,.2f} {unit} changed."
    )


def report(summary: dict[str, Any], prediction: str, reference: str) -> str:
    """An assessment as an HTML page.

    Args:
        summary: of the backend's `evaluate`.
        prediction: what was assessed, for a person.
        reference: what it was compared with.
    """
    told = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in in_words(summary))
    parts = [told, _score_table(summary), _outcome_table(summary), _point_tables(summary.get("area_adjusted"))]
    title = f"Assessment of {html.escape(prediction)}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>body{{font-family:sans-serif;max-width:48em;margin:2em auto}}"
        "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left}"
        f"</style></head><body><h1>{title}</h1><p>Compared with {html.escape(reference)}.</p>{''.join(parts)}"
        "</body></html>"
    )


def _score_table(summary: dict[str, Any]) -> str:
    if "f1" not in summary:
        return ""
    rows = [
        (name, f"{summary[key]:.3f}", f"{summary[f'{key}_low']:.3f} to {summary[f'{key}_high']:.3f}", meaning)
        for key, name, meaning in SCORES
    ]
    return _table(("Score", "Value", "95 % interval", "Meaning"), rows)


def _outcome_table(summary: dict[str, Any]) -> str:
    if "outcome_px" not in summary:
        return ""
    areas = summary["outcome_m2"]
    rows = [
        (name, f"{summary['outcome_px'][key]:,}", "" if areas is None else f"{areas[key] / 10_000:,.3f}")
        for key, name in OUTCOMES
    ]
    return _table(("Outcome", "Pixels", "Hectares"), rows)


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
    by = "Olofsson et al. 2014"
    if found["strata_differ"]:
        by = "Stehman 2014: the map has changed since the points were drawn, and they count as they were drawn"
    return (
        f"<p>Area-adjusted accuracy from labelled points, with 95 % intervals (by {by}):</p>"
        f"{counts}{_table(('Measure', 'Value'), rows)}"
    )


def _interval(estimate: dict[str, float] | None, digits: int = 3) -> str:
    if estimate is None:
        return "not known: no point tells"
    return (
        f"{estimate['value']:,.{digits}f} ({estimate['low']:,.{digits}f} to {estimate['high']:,.{digits}f})"
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [("th", head), *(("td", row) for row in rows)]
    cells = ("".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) for tag, texts in lines)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def style_assessment(layer: QgsMapLayer) -> None:
    """Colours and names from the file; where nothing changed, as known, the map below shows."""
    style_detection_layer(layer, "change_class")


def add_assessment(group: DetectionGroup, path: str) -> QgsRasterLayer:
    """Add an assessment at the top of a detection's group, instead of an earlier one.

    Args:
        group: the detection.
        path: of `assessment.tif`.

    Raises:
        OSError: the file cannot be opened.
    """
    layer = open_raster(path, LAYER_NAME)
    if not layer.isValid():
        raise OSError(f"QGIS cannot open {path}. It may have been moved: assess again.")
    style_assessment(layer)
    older = group.layer("assessment")
    layer.setCustomProperty(ROLE, "assessment")
    project = QgsProject.instance()
    project.addMapLayer(layer, False)
    group.node.insertLayer(0, layer)
    if older is not None:
        project.removeMapLayer(older.id())
    return layer


def keep_words(group: DetectionGroup, words: str) -> None:
    """Keep with a detection, in the project file, what its last assessment said."""
    group.node.setCustomProperty(_WORDS, words)


def kept_words(group: DetectionGroup) -> str:
    """What the last assessment of a detection said; empty where there was none."""
    return str(group.node.customProperty(_WORDS, ""))
