"""The rest of an interrupted run: what the backend is asked for, and what is refused."""

import json

import pytest
from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from changen2_qgis.processing.continue_run import ContinueRun
from changen2_qgis.run_folders import REQUEST_FILE, WORK_FOLDER
from changen2_qgis.worker_client import Progress


class Listening(QgsProcessingFeedback):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(False)
        self.texts, self.errors = [], []

    def setProgressText(self, text):
        self.texts.append(text)

    def reportError(self, error, fatalError=False):
        self.errors.append(error)


class Finishing:
    """Stands in for the worker: tells a stage and that all is done."""

    last_hello = object()

    def __init__(self, stage):
        self.stage, self.asked = stage, []

    def request(self, method, params, callbacks):
        self.asked.append((method, params))
        callbacks.progress(Progress(self.stage, 3, 4, None))
        return {"outputs": {"manifest": f"{params['out_dir']}/manifest.json"}, "warnings": []}


@pytest.fixture
def unfinished(tmp_path):
    """A function that makes the folder of an unfinished run."""

    def make(method, finished_parts=1):
        work = tmp_path / "run" / WORK_FOLDER
        work.mkdir(parents=True)
        (work / "journal.jsonl").write_text('{"run": 1}\n' + '{"block": 0}\n' * finished_parts)
        params = {"threshold": 0.3, "out_dir": "/where/it/was/begun", "resume": True}
        (work / REQUEST_FILE).write_text(json.dumps({"method": method, "params": params}))
        return tmp_path / "run"

    return make


def run(backend, folder):
    algorithm, feedback = ContinueRun(backend).create(), Listening()
    results, succeeded = algorithm.run(
        {"RUN_FOLDER": str(folder)}, QgsProcessingContext(), feedback, catchExceptions=True
    )
    return results, succeeded, feedback


@pytest.mark.parametrize(
    ("method", "stage", "said"),
    [("detect", "detect", "Looking for change: 3 of 4"), ("synthesize", "synthesize", "Drawing the change: 3 of 4")],
)
def test_the_backend_is_asked_for_the_rest_where_the_folder_is_now(qgis_app, unfinished, method, stage, said):
    folder, backend = unfinished(method), Finishing(stage)
    results, succeeded, feedback = run(backend, folder)
    assert succeeded, feedback.errors
    assert backend.asked == [(method, {"threshold": 0.3, "out_dir": str(folder), "resume": True})]
    assert feedback.texts == [said]
    assert results == {"OUTPUT_FOLDER": str(folder), "MANIFEST": str(folder / "manifest.json")}


@pytest.mark.parametrize(("method", "finished_parts"), [("detect", 0), ("shutdown", 1)])
def test_what_is_no_unfinished_run_is_refused(qgis_app, unfinished, method, finished_parts):
    backend = Finishing("detect")
    _, succeeded, feedback = run(backend, unfinished(method, finished_parts))
    assert not succeeded and backend.asked == []
    assert "There is no unfinished run" in feedback.errors[0] and "run it anew" in feedback.errors[0]


def test_a_training_is_left_to_its_own_dialog(qgis_app, tmp_path):
    work = tmp_path / "run" / WORK_FOLDER
    work.mkdir(parents=True)
    (work / "checkpoint.pt").write_bytes(b"weights")
    (work / REQUEST_FILE).write_text(json.dumps({"name": "pools", "model": "tiny"}))
    backend = Finishing("train")
    _, succeeded, feedback = run(backend, tmp_path / "run")
    assert not succeeded and backend.asked == []
    assert "Train a detector" in feedback.errors[0]
