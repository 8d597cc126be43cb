"""Setting up from the toolbox, without building anything: which interpreter is named at the end."""

import pytest
from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from changen2_qgis import venv_builder
from changen2_qgis.backend import Backend, profile_venv
from changen2_qgis.environment import Probe, venv_python
from changen2_qgis.processing.set_up_backend import SetUpBackend


@pytest.mark.parametrize("named", ["/nowhere/python", None])
def test_the_built_interpreter_is_named_and_what_keeps_it_from_use_is_told(settings, monkeypatch, tmp_path, named):
    other = tmp_path / "python"
    other.touch()
    monkeypatch.setenv("CHANGEN2_PYTHON", named or str(other))
    monkeypatch.setattr(venv_builder, "plan_build", lambda *_: None)
    monkeypatch.setattr(venv_builder, "build_venv", lambda *_, **__: Probe("1", "2", "cpu"))
    feedback = QgsProcessingFeedback(False)
    outputs = SetUpBackend(Backend()).do_job(None, QgsProcessingContext(), feedback)
    assert outputs["PYTHON"] == str(venv_python(profile_venv()))
    last = feedback.textLog().strip().splitlines()[-1]
    assert "is not used" in last and str(named or other) in last and "CHANGEN2_PYTHON" in last
