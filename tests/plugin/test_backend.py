"""The backend as the plugin shares it: what is used after a build, and what is told of one of another version."""

import sys

import pytest

from changen2_qgis import paths, venv_builder
from changen2_qgis.backend import Backend
from changen2_qgis.environment import Probe
from changen2_qgis.worker_client import Callbacks

WORKER = """#!{python}
import json, sys
def say(**message):
    print(json.dumps(message), flush=True)
say(method="hello", params=dict(protocol=1, version={version!r}, pid=1, torch="2", devices=[], models=[]))
for line in sys.stdin:
    say(id=json.loads(line)["id"], result={{}})
"""


def test_what_was_built_replaces_an_interpreter_that_a_setting_names(settings, monkeypatch):
    monkeypatch.setattr(venv_builder, "plan_build", lambda *_: None)
    monkeypatch.setattr(venv_builder, "build_venv", lambda *_, **__: Probe("1", "2", "cpu"))
    settings.backend_python = "/nowhere/python"
    Backend().set_up(lambda *_: None)
    assert settings.backend_python == ""


@pytest.mark.parametrize(("version", "warned"), [("0.0.1", True), (paths.version(), False)])
def test_a_backend_of_another_version_is_told(settings, tmp_path, version, warned):
    python = tmp_path / "python"
    python.write_text(WORKER.format(python=sys.executable, version=version))
    python.chmod(0o755)
    settings.backend_python = str(python)
    backend, logged = Backend(), []
    try:
        backend.request("detect", {}, Callbacks(log=lambda *log: logged.append(log)))
    finally:
        backend.close()
    assert [(level, version in text and "pip install" in text) for level, text in logged] == [
        ("warning", True)
    ] * warned
