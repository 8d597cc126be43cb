"""``manifest.json``: what made a result, completely enough to make it again."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyogrio
import rasterio

from changen2 import __version__
from changen2.errors import InputError
from changen2.jobs.runs.files_behind import behind
from changen2.paths import local_file
from changen2.raster.grid import Grid
from changen2.raster.layers import Kind, chosen_layer
from changen2.raster.reading import open_raster
from changen2.raster.vector_files import for_pyogrio
from changen2.redaction import redact, redacted


def describe_input(path: str | Path) -> dict[str, Any]:
    """Return what identifies an input raster: source, CRS, size, data types, modification time, files behind it."""
    with open_raster(path) as dataset:
        grid = Grid.of(dataset)
        return {
            **describe_file(path),
            **behind(dataset),
            "crs": grid.crs.to_string() if grid.crs else None,
            "width": grid.width,
            "height": grid.height,
            "transform": list(grid.geotransform or grid.transform)[:6],
            "dtypes": list(dataset.dtypes),
            "nodata": None if dataset.nodata is None else str(dataset.nodata),
        }


def describe_layer(path: str | Path, kind: Kind = "polygon", usual: Sequence[str] = ()) -> dict[str, Any]:
    """Return what identifies an input layer of polygons or points: source, CRS, features, size, modification time.

    Of one that is gone since it was read only the source: a result is worth having without that.

    Args:
        path: of the layer, as it was read.
        kind, usual: as of :func:`changen2.raster.layers.read_layer`, by which it was chosen.
    """
    try:
        file, name = chosen_layer(path, kind, usual=usual)
        with for_pyogrio(file) as opened:
            about = pyogrio.read_info(opened, layer=name, force_feature_count=True)
    except (InputError, pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        return describe_file(path)
    return {**describe_file(path), "crs": about["crs"], "features": about["features"]}


def describe_file(path: str | Path) -> dict[str, Any]:
    """Return a source, and of a file its size in bytes and its modification time."""
    known: dict[str, Any] = {"path": redact(str(path))}
    if file := local_file(str(path)):
        stat = file.stat()
        known["bytes"] = stat.st_size
        known["modified"] = datetime.fromtimestamp(stat.st_mtime, timezone.utc).isoformat()
    return known


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    import torch

    return {
        "changen2": __version__,
        "torch": str(torch.__version__),
        "gdal": rasterio.__gdal_version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def write_manifest(path: Path, content: dict[str, Any]) -> None:
    """Write a manifest as readable JSON, without credentials."""
    path.write_text(json.dumps(redacted(content), indent=2, ensure_ascii=False) + "\n", encoding="utf8")


def detector_of(folder: Path) -> dict[str, Any] | None:
    """Return what the manifest of a detection says of its model; None where there is none, or none of ours."""
    return _model_of(folder, "detect")


def generator_of(folder: Path) -> dict[str, Any] | None:
    """Return what the manifest of drawn images says of the generator; None where there is none, or none of ours."""
    return _model_of(folder, "generate", "synthesize")


def _model_of(folder: Path, *jobs: str) -> dict[str, Any] | None:
    made = read_manifest(folder)
    model = made.get("model")
    return model if made.get("job") in jobs and isinstance(model, dict) and "name" in model else None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what the manifest of a run says; empty where there is none, or none of ours."""
    try:
        content = json.loads((folder / "manifest.json").read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
