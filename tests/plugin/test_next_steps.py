"""What QGIS says to do about an error of the backend: nothing that is for a terminal."""

import ast
from pathlib import Path

from changen2_qgis.errors import BackendError
from changen2_qgis.next_steps import NEXT_STEPS

LIBRARY = Path(__file__).resolve().parents[2] / "backend" / "changen2"
OF_THE_TERMINAL = ("cli", "training", "reports")


def raised():
    """Source of the hint, and code, of every error that the backend makes for a client."""
    for path in LIBRARY.rglob("*.py"):
        if path.relative_to(LIBRARY).parts[0] in OF_THE_TERMINAL:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            given = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
            if {"hint", "code"} <= given.keys():
                yield ast.unparse(given["hint"]), getattr(given["code"], "value", "")


def test_every_error_whose_next_step_is_a_command_has_one_in_qgis():
    commands = {code for hint, code in raised() if "`changen2 " in hint}
    assert commands >= {"not_installed", "consent_needed"} and commands <= NEXT_STEPS.keys()


def test_codes_are_those_of_the_backend():
    assert NEXT_STEPS.keys() <= {code for _, code in raised()}


def test_other_errors_keep_the_next_step_of_the_backend():
    error = BackendError("The disk is full.", "Free some space.", "disk_full")
    assert str(error) == "The disk is full. Free some space."


def test_options_of_the_terminal_have_the_names_that_they_have_in_qgis():
    error = BackendError("It holds a run.", "Go on with it (--resume), or start anew (--overwrite).", "not_empty")
    assert "--" not in str(error) and "Continue" in str(error) and "Replace results" in str(error)
