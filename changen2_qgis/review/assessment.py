"""How right a detection is, in plain words, and as a layer of hits and misses."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer

from ..result_groups import ROLE
from ..results import DetectionGroup, open_raster, style_detection_layer

LAYER_NAME = "Found, missed, false"

_WORDS = "changen2/assessment"


def in_words(summary: dict[str, Any]) -> list[str]:
    """An assessment as sentences, the most telling first.

    Args:
        summary: of the backend's `evaluate`.
    """
    said = []
    if "places" in summary:
        pixels = summary.get("outcome_px", {})
        said.append(_places(summary["places"], bool(pixels.get("hit") or pixels.get("missed"))))
    recall, precision = summary.get("recall"), summary.get("precision")
    # Both are undefined, that is None, where there is nothing that they could be a share of.
    if recall is not None:
        right = "no area was reported" if precision is None else f"{precision:.0%} of the reported area did change"
        said.append(f"{recall:.0%} of the changed area was found, and {right} (F1 {summary['f1']:.2f}).")
    if "area_adjusted" in summary:
        said.append(_from_points(summary["area_adjusted"]))
    return said


def _places(places: dict[str, int], some_known: bool) -> str:
    """Such as: 8 of 10 known changes were found, 1 more in part; 2 places were reported that did not change."""
    known, found, part = places["known"], places["found"], places["found_in_part"]
    if known == 0 and some_known:
        first = "No known change is as large as the smallest area that is counted"
    elif known == 0:
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
    return " ".join(
        [
            f"By {found['points']:,} labelled points, {overall['value']:.0%} of the map is right"
            f"{_between(overall, '{:.0%}')}, and {changed['value'] / scale:,.2f} {unit}"
            f"{_between(changed, '{:,.2f}', scale)} changed.",
            *found["unseen"],
        ]
    )


def _between(estimate: dict[str, Any], form: str, scale: float = 1) -> str:
    """The interval of an estimate, if it has one; else what was not seen tells why."""
    if estimate["low"] is None:
        return ""
    low, high = (form.format(estimate[end] / scale) for end in ("low", "high"))
    return f" (95 % interval {low} to {high})"


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
