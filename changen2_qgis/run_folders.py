"""Where the outputs of a run go: a new folder for each run, beside the project, never a temporary one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from qgis.core import QgsProject
from qgis.PyQt.QtCore import QStandardPaths

from .layer_metadata import read_manifest

FOLDER_OF_RUNS = "Changen2 runs"
WORK_FOLDER = ".changen2-work"
"""Where the backend keeps the finished parts of a run until all is done."""

INPUTS_FOLDER = "inputs"
"""For what was written for a run to read."""

REQUEST_FILE = "request.json"
"""In the work folder: the backend's request for the rest of the run; of a training only what it was asked for."""

LOCK_FILE = "lock"
"""In the work folder: held by the backend that is at work there."""

CHECKPOINT_FILE = "checkpoint.pt"
"""In the work folder of a training: its weights so far."""

POINTS_FOLDER = "points to label"
POINTS_FILE = "sample_points.gpkg"
"""In a folder of points, which lies in that of the run."""

FORMS = ("detect", "synthesize")
"""Kinds of runs whose settings a page can be filled with."""

_DATED = re.compile(r"(\d{4}-\d\d-\d\d \d\d-\d\d) (\w+) ?(.*)")


_named: set[Path] = set()
_naming = threading.Lock()


@dataclass(frozen=True)
class Run:
    """One run, as its folder tells.

    Attributes:
        folder: with its outputs.
        kind: detect, synthesize or simulate; what else a manifest may say.
        name: what it was run on.
        began: local time.
        finished: whether all outputs are there; else it can be gone on with.
    """

    folder: Path
    kind: str
    name: str
    began: datetime
    finished: bool


def runs_folder(project: QgsProject) -> Path:
    """Beside a saved project; for an unsaved one in the user's documents."""
    if project.absolutePath():
        return Path(project.absolutePath()) / FOLDER_OF_RUNS
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    return Path(documents or Path.home()) / FOLDER_OF_RUNS


def new_run_folder(project: QgsProject, name: str, now: datetime) -> Path:
    """A folder that does not exist yet, with date and name: "2026-11-23 10-05 detect north to north_2020".

    None is named twice, for a run makes its folder only when it writes: another may have waited for it meanwhile.

    Args:
        project: decides where.
        name: what is run on what; characters that some file systems refuse are replaced.
        now: the time of the run.
    """
    with _naming:
        folder = unused(runs_folder(project) / f"{now:%Y-%m-%d %H-%M} {_plain(name)}".rstrip(), taken=_named)
        _named.add(folder)
    return folder


def read_run(folder: Path) -> Run | None:
    """The run that a folder holds, finished or to be gone on with; None where there is none."""
    named = _DATED.fullmatch(folder.name)
    kind, name = (named[2], named[3]) if named else ("", folder.name)
    began = datetime.strptime(named[1], "%Y-%m-%d %H-%M") if named else None
    try:
        manifest = read_manifest(folder)
        kind = str(manifest["job"])
        began = datetime.fromisoformat(manifest["began"]).astimezone()
        finished = True
    except (OSError, ValueError, KeyError, TypeError):  # none, or one from elsewhere
        if not kind or not is_unfinished(folder):
            return None
        finished = False
    if began is None:
        began = datetime.fromtimestamp(folder.stat().st_mtime)
    return Run(folder, kind, name, began.replace(tzinfo=None), finished)


def find_runs(parent: Path, others: Iterable[Path] = ()) -> list[Run]:
    """The runs in a folder of runs, the newest first.

    Args:
        parent: the folder of runs; it need not exist.
        others: folders of runs elsewhere.
    """
    inside = [entry for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []
    folders = dict.fromkeys(folder.resolve() for folder in (*inside, *others))
    runs = [run for run in map(read_run, folders) if run is not None]
    return sorted(runs, key=lambda run: run.began, reverse=True)


def is_unfinished(folder: Path) -> bool:
    """Whether an interrupted run has left finished parts or trained weights there, to go on from."""
    if (folder / WORK_FOLDER / CHECKPOINT_FILE).exists():
        return True
    journal = folder / WORK_FOLDER / "journal.jsonl"  # a line about the run, then one for each finished part
    return journal.exists() and len(journal.read_text(encoding="utf8").splitlines()) > 1


def can_go_on(run: Run) -> bool:
    """Whether the rest of a run can be asked for without its settings being given again."""
    return not run.finished and rest_request(run.folder) is not None


def rest_request(folder: Path) -> tuple[str, dict[str, Any]] | None:
    """The backend's method and its parameters for the rest of a run; None where that is not noted, as of a training."""
    try:
        request = json.loads((folder / WORK_FOLDER / REQUEST_FILE).read_text(encoding="utf8"))
        return request["method"], request["params"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_unfinished(folder: Path) -> None:
    """Remove what an interrupted run has left, unless one is at work there, and its folder if nothing else is in it."""
    if not _is_at_work(folder):
        shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or not empty
        folder.rmdir()


def _is_at_work(folder: Path) -> bool:
    """Whether a backend holds the lock of a run's folder; of one that was killed the system lets it go."""
    try:
        with (folder / WORK_FOLDER / LOCK_FILE).open("r+b") as lock:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def threshold_folder(run_folder: Path, threshold: float) -> Path:
    """A new folder inside a run's for polygons and map at another threshold: "threshold 0.62"."""
    return unused(run_folder / f"threshold {threshold:.2f}")


def assessment_folder(run_folder: Path, reference: str) -> Path:
    """A new folder inside a run's for its assessment: "assessment against houses"."""
    return unused(run_folder / f"assessment against {_plain(reference)}".rstrip())


def points_folder(run_folder: Path) -> Path:
    """A new folder inside a run's for points to label."""
    return unused(run_folder / POINTS_FOLDER)


def drawn_points(run_folder: Path) -> Path | None:
    """The file of the points that were last drawn over a run; None where none were."""
    files = sorted(run_folder.glob(f"{POINTS_FOLDER}*/{POINTS_FILE}"), key=lambda file: (len(str(file)), str(file)))
    return files[-1] if files else None  # the one with the largest number, see `unused`


def _plain(name: str) -> str:
    """A name without the characters that some file systems refuse."""
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]+', "_", name).strip(" .")[:80]


def unused(base: Path, ending: str = "", taken: Container[Path] = ()) -> Path:
    """The folder, or file with its ending, or the same with the first number that is free: "north (2)"."""
    path, count = base.with_name(f"{base.name}{ending}"), 1
    while path.exists() or path in taken:
        count += 1
        path = base.with_name(f"{base.name} ({count}){ending}")
    return path
