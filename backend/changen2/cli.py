"""The command ``changen2``: the same jobs for a terminal."""

from __future__ import annotations

import json
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
from rich.table import Table

from changen2 import __version__
from changen2.errors import Cancelled, Changen2Error, InputError
from changen2.jobs.progress import Progress

app = typer.Typer(
    help="Change detection and change synthesis on rasters of any size.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="The installed models.", no_args_is_help=True)
train_app = typer.Typer(help="Train the embedded models, or your own.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(train_app, name="train")

stderr = Console(stderr=True)

Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the outputs; must be new or empty.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout as the last line.")]
MinArea = Annotated[float, typer.Option(help="Leave out polygons smaller than this many m².")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are in the folder.")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def detect(
    before: Annotated[str, typer.Argument(help="Raster that gives the grid.")],
    after: Annotated[str, typer.Argument(help="Raster to compare; warped to the grid of BEFORE.")],
    out_dir: Folder,
    model: Annotated[str, typer.Option(help="An installed detector; see `changen2 models list`.")] = "tiny",
    bounds: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="Left, bottom, right, top in the CRS of BEFORE."),
    ] = None,
    aoi: Annotated[str | None, typer.Option(help="Vector file; its polygons crop and mask.")] = None,
    bands: Annotated[str | None, typer.Option(help="One band or three for both dates, such as 1,2,3.")] = None,
    bands_after: Annotated[str | None, typer.Option(help="Bands of AFTER where they differ.")] = None,
    threshold: Annotated[float | None, typer.Option(help="0 to 1; the model's recommendation if left out.")] = None,
    min_area: MinArea = 0.0,
    gsd: Annotated[str | None, typer.Option(help="`auto` or metres: resample to it and back.")] = None,
    coregister: Annotated[bool, typer.Option("--coregister", help="Measure and undo a global shift.")] = False,
    tile_size: Annotated[int | None, typer.Option(help="Pixels, a multiple of 32.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Pixels shared by neighbouring tiles.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs of tiles at once.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; the physical cores if left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in the folder.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find change between two rasters: probability, binary map, polygons."""
    from changen2.jobs.detect import detect as job

    _run(
        as_json,
        lambda on_progress, is_cancelled: job(
            before,
            after,
            out_dir,
            model=model,
            bounds=bounds,
            aoi=aoi,
            bands=bands,
            bands_after=bands_after,
            threshold=threshold,
            min_area=min_area,
            gsd=gsd,
            coregister=coregister,
            tile_size=tile_size,
            overlap=overlap,
            batch_size=batch_size,
            device=device,
            precision=precision,
            threads=threads,
            resume=resume,
            overwrite=overwrite,
            on_progress=on_progress,
            is_cancelled=is_cancelled,
        ),
    )


@app.command()
def vectorize(
    probability: Annotated[str, typer.Argument(help="A change_probability.tif.")],
    out_dir: Folder,
    threshold: Annotated[float, typer.Option(help="0 to 1.")] = 0.5,
    min_area: MinArea = 0.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make the binary map and the polygons again at another threshold, without a model."""
    from changen2.jobs.vectorize import vectorize as job

    _run(
        as_json,
        lambda on_progress, is_cancelled: job(
            probability,
            out_dir,
            threshold=threshold,
            min_area=min_area,
            overwrite=overwrite,
            on_progress=on_progress,
            is_cancelled=is_cancelled,
        ),
    )


@app.command()
def evaluate(
    prediction: Annotated[str, typer.Argument(help="A change map or probability, or a folder of them.")],
    reference: Annotated[
        str | None, typer.Argument(help="Map (non-zero is change), polygon layer, or a folder of maps.")
    ] = None,
    points: Annotated[
        str | None, typer.Option(help="Point layer with a field `reference` (0 or 1): area-adjusted accuracy.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="For a change probability, 0 to 1.")] = 0.5,
    as_json: Json = False,
) -> None:
    """Say how right a change map is, with intervals."""
    from changen2.jobs.evaluate import evaluate as job

    result = _run(as_json, lambda *_: job(prediction, reference, points=points, threshold=threshold))
    if as_json:
        return
    for name in ("f1", "iou", "precision", "recall", "kappa"):
        if name in result:
            typer.echo(f"{name:>9}  {result[name]:.3f}  [{result[f'{name}_low']:.3f}, {result[f'{name}_high']:.3f}]")
    for name, estimates in result.get("area_adjusted", {}).items():
        typer.echo(f"{name}: {estimates}")


@app.command()
def sample(
    out_dir: Folder,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 1024,
    seed: Annotated[int, typer.Option(help="Another seed draws another place.")] = 7,
    as_json: Json = False,
) -> None:
    """Draw a simulated scene of two dates to try things on."""
    from changen2.jobs.progress import Reporter
    from changen2.jobs.sample import run
    from changen2.protocol import SampleRequest, validate

    _run(
        as_json,
        lambda on_progress, is_cancelled: run(
            validate(SampleRequest, {"out_dir": str(out_dir), "size": size, "seed": seed}),
            Reporter(on_progress, is_cancelled),
        ),
    )


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """List the installed models."""
    from changen2.worker import describe_models

    found = describe_models()
    if as_json:
        typer.echo(json.dumps({"models": found}))
        return
    table = Table("name", "for", "ground sampling", "size", "licence")
    for card in found:
        size = f"{card['size_bytes'] / 1e6:.1f} MB"
        table.add_row(card["name"], card["title"], f"{card['gsd_min']:g}–{card['gsd_max']:g} m", size, card["licence"])
    Console().print(table)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what the machine has, what is wrong and how to mend it."""
    from changen2.jobs.doctor import examine

    report = examine()
    if as_json:
        typer.echo(json.dumps(report))
    else:
        for check in report["checks"]:
            typer.echo(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']}: {check['found']}")
            if not check["ok"]:
                typer.echo(f"     → {check['remedy']}")
    if not report["ok"]:
        raise typer.Exit(1)


@train_app.command("changestar")
def train_changestar(
    config: Annotated[Path, typer.Option(help="YAML file of the experiment.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    as_json: Json = False,
) -> None:
    """Train the change detector."""
    from changen2.jobs.train import train_changestar as job

    _run(
        as_json,
        lambda on_progress, is_cancelled: job(
            config, resume=resume, on_progress=on_progress, is_cancelled=is_cancelled
        ),
    )


@app.command()
def worker() -> None:
    """Serve jobs on stdin and stdout (JSON-RPC); this is what QGIS starts."""
    from changen2.worker import main as serve

    serve()


def main() -> None:
    """Run the command; bad options exit with 2 and a message, as every bad input does."""
    app()


def _run(
    as_json: bool, job: Callable[[Callable[[Progress], None], Callable[[], bool]], dict[str, Any]]
) -> dict[str, Any]:
    """Run a job with a progress bar, Ctrl-C as cancel, and the exit codes of the command line."""
    cancelled = threading.Event()
    previous = {number: signal.signal(number, lambda *_: cancelled.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _bar() as show:
            result = job(show, cancelled.is_set)
    except Changen2Error as error:
        _explain(error, as_json)
        raise typer.Exit(error.exit_code) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    for warning in result.get("warnings", []):
        stderr.print(f"[yellow]Note:[/] {warning}", highlight=False)
    for name, path in result.get("outputs", {}).items():
        stderr.print(f"{name}: {path}", highlight=False)
    if as_json:
        typer.echo(json.dumps(result, default=str))
    return result


def _explain(error: Changen2Error, as_json: bool) -> None:
    color = "yellow" if isinstance(error, Cancelled) else "red"
    label = "Bad input" if isinstance(error, InputError) else "Stopped" if isinstance(error, Cancelled) else "Failed"
    stderr.print(f"[{color}]{label}:[/] ", end="")
    stderr.print(error.message, markup=False, highlight=False)
    if error.hint:
        stderr.print(error.hint, markup=False, highlight=False)
    if as_json:
        typer.echo(json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}))


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with ProgressBar(*columns, console=stderr, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None, left="")

        def show(progress: Progress) -> None:
            left = "" if progress.eta_s is None else f"about {progress.eta_s:.0f} s left"
            bar.update(
                task, description=progress.stage, completed=progress.done, total=progress.total or None, left=left
            )

        yield show
