"""``manifest.json``: what made a result, completely enough to make it again."""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import rasterio

from changen2 import __version__
from changen2.raster.grid import Grid
from changen2.raster.reading import open_raster

_SECRET = re.compile(
    r"""(?ix)\b( [\w-]*(?: key | token | password | passwd | pwd | secret | sig | signature | credential | authorization
                       | authcfg | accessid | keyid | key-pair-id | user | username ) (?: = | %3D ) )
        (?: '[^']*' | "[^"]*" | [^&\s'"]+ )"""
)
_USERINFO = re.compile(r"(?i)(://|%3A%2F%2F)(?:(?!%2F)[^/@\s])+(@|%40)")


def redact(text: str) -> str:
    """Hide credentials in a layer source: keys and passwords in queries, and user:password@host."""
    return _USERINFO.sub(r"\1***\2", _SECRET.sub(r"\1***", text))


def redacted(content: Any) -> Any:
    """Return what JSON can hold of some content, without the credentials in any of its texts, keys included."""
    if isinstance(content, dict):
        return {redact(str(key)): redacted(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [redacted(value) for value in content]
    return content if content is None or isinstance(content, bool | int | float) else redact(str(content))


def describe_input(path: str | Path) -> dict[str, Any]:
    """Return what identifies an input raster: source, CRS, size, data types, modification time."""
    with open_raster(path) as dataset:
        grid = Grid.of(dataset)
        known = {
            "path": redact(str(path)),
            "crs": grid.crs.to_string() if grid.crs else None,
            "width": grid.width,
            "height": grid.height,
            "transform": list(grid.geotransform or grid.transform)[:6],
            "dtypes": list(dataset.dtypes),
            "nodata": None if dataset.nodata is None else str(dataset.nodata),
        }
    if os.path.exists(path):  # noqa: PTH110 - also true for what is no plain path
        stat = Path(path).stat()
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


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what the manifest of a run says; empty where there is none, or none of ours."""
    try:
        content = json.loads((folder / "manifest.json").read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
