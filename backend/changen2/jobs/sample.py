"""Draw the simulated sample scene, so that a first look needs no imagery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from changen2.jobs.progress import Reporter
from changen2.protocol import SampleRequest
from changen2.raster.reading import gdal_environment
from changen2.raster.writing import OutputFolder
from changen2.scenes.sample import write_sample


def run(request: SampleRequest, reporter: Reporter) -> dict[str, Any]:
    """Write the scene; return name → path."""
    reporter.step("write", 0, 1)
    with gdal_environment(), OutputFolder(request.out_dir) as folder:
        made = write_sample(folder.work, size=request.size, seed=request.seed)
        placed = folder.publish([Path(path).name for path in made.values()])
    reporter.step("write", 1, 1)
    return {"outputs": {name: str(placed[Path(path).name]) for name, path in made.items()}}
