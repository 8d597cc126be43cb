"""The Runs tab of the dock: earlier runs back on the map, and their settings back in the pages."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from qgis.core import QgsProject
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QMainWindow

from changen2_qgis.dock import MINIMUM_WIDTH, ChangeDock
from changen2_qgis.run_folders import read_run, runs_folder
from changen2_qgis.series_results import series_groups
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

    def request(self, method, params, callbacks=None):
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
def dock(project, synthesis, qtbot):
    window = QMainWindow()
    qtbot.addWidget(window)
    canvas, bar = QgsMapCanvas(window), QgsMessageBar(window)
    window.setCentralWidget(canvas)
    iface = SimpleNamespace(
        mapCanvas=lambda: canvas, messageBar=lambda: bar, mainWindow=lambda: window, activeLayer=lambda: None
    )
    dock = ChangeDock(iface, KnowingBackend())
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    window.resize(1366, 768)
    window.show()
    qtbot.waitUntil(lambda: bool(dock.detect.form.card()))
    yield dock
    dock.shut_down()


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


def test_what_is_gone_is_said_in_the_message_bar(dock, qtbot, synthesis, tmp_path):
    dock.synthesize.get()
    form = dock.synthesize.content.form
    qtbot.waitUntil(lambda: bool(form.card()))
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
