"""A job in a terminal: progress bar, log, Ctrl-C as cancel, messages, exit codes."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.text import Text

from changen2.errors import Cancelled, Changen2Error, InputError
from changen2.jobs.runs.progress import Progress
from changen2.redaction import redact, redacted_result

UNLIMITED = 100_000
"""Columns of what is no terminal, where nothing has to fit."""


def make_console(stderr: bool = False) -> Console:
    """A console that prints texts as they are: brackets in a folder's name are no markup, :words: no pictures.

    In a pipe or a file lines are as long as they need to be.
    """
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = UNLIMITED
    return console


stderr = make_console(stderr=True)

Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the outputs; must be new or empty.")]
Init = Annotated[
    str | None,
    typer.Option(help="noise, or exemplar: an object of the wanted class; the model's own if left out."),
]
LabelGuidance = Annotated[
    float | None,
    typer.Option(help="Weight of the labels above a noise level of 0.3, 1 to 10; the model's own if left out."),
]
ExemplarLevel = Annotated[
    float, typer.Option(help="Share of the diffusion that an exemplar is noised to, above 0 to 1; higher is freer.")
]
Classes = Annotated[str | None, typer.Option(help="CSV with index, name, colour.")]
Transitions = Annotated[
    str | None,
    typer.Option(help="CSV with from, to; a table for the labels' own classes if left out: OpenEarthMap's or tiny's."),
]
ObjectClasses = Annotated[
    str | None, typer.Option(help="Classes that come and go, by name or number; building if left out.")
]
Background = Annotated[str, typer.Option(help="Class that removal leaves, by name or number.")]
Least = Annotated[int, typer.Option(help="Least number of objects created, and of objects removed, in a step.")]
Most = Annotated[int, typer.Option(help="Most of them.")]
EditProbability = Annotated[float, typer.Option(help="Of each object to change its class.")]
RemovalProbability = Annotated[float, typer.Option(help="Of each instance to go, where there are no labels.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout as the last line.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are in the folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in the folder.")]
Bounds = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option(help="Left, bottom, right, top in the CRS of the (first) raster."),
]
Aoi = Annotated[
    str | None, typer.Option(help="Vector file; its polygons crop and mask. FILE|layername=NAME says which layer.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; the physical cores if left out.")]
Dask = Annotated[str | None, typer.Option(help="Scheduler, or its scheduler file, whose workers do the work.")]
BatchSize = Annotated[int | None, typer.Option(help="Tiles at once on a GPU.")]

Job = Callable[..., dict[str, Any]]

NOTE = ("Note: ", "yellow")


def run(job: Job, given: dict[str, Any]) -> dict[str, Any]:
    """Run a job with the parameters of its command.

    Args:
        job: takes them, ``on_progress`` and ``is_cancelled``.
        given: the command's ``locals()``; ``as_json`` is taken out, and ``~/`` means the home folder: no shell has
            put it there in ``--output=~/run`` or between quotes.

    Raises:
        typer.Exit: with 1, 2 or 130, after the error was explained.
    """
    parameters = {name: at_home(value) for name, value in given.items()}
    as_json = parameters.pop("as_json")
    from changen2.models.memory import memory_errors

    try:
        with cancellable() as is_cancelled, _bar() as on_progress, _log(), memory_errors():
            result = redacted_result(job(**parameters, on_progress=on_progress, is_cancelled=is_cancelled))
    except Changen2Error as error:
        _explain(error, as_json)
        raise typer.Exit(error.exit_code) from None
    for warning in result.get("warnings", []):
        _say(Text.assemble(NOTE, warning))
    for name, path in result.get("outputs", {}).items():
        _say(f"{name}: {path}")
    if as_json:
        typer.echo(json.dumps(result, default=str))
    return result


def _say(text: str | Text) -> None:
    """Print a text on stderr as one line, which a terminal may wrap but a copy of it does not: paths stay whole."""
    stderr.print(text, soft_wrap=True)


def at_home(value: Any) -> Any:
    """Return what was given, with the home folder for a ``~`` in front of a path."""
    if isinstance(value, str | Path) and re.match(r"~([/\\]|$)", str(value)):
        return type(value)(os.path.expanduser(value))  # noqa: PTH111 - pathlib fails where no home is known
    return value


def plain(function: Callable[..., dict[str, Any]]) -> Job:
    """Return a job from a function that is done at once and tells no progress."""

    def job(
        on_progress: Callable[[Progress], None], is_cancelled: Callable[[], bool], **given: object
    ) -> dict[str, Any]:
        return function(**given)

    return job


@contextmanager
def cancellable() -> Iterator[Callable[[], bool]]:
    """Take Ctrl-C and termination as a wish to cancel, told by the function given."""
    cancelled = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: cancelled.set()) for number in numbers}
    try:
        yield cancelled.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _log() -> Iterator[None]:
    """Print what the package logs, such as the losses of a training, above the bar."""
    package, handler = logging.getLogger("changen2"), _LogToTerminal()
    level = package.level
    package.setLevel(logging.INFO)
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)


class _LogToTerminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        label = NOTE if record.levelno >= logging.WARNING else ""
        _say(Text.assemble(label, redact(record.getMessage())))


def _explain(error: Changen2Error, as_json: bool) -> None:
    color = "yellow" if isinstance(error, Cancelled) else "red"
    label = "Bad input" if isinstance(error, InputError) else "Stopped" if isinstance(error, Cancelled) else "Failed"
    message, hint = redact(error.message), redact(error.hint)
    _say(Text.assemble((f"{label}: ", color), message))
    if hint:
        _say(hint)
    if as_json:
        echo_error(error.code, message, hint)


def echo_error(code: str, message: str, hint: str) -> None:
    """Print an error as the JSON object that ``--json`` asks for, without credentials."""
    typer.echo(json.dumps({"error": {"code": code, "message": redact(message), "hint": redact(hint)}}))


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    columns = (
        TextColumn("{task.description:>10}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
    )
    with ProgressBar(*columns, console=stderr, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None, left="")

        def show(progress: Progress) -> None:
            left = "" if progress.eta_s is None else f"about {progress.eta_s:.0f} s left"
            total = progress.total or None
            bar.update(task, description=progress.stage, completed=progress.done, total=total, left=left)

        yield show
