"""The journal of a run's finished blocks, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from changen2.errors import InputError
from changen2.jobs.runs.files_behind import behind_mosaic
from changen2.paths import local_file
from changen2.raster.writing import disk_errors, to_disk
from changen2.redaction import redacted

NAME = "journal.jsonl"
REQUEST = "request.json"

MADE_BY = frozenset({"versions", "edition", "unchanged"})
"""Keys of a job that no setting changes."""


class Journal:
    """One line that says which job this is, then one line a finished block.

    A line that was cut off (a full disk, a loss of power) is dropped: its block is done again.

    Args:
        folder: the run's work folder.
        job: what the result depends on; a journal of another job is refused. Credentials are neither kept nor compared:
            a source that was signed anew is the same source.

    Raises:
        InputError: ``other_job`` where the journal in the folder belongs to another job.
    """

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self._path = folder / NAME
        self.blocks: list[dict[str, int]] = []
        wanted = redacted(job)
        lines = _whole_lines(self._path)
        if not lines:
            with disk_errors(self._path):
                self._path.write_text(json.dumps(wanted) + "\n", encoding="utf8", newline="\n")
            return
        begun = json.loads(lines[0])
        if begun != wanted:
            differing = sorted(key for key in {*begun, *wanted} if begun.get(key) != wanted.get(key))
            hint = "Run it with the same inputs and settings, or start anew with --overwrite."
            if MADE_BY.intersection(differing):
                hint = (
                    "It was begun by another version of changen2, or of what that builds on. Start anew with "
                    "--overwrite or in another folder."
                )
            raise InputError(
                f"The unfinished run in {folder.parent} differs from this one in: {', '.join(differing)}.",
                hint=hint,
                code="other_job",
            )
        with disk_errors(self._path):
            os.truncate(self._path, sum(map(len, lines)))
        self.blocks = [json.loads(line) for line in lines[1:]]

    @property
    def done(self) -> set[tuple[int, int]]:
        """Rows and columns of the finished blocks."""
        return {(block["i"], block["j"]) for block in self.blocks}

    def add(self, wrote: Iterable[Path] = (), **block: int) -> None:
        """Note a block as finished, once everything it wrote is on disk, where a loss of power leaves both.

        Args:
            wrote: files of the block that nobody has brought there yet.
            **block: what to note.

        Raises:
            JobError: ``disk``.
        """
        files = list(wrote)
        for path in (*files, *{file.parent for file in (*files, self._path)}):
            with disk_errors(path):
                to_disk(path)
        self.blocks.append(block)
        with disk_errors(self._path):
            with self._path.open("a", encoding="utf8", newline="\n") as file:
                file.write(json.dumps(block) + "\n")
            to_disk(self._path)

    def discard(self) -> None:
        """Forget all that is finished: nothing of it is worth going on from."""
        self.blocks = []
        self._path.unlink(missing_ok=True)


def note_request(work: Path, method: str, request: BaseModel) -> None:
    """Keep what was asked for beside the journal, so that whoever finds the unfinished run can ask for the rest of it.

    Args:
        work: the run's work folder.
        method: of the worker, such as ``detect``.
        request: as validated; written as ``method`` and ``params`` of a request that goes on with the run. Such a
            request needs the credentials of its sources, so only the user may read the file; it goes with the folder.
    """
    params = request.model_dump(mode="json", exclude={"overwrite"}, exclude_none=True) | {"resume": True}
    with disk_errors(work / REQUEST):
        (work / REQUEST).touch(mode=0o600)
        (work / REQUEST).write_text(json.dumps({"method": method, "params": params}), encoding="utf8")


def stamps(paths: Iterable[str | None]) -> dict[str, list[float | str]]:
    """Size in bytes and time of change of the files that a result depends on; what is no file is passed over.

    What lies in an archive has the archive's. Of a virtual raster a digest of those of its parts comes after them.
    """
    files = {path: local_file(path) for path in paths if path is not None}
    return {
        path: [file.stat().st_size, file.stat().st_mtime, *behind_mosaic(file)]
        for path, file in files.items()
        if file is not None
    }


def begun_as(work: Path) -> dict[str, Any]:
    """What the result of an unfinished run depends on, as it noted when it began; empty where nothing is noted."""
    lines = _whole_lines(work / NAME)
    return dict(json.loads(lines[0])) if lines else {}


def has_finished_blocks(work: Path) -> bool:
    """Tell whether a work folder holds something to go on from."""
    return len(_whole_lines(work / NAME)) > 1


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file with their ends, but for one that was cut off; none where there is no file."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]
