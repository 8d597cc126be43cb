"""A run's output folder as one transaction: written aside, renamed when whole, one run at a time."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from changen2.errors import Changen2Error, InputError, JobError
from changen2.raster.side_files import SIDE_FILES, refuse_unsaved
from changen2.raster.writing import disk_error, is_disk_error, to_disk

WORK_FOLDER = ".changen2-work"
"""Where a run keeps what is not finished, inside its output folder (the same file system, so a rename is atomic)."""

ASIDE_FOLDER = ".changen2-aside"
"""The same of a job that adds files to a folder of results: it leaves an unfinished run that is there alone."""

INPUTS_FOLDER = "inputs"
"""Where a caller may keep inputs that it wrote for the run; they are no results that need protection."""

LOCK = "lock"

REPLACED = "replaced"
"""In the work folder: what was in the places of the new files, for the moment in which these move there."""

MOVES = "moves.json"
"""In the work folder while files move into place: which do, for the run that goes on where one was killed meanwhile."""

VOID = "void"
"""In the work folder from when it is emptied, which may take long, until it is empty: nothing there is gone on from."""

IN_USE = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY})
"""What the system says of a file that it does not let go: Windows of one that is open, others of one on a share."""


AWAY = frozenset({errno.EIO, errno.EROFS, errno.ESTALE, errno.ENODEV})
"""What the system says of a file on a drive that fails, or on a share that is away, while it still shows the folder."""


class OutputFolder:
    """A run's output folder as one transaction.

    Files are made in ``work`` and moved into place by ``publish``; meanwhile no other run works there. Leaving the
    ``with`` block by an error removes the work folder, and the folders that this run made and nobody else has used,
    unless there is work to go on from: what is finished stays, whatever went wrong with the rest.

    Attributes:
        path: the folder.
        work: where files are made.
        goes_on: whether this run goes on with an unfinished one.

    Args:
        path: the folder.
        overwrite: whether results, or an unfinished run, that are there may be replaced; None: they never are, and
            there is no option to allow it.
        resume: go on with the unfinished run that is there, if any.
        resumable: tells whether a work folder holds something to go on from; None: nothing ever is.
        unfinished: tells whether a work folder holds something that any kind of run could go on from; None: as
            ``resumable`` does.
        replaces: names of the outputs where other files may stay beside them; None: the folder must be empty.
        results: pattern of the names, in this folder and in those inside, that may be replaced or removed; None:
            those of ``replaces``.

    Raises:
        InputError: ``not_empty`` where it holds anything and ``overwrite`` is not true; ``bad_out_dir``
            where it cannot be made; ``busy`` where another run is at work; ``in_use`` where a GeoPackage that would be
            replaced has edits that are not in it yet. What the folder holds is looked at when this is made, so that a
            refusal comes early, and again once no other run can work there.
        JobError: ``disk``, for an error inside the ``with`` block that says that a file cannot be written, or that
            comes of the folder's being away; ``in_use`` where the run was killed while its files moved into place, and
            one of them cannot be taken back, or where what an earlier run left cannot be removed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool | None = None,
        replaces: Iterable[str] | None = None,
        results: str | None = None,
        resume: bool = False,
        resumable: Callable[[Path], bool] | None = None,
        unfinished: Callable[[Path], bool] | None = None,
    ) -> None:
        self.path = Path(path)
        self.work = self.path / (WORK_FOLDER if replaces is None else ASIDE_FOLDER)
        self._made: list[Path] = []
        self._resumable = _unless_void(resumable or (lambda work: False))
        self._unfinished = _unless_void(unfinished or self._resumable)
        self._again = "run it again" if resumable is None else "go on with the run (--resume)"
        self._resume, self._overwrite = resume, overwrite
        self._replaces = None if replaces is None else set(replaces)
        self._results = results or "|".join(map(re.escape, self._replaces or ()))
        self._lock = FileLock(self.work / LOCK, timeout=0, thread_local=False)
        self.goes_on = self._is_resumed()
        self._check()

    def _is_resumed(self) -> bool:
        return self._resume and self._resumable(self.work)

    def _check(self) -> None:
        """Refuse to replace what this run may not, or cannot without destroying it."""
        self._check_allowed()
        for side in (*self.path.glob("*.gpkg-*"), *self.path.glob("*/*.gpkg-*")):
            name = side.relative_to(self.path).as_posix().rpartition("-")[0]
            if re.fullmatch(self._results, name):
                refuse_unsaved(self.path / name)

    def _check_allowed(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file, not a folder.", hint="Name a new folder.", code="bad_out_dir")
        # What an unfinished run was allowed to replace when it began it may replace when it goes on.
        if not self.path.is_dir() or self._overwrite or self.goes_on:
            return
        names = {entry.name for entry in self.path.iterdir()} - {WORK_FOLDER, ASIDE_FOLDER, INPUTS_FOLDER}
        there = sorted(names if self._replaces is None else names & self._replaces)
        if there:
            allow = "" if self._overwrite is None else ", or allow overwriting (--overwrite)"
            raise InputError(
                f"{self.path} already holds {', '.join(there[:3])}{' …' if len(there) > 3 else ''}.",
                hint=f"Choose a new folder{allow}.",
                code="not_empty",
            )
        if self._unfinished(self.work):
            mine = self._resumable(self.work)
            raise InputError(
                f"{self.path} holds an unfinished run{'' if mine else ' of another kind'}.",
                hint="Go on with it (--resume), start anew (--overwrite), or choose a new folder."
                if mine
                else "Choose a new folder, or give it up and start anew (--overwrite).",
                code="not_empty",
            )

    def __enter__(self) -> OutputFolder:
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            with suppress(NotImplementedError):  # a file system without locks
                self._lock.acquire()
        except Timeout:
            raise InputError(
                f"Another run is at work in {self.path}.", hint="Wait for it, or choose another folder.", code="busy"
            ) from None
        except OSError as error:
            self._unmake()
            raise InputError(
                f"The output folder {self.path} cannot be made: {error.strerror or error}.",
                hint="Choose a folder that you may write to.",
                code="bad_out_dir",
            ) from error
        self.goes_on = self._is_resumed()  # another run may have ended since
        try:
            self._check()
            if self.goes_on:
                self._take_back()
            else:
                self._clear()
                self._refuse_remains()
        except Changen2Error:
            self._let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = None if error is None else self._failure(error)
        with nullcontext() if failure is None else suppress(OSError):  # it has said what is wrong
            if error is not None and self._resumable(self.work):
                self._lock.release()
            else:
                self._clear()
                self._let_go()
                if error is not None:
                    self._unmake()
        if failure is not None:
            raise failure from error

    def _failure(self, error: BaseException) -> JobError | None:
        """What an error that nobody has explained says of the folder, if anything."""
        if isinstance(error, Changen2Error):
            explained, why = error.code != "disk", error.__cause__ or error
        else:
            explained, why = not isinstance(error, Exception), error
        if not explained and (not os.path.isdir(self.work) or self._is_away(why)):  # noqa: PTH112 - false, whatever fails
            return JobError(
                f"The output folder {self.path} cannot be reached any more: {why}.",
                hint=f"See that its drive or share is connected again, and {self._again}.",
                code="disk",
            )
        return disk_error(self.path, error) if is_disk_error(error) else None

    def _is_away(self, error: BaseException) -> bool:
        return (
            isinstance(error, OSError)
            and error.errno in AWAY
            and error.filename is not None
            and Path(os.fsdecode(error.filename)).is_relative_to(self.path)
        )

    def _let_go(self) -> None:
        """Let others work here; a work folder that holds nothing else goes."""
        self._lock.release()
        with suppress(OSError):  # somebody else has begun there, or there is work to go on from
            (self.work / LOCK).unlink(missing_ok=True)
            self.work.rmdir()

    def _clear(self) -> None:
        """Remove what is in the work folder, but for the lock.

        From its first step on, no run goes on from what is left, for as long as anything is: its journal would tell of
        files that are gone, or at the place of results.
        """
        there = [entry for entry in self.work.iterdir() if entry.name != LOCK] if self.work.is_dir() else []
        if not there:
            return
        with suppress(OSError):  # a full disk
            (self.work / VOID).touch()
        for entry in there:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name not in (MOVES, VOID):
                with suppress(OSError):  # held open by somebody
                    entry.unlink()
        with suppress(OSError):
            if {entry.name for entry in self.work.iterdir()} <= {LOCK, MOVES, VOID}:
                (self.work / MOVES).unlink(missing_ok=True)
                (self.work / VOID).unlink(missing_ok=True)

    def _refuse_remains(self) -> None:
        """Refuse to begin among what could not be removed: a journal there would be taken for this run's."""
        if (self.work / VOID).exists():
            name = next((entry.name for entry in self.work.iterdir() if entry.name not in (LOCK, MOVES, VOID)), VOID)
            raise JobError(
                f"{name} in {self.work}, of an earlier run, cannot be removed: somebody has it open.",
                hint="Close the program that does, and run it again, or choose another folder.",
                code="in_use",
            )

    def _unmake(self) -> None:
        """Remove the folders that this run made, up to one that holds something."""
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def publish(self, names: list[str], older: Iterable[str] = ()) -> dict[str, Path]:
        """Move finished files and folders from ``work`` into place, all or none, and return where they are now.

        Args:
            names: in ``work``, and of those that are replaced.
            older: of what an earlier run left in this folder and would look like part of this one: it goes in the same
                step, and the folders in which it leaves nothing go too.

        Raises:
            InputError: ``in_use``: somebody has begun to edit one since this run began.
            JobError: ``in_use``: one that is there cannot be replaced; all are as they were.
        """
        places = list(dict.fromkeys([*names, *older]))
        for name in places:
            refuse_unsaved(self.path / name)
        # What SQLite keeps beside a file is no other one's, even where it is empty.
        gone = [name + end for name in places for end in ("", *SIDE_FILES) if (self.path / (name + end)).exists()]
        for name in gone:
            (self.work / REPLACED / name).parent.mkdir(parents=True, exist_ok=True)
        note = self.work / MOVES
        note.write_text(json.dumps({"gone": gone, "names": names}), encoding="utf8")
        to_disk(note)
        to_disk(self.work)
        moved: list[tuple[Path, Path]] = []
        try:
            for source, target in self._moves(gone, names):
                source.replace(target)
                moved.append((source, target))
        except OSError as error:
            with suppress(OSError):
                self._undo(moved)
                note.unlink()
            if error.errno in IN_USE:
                raise self._in_use(error) from error
            raise
        self._clear()
        for folder in {(self.path / name).parent for name in gone} - {self.path}:
            with suppress(OSError):  # something else is there
                folder.rmdir()
        return {name: self.path / name for name in names}

    def _moves(self, gone: list[str], names: list[str]) -> list[tuple[Path, Path]]:
        """From where to where: first what is replaced, then what replaces it."""
        moves = [(self.path / name, self.work / REPLACED / name) for name in gone]
        return moves + [(self.work / name, self.path / name) for name in names]

    def _take_back(self) -> None:
        """Where a run was killed while its files moved into place: all are where they were, so that it can go on."""
        note = self.work / MOVES
        if not note.exists():
            return
        try:
            self._undo(self._moves(**json.loads(note.read_text(encoding="utf8"))))
            note.unlink()
        except ValueError:  # cut off, so that nothing has moved
            note.unlink()
        except OSError as error:
            raise self._in_use(error, "A run was killed while it moved its files there.") from error

    def _undo(self, moves: list[tuple[Path, Path]]) -> None:
        """Undo those of the moves that were made; one that fails keeps none of the others back.

        Raises:
            OSError: the first that failed.
        """
        failed: list[OSError] = []
        for source, target in reversed(moves):
            if target.exists() and not source.exists():
                try:
                    target.replace(source)
                except OSError as error:
                    failed.append(error)
        if failed:
            raise failed[0]

    def _in_use(self, error: OSError, state: str = "What was there is as it was.") -> JobError:
        again = self._again if self._resumable(self.work) else "run it again"
        name = Path(error.filename).name if error.filename else "A file"
        return JobError(
            f"{name} in {self.path} cannot be replaced: {error.strerror or error}. {state}",
            hint=f"Close the layer in QGIS, or the program that has the file open, and {again}.",
            code="in_use",
        )


def _unless_void(holds: Callable[[Path], bool]) -> Callable[[Path], bool]:
    return lambda work: not (work / VOID).exists() and holds(work)
