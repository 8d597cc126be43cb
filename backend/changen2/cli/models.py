"""Commands of the model manager."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from changen2.cli.terminal import Json, make_console, plain, run

app = typer.Typer(help="The models: embedded, installed and to be had.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="See `changen2 models list`.")]
Accept = Annotated[bool, typer.Option("--accept-licence", help="Agree to the licence of the weights, once.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the models."""
    from changen2.jobs.models import list_models

    found = list_models()
    if as_json:
        typer.echo(json.dumps({"models": found}, default=str))
        return
    table = Table("task", "for", "ground sampling", "size", "licence", "installed")
    table.add_column("name", no_wrap=True)
    for card in found:
        size = f"{card['size_bytes'] / 1e6:.0f} MB"
        span = f"{card['gsd_min']:g}–{card['gsd_max']:g} m"
        there = "embedded" if card["embedded"] else "yes" if card["installed"] else "no"
        table.add_row(card["task"], card["title"], span, size, card["licence"], there, card["name"])
    make_console().print(table)


@app.command()
def info(
    name: Name,
    task: Annotated[
        str | None, typer.Option(help="detect or synthesize, where both have a model of that name.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell all that is known of a model."""
    from changen2.jobs import models

    about = run(plain(models.info), {"name": name, "task": task, "as_json": as_json})
    _tell(about, as_json)
    for other in models.named(name, task)[1:]:
        if not as_json:
            typer.echo()
            _tell(other, as_json)


@app.command()
def download(name: Name, accept_licence: Accept = False, as_json: Json = False) -> None:
    """Fetch a published model from its authors' repository."""
    given = locals()
    from changen2.jobs import models

    _tell(run(models.download, given), as_json)


@app.command("import")
def import_(
    name: Name,
    path: Annotated[str, typer.Argument(help="The file, as published.")],
    accept_licence: Accept = False,
    as_json: Json = False,
) -> None:
    """Install a published model from a file that is already here."""
    given = locals()
    from changen2.jobs import models

    _tell(run(models.import_, given), as_json)


@app.command()
def verify(name: Name, as_json: Json = False) -> None:
    """Compare a model's weights with their digest."""
    given = locals()
    from changen2.jobs import models

    result = run(models.verify, given)
    if not as_json:
        for task, digest in result["digests"].items():
            typer.echo(f"{name} ({task}) is whole: SHA-256 {digest}")


def _tell(about: dict[str, Any], as_json: bool) -> None:
    if not as_json:
        for key, value in about.items():
            if value not in ("", None, [], {}):
                typer.echo(f"{key}: {value}")
