"""The Runs tab of the dock: earlier runs back on the map, and their settings back in the pages."""

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from qgis.core import QgsApplication, QgsProject
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QPushButton

from changen2_qgis.dock import MINIMUM_WIDTH, ChangeDock
from changen2_qgis.errors import BackendError
from changen2_qgis.known_models import KnownModels
from changen2_qgis.processing.provider import Changen2Provider
from changen2_qgis.run_folders import INPUTS_FOLDER, REQUEST_FILE, WORK_FOLDER, read_run, runs_folder
from changen2_qgis.series_results import series_groups, write_dates
from changen2_qgis.settings import Settings
from changen2_qgis.temporal import Timeline
from changen2_qgis.worker_client import Hello

CARDS = (
    {"name": "tiny", "task": "detect", "installed": True, "threshold": 0.5},
    {"name": "tiny", "task": "synthesize", "installed": True, "classes": []},
)


class KnowingBackend:
    """A backend that knows its models; estimates are all it is asked for here."""

    def environment(self):
        """It is set up."""

    def hello(self, cancelled=lambda: False):
        return Hello(1, "0.1.0", 1, "2.13.0", ({"name": "cpu", "label": "CPU"},), CARDS)

    last_hello = object()
    """It runs."""

    def __init__(self):
        self.asked, self.rest = [], None
        self.known_models = KnownModels()
        self.settings = Settings()

    def request(self, method, params, callbacks=None):
        if method == "synthesize":
            self.asked.append(params)
            return self.rest(Path(params["out_dir"]))
        return {"seconds": 1, "tiles": 1, "memory_bytes": 1e9, "disk_bytes": 1e6, "width": 60, "height": 80}


@pytest.fixture
def project(qgis_new_project, tmp_path, settings):
    project = QgsProject.instance()
    assert project.write(str(tmp_path / "town.qgz"))
    return project


@pytest.fixture
def synthesis(project, write_series):
    folder = Path(write_series(runs_folder(project) / "2026-11-23 10-05 synthesize town"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["parameters"].update(seed=4321, simulate="remove", sampler="ddim")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def dock(project, synthesis, window, qtbot):
    backend = KnowingBackend()
    provider = Changen2Provider(backend)
    QgsApplication.processingRegistry().addProvider(provider)
    dock = ChangeDock(window.iface, backend)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    qtbot.waitUntil(lambda: bool(dock.detect.form.model.card()))
    yield dock
    dock.shut_down()
    QgsApplication.processingRegistry().removeProvider(provider)


def show_runs(dock):
    """By a click on the tab."""
    tabs = dock.pages.tabBar()
    QTest.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(dock.pages.indexOf(dock.runs)).center())
    return dock.runs.content


def test_a_run_is_put_on_the_map_and_shown_where_it_can_be_played(dock, project):
    runs = show_runs(dock)
    assert runs.current().name == "town"
    QTest.mouseClick(runs.add, Qt.MouseButton.LeftButton)
    assert len(series_groups(project)) == 1
    assert dock.pages.currentWidget() is dock.synthesize


def test_running_again_fills_the_page_once_its_models_are_known(dock, qtbot, tmp_path):
    runs = show_runs(dock)
    QTest.mouseClick(runs.again, Qt.MouseButton.LeftButton)
    assert dock.pages.currentWidget() is dock.synthesize
    form = dock.synthesize.content.form
    qtbot.waitUntil(lambda: form.image.layer() is not None)
    parameters = form.parameters()
    assert (parameters["SEED"], parameters["SIMULATE"], parameters["SAMPLER"]) == (4321, ["remove"], "ddim")
    assert not dock.synthesize.content.bar.running


@pytest.fixture
def interrupted(project):
    """A synthesis of which QGIS's end left the first step."""
    folder = runs_folder(project) / "2026-11-24 08-00 synthesize harbour"
    (folder / WORK_FOLDER).mkdir(parents=True)
    (folder / INPUTS_FOLDER).mkdir()
    (folder / WORK_FOLDER / "journal.jsonl").write_text('{"run": 1}\n{"step": 1}\n')
    params = {"image": "/images/harbour.tif", "seed": 99, "out_dir": "/where/it/was/begun", "resume": True}
    (folder / WORK_FOLDER / REQUEST_FILE).write_text(json.dumps({"method": "synthesize", "params": params}))
    write_dates(folder / INPUTS_FOLDER, Timeline(datetime(2019, 5, 1), 3, "months"))
    return folder


def test_an_interrupted_run_is_continued_after_a_restart(dock, project, interrupted, write_series, qtbot):
    def finish(folder):
        shutil.rmtree(folder / WORK_FOLDER)
        write_series(folder, steps=2)
        return {"outputs": {"manifest": str(folder / "manifest.json")}, "warnings": ["Mind the gap."]}

    dock.detect._backend.rest = finish
    runs = show_runs(dock)
    assert runs.current().folder == interrupted
    QTest.mouseClick(runs.rest, Qt.MouseButton.LeftButton)
    assert dock.pages.currentWidget() is dock.synthesize and dock.synthesize.content.bar.running
    qtbot.waitUntil(lambda: bool(series_groups(project)), timeout=10000)
    (params,) = dock.detect._backend.asked
    assert params == {"image": "/images/harbour.tif", "seed": 99, "out_dir": str(interrupted), "resume": True}
    (group,) = series_groups(project)
    assert group.folder == str(interrupted)
    assert (group.timeline.start, group.timeline.amount, group.timeline.unit) == (datetime(2019, 5, 1), 3, "months")
    assert "Mind the gap." in dock._iface.messageBar().currentItem().text()
    assert read_run(interrupted).finished


def test_a_run_that_breaks_off_again_can_be_continued_again(dock, project, interrupted, qtbot):
    def fail(folder):
        raise BackendError("The disk is full.", "Free some space.")

    dock.detect._backend.rest = fail
    QTest.mouseClick(show_runs(dock).rest, Qt.MouseButton.LeftButton)
    bar = dock._iface.messageBar()
    qtbot.waitUntil(lambda: bar.currentItem() is not None, timeout=10000)
    assert bar.currentItem().text() == "The disk is full. Free some space. The finished part is kept."
    assert bar.findChild(QPushButton, "changen2_go_on").text() == "Continue"
    assert not read_run(interrupted).finished


def test_a_run_whose_finished_part_has_gone_is_refused(dock, project, interrupted, qtbot):
    runs = show_runs(dock)
    (interrupted / WORK_FOLDER / "journal.jsonl").write_text('{"run": 1}\n')  # by another process, since it was listed
    QTest.mouseClick(runs.rest, Qt.MouseButton.LeftButton)
    bar = dock._iface.messageBar()
    qtbot.waitUntil(lambda: bar.currentItem() is not None, timeout=10000)
    assert "There is no unfinished run" in bar.currentItem().text()
    assert dock.detect._backend.asked == []


def test_what_is_gone_is_said_in_the_message_bar(dock, qtbot, synthesis, tmp_path):
    dock.synthesize.get()
    form = dock.synthesize.content.form
    qtbot.waitUntil(lambda: bool(form.model.card()))
    (synthesis.parent / "town.tif").unlink()
    dock.run_again(read_run(synthesis))
    assert "town.tif is no longer there" in dock._iface.messageBar().currentItem().text()


def test_all_tabs_fit_into_the_narrowest_dock(dock, qtbot):
    show_runs(dock)
    assert dock.widget().minimumSizeHint().width() <= MINIMUM_WIDTH
    dock.setFixedWidth(MINIMUM_WIDTH)
    bar = dock.pages.tabBar()
    last = bar.count() - 1
    qtbot.waitUntil(lambda: dock.pages.width() <= MINIMUM_WIDTH)
    assert bar.tabRect(last).right() < dock.pages.width()
    assert bar.tabRect(0).left() >= 0
