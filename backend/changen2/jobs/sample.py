"""Draw the simulated sample scene, so that a first look needs no imagery."""

from __future__ import annotations

import math
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from changen2.errors import InputError
from changen2.jobs.runs.manifest import versions, write_manifest
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.protocol import SampleRequest, validate
from changen2.raster.gdal import gdal_environment
from changen2.raster.output_folder import OutputFolder
from changen2.scenes.sample import BYTES_PER_PIXEL, write_sample

MANIFEST = "sample_manifest.json"
"""Not as a run's is called: in a folder of runs a scene is none."""


def sample(
    out_dir: str | Path,
    *,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Draw the scene of two dates.

    Args:
        out_dir: folder for it.
        on_progress: receives ``Progress``.
        is_cancelled: asked again and again, until the files are put into their place.
        **options: fields of ``SampleRequest``.

    Returns:
        ``outputs``: name → path.

    Raises:
        InputError: bad input, ``too_large`` among it: more than there is memory for; nothing is left behind.
        JobError: ``disk``: the disk is full; as above.
        Cancelled: ``is_cancelled`` said so; as above.
    """
    request = validate(SampleRequest, {"out_dir": out_dir, **options})
    return run(request, Reporter(on_progress, is_cancelled))


def run(request: SampleRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request."""
    check_memory(request.size, psutil.virtual_memory().available)
    began, clock = datetime.now(timezone.utc), time.monotonic()
    reporter.step("write", 0, 1)
    with gdal_environment(), OutputFolder(request.out_dir) as folder:
        made = write_sample(folder.work, size=request.size, seed=request.seed, check=reporter.check)
        names = {name: Path(path).name for name, path in made.items()}
        manifest = {
            "job": "sample",
            "began": began.isoformat(),
            "versions": versions(),
            "inputs": {},
            "parameters": request.model_dump(),
            "seconds": round(time.monotonic() - clock, 2),
            "outputs": names,
        }
        write_manifest(folder.work / MANIFEST, manifest)
        reporter.step("write", 1, 1)
        placed = folder.publish([*names.values(), MANIFEST])
    return {"outputs": {name: str(placed[file]) for name, file in (names | {"manifest": MANIFEST}).items()}}


def check_memory(size: int, free: int) -> None:
    """Refuse a scene that would take more memory than there is.

    Args:
        size: pixels along its side.
        free: bytes.

    Raises:
        InputError: ``too_large``.
    """
    needed = size**2 * BYTES_PER_PIXEL
    if needed > free:
        raise InputError(
            f"A scene of {size} × {size} pixels takes {needed / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free.",
            hint=f"Draw at most {math.isqrt(free // BYTES_PER_PIXEL)} pixels a side, or close other programs.",
            code="too_large",
        )
