"""Where the plugin's own files are: installed in a QGIS profile, or run from the source tree."""

from __future__ import annotations

import configparser
from pathlib import Path

PLUGIN_DIR = Path(__file__).resolve().parent


def _beside(name: str) -> Path:
    """The file or folder of that name inside the installed plugin, else one level up (source tree)."""
    installed = PLUGIN_DIR / name
    return installed if installed.exists() else PLUGIN_DIR.parent / name


def resources_dir() -> Path:
    """The folder with icons, styles, help and translations."""
    return _beside("resources")


def backend_dir() -> Path:
    """The folder that ``pip install`` takes to install the backend."""
    return _beside("backend")


def source_root() -> Path | None:
    """The source tree this plugin runs from, or None when it is installed."""
    root = PLUGIN_DIR.parent
    in_source = not (PLUGIN_DIR / "metadata.txt").exists() and (root / "backend" / "pyproject.toml").exists()
    return root if in_source else None


def version() -> str:
    """The version in ``metadata.txt``, its single home."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(_beside("metadata.txt"), encoding="utf8")
    return metadata.get("general", "version")
