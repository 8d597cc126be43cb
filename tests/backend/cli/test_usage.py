"""A command that was given wrongly is answered as every bad input is."""

import json

import pytest
from typer.testing import CliRunner

from changen2.cli.commands import app


def changen2(*arguments):
    return CliRunner().invoke(app, arguments)


DETECT = ("detect", "b.tif", "a.tif", "-o", "run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*DETECT, "--threshold", "abc"), "threshold"),
        ((*DETECT, "--bogus"), "--bogus"),
        (("vectorize", "-o", "run"), "probability"),
        (("detekt", "b.tif"), "detekt"),
        (("--bogus",), "--bogus"),
        (("models", "lst"), "lst"),
        (("models", "info"), "name"),
    ],
)
def test_wrong_usage_is_one_json_object_too(arguments, said):
    plain, told = changen2(*arguments), changen2(*arguments, "--json")
    assert plain.exit_code == told.exit_code == 2
    assert plain.stdout == "" and plain.stderr == told.stderr != ""
    error = json.loads(told.stdout)["error"]
    assert error["code"] == "usage" and said in error["message"].lower() and error["hint"].endswith("--help.")


def test_no_credentials_of_what_is_one_too_many_are_shown():
    done = changen2(*DETECT, "/vsicurl/http://ada:hush@store.example/a.tif?token=hush", "--json")
    assert done.exit_code == 2 and "***" in json.loads(done.stdout)["error"]["message"]
    assert "***" in done.stderr and "hush" not in done.stderr + done.stdout
