"""Changen2: change detection and change synthesis on rasters of any size.

``changen2.detect(before, after, out_dir, …)`` and its siblings are the jobs that the terminal, the
worker and QGIS run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from changen2.jobs.detect import detect
    from changen2.jobs.evaluate import evaluate
    from changen2.jobs.finetune import finetune
    from changen2.jobs.generate import generate
    from changen2.jobs.sample import sample
    from changen2.jobs.simulate import simulate
    from changen2.jobs.synthesize import synthesize
    from changen2.jobs.vectorize import vectorize

__version__ = (Path(__file__).parent / "VERSION").read_text(encoding="utf8").strip()

_JOBS = ("detect", "evaluate", "finetune", "generate", "sample", "simulate", "synthesize", "vectorize")

__all__ = ["__version__", "detect", "evaluate", "finetune", "generate", "sample", "simulate", "synthesize", "vectorize"]


def __getattr__(name: str) -> Any:
    """Load a job when it is first asked for: ``import changen2`` alone is instant, torch is not."""
    if name in _JOBS:
        from importlib import import_module

        return getattr(import_module(f"changen2.jobs.{name}"), name)
    raise AttributeError(f"module 'changen2' has no attribute {name!r}")
