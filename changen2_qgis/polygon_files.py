"""The polygons of a detection: a file for each threshold that was applied, and the review marks in all of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from qgis.core import QgsFeatureRequest, QgsVectorLayer
from qgis.PyQt.QtGui import QTransform

TABLE = "change"

_POLYGONS, _CHANGE = "change.gpkg", "change.tif"
_MANIFESTS = ("vectorize_manifest.json", "manifest.json")
"""Beside the polygons of another threshold, and beside those of the run's own."""

_CHANGED = "SELECT CAST(last_change AS TEXT) AS changed FROM gpkg_contents WHERE table_name = 'change'"


def ogr_source(path: str, table: str = TABLE) -> str:
    """A table of a GeoPackage as QGIS names it."""
    return f"{path}|layername={table}"


def smallest_area(folder: str | Path) -> float:
    """The area in m² below which a run left places out of its polygons."""
    return _number(_manifest_of(Path(folder) / _POLYGONS), "parameters", "min_area")


def made_before(folder: str | Path, threshold: float) -> dict[str, str] | None:
    """The binary map and the polygons of a run at a threshold, by role; None where it was never applied."""
    least = smallest_area(folder)
    for polygons in reversed(_polygon_files(folder)):
        manifest, change = _manifest_of(polygons), polygons.with_name(_CHANGE)
        made_with = _number(manifest, "summary", "threshold"), _number(manifest, "parameters", "min_area")
        if made_with == (threshold, least) and change.exists():
            return {"change": str(change), "polygons": str(polygons)}
    return None


def marks_of_run(folder: str | Path, to_map: QTransform | None = None) -> dict[bytes, str]:
    """The review marks of a run at all its thresholds, by the place's shape; of two marks the newer one.

    Args:
        folder: of the run.
        to_map: from the coordinates of the files to those on the map; None where they are the same.
    """
    marks: dict[bytes, str] = {}
    for path in _polygon_files(folder):
        marks.update(marks_of(QgsVectorLayer(ogr_source(str(path)), path.parent.name, "ogr"), to_map))
    return marks


def marks_of(layer: QgsVectorLayer, to_map: QTransform | None = None) -> dict[bytes, str]:
    """The review marks in a layer of polygons, by the place's shape; see `marks_of_run`."""
    marks = {}
    for feature in layer.getFeatures(QgsFeatureRequest().setFilterExpression("review IN ('confirmed', 'rejected')")):
        geometry = feature.geometry()
        if to_map is not None:
            geometry.transform(to_map)
        marks[geometry.asWkb().data()] = feature["review"]
    return marks


def _polygon_files(folder: str | Path) -> list[Path]:
    """At the run's own threshold and at others, the one that was changed last at the end."""
    files = (Path(folder) / _POLYGONS, *Path(folder).glob(f"threshold */{_POLYGONS}"))
    return sorted((path for path in files if path.exists()), key=_last_change)


def copy_of(original: Path) -> Path:
    """Where the copy of a file of polygons is that QGIS shows in its stead.

    It bears the name of the result that it is a copy of: of another one that has replaced it there is none yet.
    """
    made = max(str(manifest.get("began") or "") for manifest in _manifests_of(original))
    name = hashlib.sha256(made.encode()).hexdigest()[:8]
    return original.with_name(f"{original.stem}_display_{name}.gpkg")


def _last_change(path: Path) -> str:
    """When a GeoPackage's polygons were last changed, as it says itself: its file's time changes when it is read."""
    contents = QgsVectorLayer(f"{ogr_source(str(path))}|subset={_CHANGED}", "contents", "ogr")
    return next((str(row["changed"]) for row in contents.getFeatures()), "")


def _manifest_of(polygons: Path) -> dict[str, Any]:
    """What made a file of polygons; empty where nothing tells."""
    return next(filter(None, _manifests_of(polygons)), {})


def _manifests_of(polygons: Path) -> list[dict[str, Any]]:
    """What is said beside a file of polygons, in the order of `_MANIFESTS`; each empty where it is missing."""
    found: list[dict[str, Any]] = []
    for name in _MANIFESTS:
        try:
            found.append(dict(json.loads(polygons.with_name(name).read_text(encoding="utf8"))))
        except (OSError, ValueError, TypeError):  # none, or one from elsewhere
            found.append({})
    return found


def _number(manifest: dict[str, Any], part: str, name: str) -> float:
    return float(manifest.get(part, {}).get(name) or 0.0)
