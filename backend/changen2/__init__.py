"""Changen2: change detection and change synthesis on rasters of any size."""

from __future__ import annotations

from pathlib import Path

__version__ = (Path(__file__).parent / "VERSION").read_text(encoding="utf8").strip()
