"""What a terminal shows of texts that are not ours is what they are: names with brackets and colons too."""

import pytest
import typer

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


def test_the_table_of_models(name, capsys, monkeypatch):
    cards = [card | {"title": name, "name": name, "licence": name} for card in model_jobs.list_models()[:1]]
    monkeypatch.setattr(model_jobs, "list_models", lambda: cards)
    models.list_()
    assert capsys.readouterr().out.count(name) == 3
