"""Entries in the menus of results, and the swipe button, with what QGIS's window offers for them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from qgis.core import QgsLayerTree, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import QMainWindow

from changen2_qgis.layer_actions import LayerActions, run_folder_of, sides_of
from changen2_qgis.layer_metadata import carry_run
from changen2_qgis.series_results import add_series_group, series_groups


class Window(QObject):
    """The part of QGIS's interface that the actions use; menus are kept as lists."""

    currentLayerChanged = pyqtSignal(object)

    def __init__(self, qtbot):
        super().__init__()
        self.window = QMainWindow()
        qtbot.addWidget(self.window)
        self.canvas = QgsMapCanvas(self.window)
        self.bar = QgsMessageBar(self.window)
        self.toolbar, self.menu = [], []
        self.of_types, self.of_layers = [], {}
        self.selected, self.active = [], None

    def mapCanvas(self):
        return self.canvas

    def mainWindow(self):
        return self.window

    def messageBar(self):
        return self.bar

    def click(self, layer):
        """As in the Layers panel."""
        self.active = layer
        self.currentLayerChanged.emit(layer)

    def activeLayer(self):
        return self.active

    def layerTreeView(self):
        return SimpleNamespace(selectedLayers=lambda: self.selected)

    def addToolBarIcon(self, action):
        self.toolbar.append(action)

    def removeToolBarIcon(self, action):
        self.toolbar.remove(action)

    def addPluginToRasterMenu(self, menu, action):
        self.menu.append(action)

    def removePluginRasterMenu(self, menu, action):
        self.menu.remove(action)

    def addCustomActionForLayerType(self, action, menu, kind, all_layers):
        assert not all_layers
        self.of_types.append((action, kind))

    def removeCustomActionForLayerType(self, action):
        self.of_types.remove(next(entry for entry in self.of_types if entry[0] is action))

    def addCustomActionForLayer(self, action, layer):
        self.of_layers.setdefault(layer.name(), []).append(action.text())


@pytest.fixture
def project(qgis_new_project):
    return QgsProject.instance()


@pytest.fixture
def iface(project, qtbot):
    return Window(qtbot)


@pytest.fixture
def actions(iface):
    actions = LayerActions(iface)
    yield actions
    actions.remove()


@pytest.fixture
def images(project, tmp_path, write_series):
    add_series_group(project, write_series(tmp_path / "run"), "Synthesis")
    (group,) = series_groups(project)
    return group.images()


def test_only_layers_of_results_have_the_entries(actions, iface, project, images):
    project.addMapLayer(QgsVectorLayer("Polygon?crs=EPSG:32633", "Mine", "memory"))
    assert "Mine" not in iface.of_layers
    assert len(iface.of_layers) == len(project.mapLayers()) - 1
    assert set(map(tuple, iface.of_layers.values())) == {("Open run folder", "Run again with these settings")}


def test_results_that_are_there_already_have_them_too(images, iface):
    actions = LayerActions(iface)
    assert images[0].name() in iface.of_layers
    actions.remove()


def test_a_layer_knows_its_run_wherever_it_lies_in_the_group(images, project, tmp_path):
    assert run_folder_of(project, images[2]) == str(tmp_path / "run")
    mine = QgsVectorLayer("Polygon?crs=EPSG:32633", "Mine", "memory")
    project.addMapLayer(mine)
    assert run_folder_of(project, mine) == ""


def test_a_layer_that_the_toolbox_has_loaded_tells_its_run(actions, iface, project, write_series, tmp_path):
    """Which it learns once it is in the project."""
    folder = Path(write_series(tmp_path / "toolbox"))
    layer = QgsRasterLayer(str(folder / "image_t1.tif"), "Image after the last step")
    project.addMapLayer(layer)
    carry_run(layer, folder)
    assert layer.name() in iface.of_layers
    assert run_folder_of(project, layer) == str(folder)
    assert "synthesize" in layer.metadata().abstract() and layer.metadata().history()
    folder.rename(tmp_path / "moved")
    layer.setDataSource(str(tmp_path / "moved" / "image_t1.tif"), layer.name(), "gdal")
    assert run_folder_of(project, layer) == str(tmp_path / "moved")


def test_the_run_folder_is_opened(actions, iface, images, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()) or True)
    iface.active = images[1]
    actions.open.trigger()
    assert opened == [str(tmp_path / "run")]


def test_running_again_hands_the_run_over(actions, iface, images, tmp_path, qtbot):
    iface.active = images[1]
    with qtbot.waitSignal(actions.run_again) as signal:
        actions.again.trigger()
    assert (signal.args[0].kind, signal.args[0].folder) == ("synthesize", tmp_path / "run")


def test_a_run_without_manifest_is_explained(actions, iface, images, tmp_path, qtbot):
    (tmp_path / "run" / "manifest.json").unlink()
    iface.active = images[1]
    with qtbot.assertNotEmitted(actions.run_again):
        actions.again.trigger()
    assert "manifest" in iface.bar.currentItem().text()


@pytest.mark.parametrize("kind", ["detect", "synthesize", "simulate"])
def test_running_again_is_offered_where_a_page_has_the_settings(actions, iface, project, images, tmp_path, kind, qtbot):
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, "job": kind}))
    iface.click(images[1])
    assert actions.again.isEnabled() == (kind != "simulate")
    iface.click(project.addMapLayer(QgsVectorLayer("Polygon?crs=EPSG:32633", "Mine", "memory")))
    assert actions.again.isEnabled()
    iface.active = images[1]
    actions.again.trigger()
    assert (iface.bar.currentItem() is not None) == (kind == "simulate")


def test_two_selected_layers_are_swiped_the_lower_one_on_the_left(actions, iface, images):
    iface.selected = [images[3], images[0]]
    actions.swipe.trigger()
    assert actions.swipe.isChecked()
    assert iface.canvas.mapTool().item.titles == (images[0].name(), images[3].name())
    actions.swipe.trigger()
    assert not actions.swipe.isChecked() and iface.canvas.mapTool() is None


def test_one_selected_layer_is_swiped_over_the_rest_of_the_map(images):
    left, right = sides_of([images[2]], [images[3], images[2], images[0]])
    assert [layer.name() for layer in left.layers] == [images[3].name(), images[0].name()]
    assert right.layers == (images[3], images[2], images[0])
    assert left.title == f"without {images[2].name()}" and left.in_time and right.in_time
    _, hidden = sides_of([images[1]], [images[0]])
    assert hidden.layers == (images[1], images[0])


def test_tables_are_no_part_of_a_swipe(actions, iface, project, images):
    tables = [QgsVectorLayer("NoGeometry?field=name:string", name, "memory") for name in ("owners", "streets")]
    project.addMapLayers(tables)
    iface.selected = tables
    actions.swipe.trigger()
    assert not actions.swipe.isChecked()
    assert "Tables cannot be seen" in iface.bar.currentItem().text()
    iface.selected = [tables[0], images[3], images[0]]
    actions.swipe.trigger()
    assert iface.canvas.mapTool().item.titles == (images[0].name(), images[3].name())


def test_layers_of_a_group_that_is_rendered_as_one_are_swiped(images, project, monkeypatch):
    """From QGIS 3.24 on they are missing in the order in which the map is drawn; here it is left empty."""
    monkeypatch.setattr(QgsLayerTree, "layerOrder", lambda root: [])
    left, right = sides_of([images[3], images[0]], [])
    assert (left.layers, right.layers) == ((images[0],), (images[3],))


def test_without_a_selection_it_is_said_what_to_select(actions, iface):
    actions.swipe.trigger()
    assert not actions.swipe.isChecked()
    told = iface.bar.currentItem()
    assert "Select two layers" in told.text() and told.duration() == 0, "it stays"


def test_nothing_is_left_after_removal(iface, project, tmp_path, write_series):
    actions = LayerActions(iface)
    actions.remove()
    assert iface.toolbar == [] and iface.menu == [] and iface.of_types == []
    add_series_group(project, write_series(tmp_path / "run"), "Synthesis")
    assert iface.of_layers == {}
