"""The output folder of a job: what it may replace there, and what it must leave alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from changen2.errors import InputError
from changen2.jobs.runs.journal import has_finished_blocks
from changen2.jobs.runs.manifest import read_manifest
from changen2.paths import local_file
from changen2.raster.output_folder import OutputFolder
from changen2.training.run import CHECKPOINT

SERIES = r"(labels_t\d+|change_t\d+_t\d+|image_t\d+(_patches)?)\.(tif|vrt)|change_events\.gpkg|manifest\.json"
"""Names of the files of a series."""


class Settings(Protocol):
    """What a request says of its folder; see ``DetectRequest``."""

    @property
    def out_dir(self) -> str: ...  # noqa: D102
    @property
    def resume(self) -> bool: ...  # noqa: D102
    @property
    def overwrite(self) -> bool: ...  # noqa: D102


def run_folder(request: Settings, results: str, inputs: Iterable[str | None]) -> OutputFolder:
    """Return the folder of a run that keeps a journal of its finished parts.

    Args:
        request: the run's.
        results: pattern of the files and folders that the run writes into it.
        inputs: what the run reads.

    Raises:
        InputError: as of :class:`OutputFolder` and :func:`check_apart`; ``bad_value``: going on and starting anew are
            both asked for.
    """
    if request.resume and request.overwrite:
        raise InputError(
            "Both --resume and --overwrite are given: go on, or start anew?",
            hint="Leave one of them out.",
            code="bad_value",
        )
    check_apart(request.out_dir, results, inputs)
    return OutputFolder(
        request.out_dir,
        overwrite=request.overwrite,
        results=results,
        resume=request.resume,
        resumable=has_finished_blocks,
        unfinished=is_unfinished,
    )


def check_apart(out_dir: str, results: str, inputs: Iterable[str | None]) -> None:
    """Refuse to write results over the inputs that they are made of.

    Args:
        out_dir: the output folder.
        results: pattern of names in it.
        inputs: paths; None and what is no path are passed over.

    Raises:
        InputError: ``input_in_output``.
    """
    folder = Path(out_dir).resolve()
    for given in inputs:
        file = None if given is None else local_file(given)
        if file is None:
            continue
        path = file.resolve()
        if path.is_relative_to(folder) and re.match(rf"({results})(/|$)", path.relative_to(folder).as_posix()):
            raise InputError(
                f"{given} lies where a result would be written.",
                hint="Choose another output folder.",
                code="input_in_output",
            )


def is_unfinished(work: Path) -> bool:
    """Tell whether a work folder holds what a run of any kind could go on from."""
    return has_finished_blocks(work) or (work / CHECKPOINT).exists()


def series_there(folder: Path) -> set[str]:
    """The files of the series that a folder holds, by its manifest."""
    manifest = read_manifest(folder)
    outputs = manifest.get("outputs") if manifest.get("job") in ("simulate", "synthesize") else None
    names = outputs.values() if isinstance(outputs, dict) else ()
    return {name for name in names if isinstance(name, str) and re.fullmatch(SERIES, name)}


def files_there(folder: Path, pattern: str) -> set[str]:
    """The files of a folder, and of those in it, whose names in the folder match a pattern."""
    names = {path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_file()}
    return {name for name in names if re.fullmatch(pattern, name)}
