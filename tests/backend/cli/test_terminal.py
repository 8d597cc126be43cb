"""What a terminal shows of texts that are not ours is what they are: names with brackets and colons too."""

import io
import json
import logging
from pathlib import Path

import pytest
import typer
from rich.console import Console

from changen2.cli import models, terminal
from changen2.errors import InputError, JobError
from changen2.jobs import models as model_jobs

NAMES = ["[2024] north", "[red]roof[/red]", "a[/]b", "[bold", "\\[x]", ":house: 12:30:00", "[link=x]y"]


@pytest.fixture(params=NAMES)
def name(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    return request.param


def give(result):
    return lambda on_progress, is_cancelled: result


def test_paths_and_warnings(name, capsys):
    terminal.run(
        give({"outputs": {"map": f"/runs/{name}/m.tif"}, "warnings": [f"{name} was warped."]}), {"as_json": False}
    )
    assert capsys.readouterr().err.splitlines() == [f"Note: {name} was warped.", f"map: /runs/{name}/m.tif"]


@pytest.mark.parametrize(("kind", "label"), [(InputError, "Bad input"), (JobError, "Failed")])
def test_errors_and_hints(name, capsys, kind, label):
    def job(on_progress, is_cancelled):
        raise kind(f"There is no {name}.", hint=f"Make {name}.", code="missing_file")

    with pytest.raises(typer.Exit):
        terminal.run(job, {"as_json": False})
    assert capsys.readouterr().err.splitlines() == [f"{label}: There is no {name}.", f"Make {name}."]


def test_memory_that_does_not_suffice_is_no_traceback(capsys):
    def job(on_progress, is_cancelled):
        raise MemoryError("Unable to allocate 8 GiB")

    with pytest.raises(typer.Exit) as ended:
        terminal.run(job, {"as_json": True})
    told = capsys.readouterr()
    assert ended.value.exit_code == 1 and told.err.startswith("Failed: The machine ran out of memory.")
    assert json.loads(told.out)["error"]["code"] == "out_of_memory"


def test_the_table_of_models(name, capsys, monkeypatch):
    cards = [card | {"title": name, "name": name, "licence": name} for card in model_jobs.list_models()[:1]]
    monkeypatch.setattr(model_jobs, "list_models", lambda: cards)
    models.list_()
    assert capsys.readouterr().out.count(name) == 3


SOURCE = "/vsicurl/https://ada:hush@store.example/a.tif?token=hush"


def test_no_credentials_are_shown(capsys):
    def job(on_progress, is_cancelled):
        logging.getLogger("changen2").warning("%s is slow.", SOURCE)
        return {"outputs": {"map": SOURCE}, "warnings": [f"{SOURCE} was warped."]}

    def broken(on_progress, is_cancelled):
        raise InputError(f"There is no {SOURCE}.", hint=f"Look for {SOURCE}.")

    terminal.run(job, {"as_json": True})
    with pytest.raises(typer.Exit):
        terminal.run(broken, {"as_json": True})
    shown = capsys.readouterr()
    assert shown.err.count("***@store.example") == 5 and shown.out.count("***@store.example") == 4
    assert "hush" not in shown.err + shown.out


LONG = "/runs/" + "a folder with a long name/" * 20 + "m.tif"


def test_nothing_is_wrapped_or_cut_in_a_pipe(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    terminal.run(give({"outputs": {"map": LONG}, "warnings": [f"{LONG} was warped."]}), {"as_json": False})
    assert capsys.readouterr().err.splitlines() == [f"Note: {LONG} was warped.", f"map: {LONG}"]
    cards = [card | {"title": LONG, "licence": Path(LONG).parent.as_posix()} for card in model_jobs.list_models()]
    monkeypatch.setattr(model_jobs, "list_models", lambda: cards)
    models.list_()
    rows = [line for line in capsys.readouterr().out.splitlines() if LONG in line]
    assert len(rows) == len(cards) and all(card["licence"] in row for card, row in zip(cards, rows, strict=True))


def test_in_a_terminal_a_path_is_one_line_to_copy(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(terminal, "stderr", Console(file=shown, force_terminal=True, width=80, color_system=None))
    terminal.run(give({"outputs": {"map": LONG}}), {"as_json": False})
    assert shown.getvalue() == f"map: {LONG}\n"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_licences_are_told_apart_in_a_narrow_terminal(width):
    card = model_jobs.list_models()[0]
    cards = [card | {"licence": licence} for licence in ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0")]
    for one in cards:
        shown = io.StringIO()
        Console(file=shown, width=width).print(models.table_of([one]))
        rows = [line.split("│")[1:-1] for line in shown.getvalue().splitlines() if line.startswith("│")]
        assert "".join(row[4].strip() for row in rows) == one["licence"]
        assert rows[0][6].strip() == one["name"] and "…" not in shown.getvalue()
