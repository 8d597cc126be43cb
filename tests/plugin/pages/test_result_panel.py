"""The panel of a detection: swiping between the two images that it was made from."""

import json

import numpy as np
import pytest
from qgis.core import QgsProject, QgsRasterLayer
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest

from changen2_qgis.pages.result_panel import ResultPanel
from changen2_qgis.results import add_detection_group


@pytest.fixture
def project(qgis_new_project):
    return QgsProject.instance()


@pytest.fixture
def canvas(project, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(300, 300)
    canvas.show()
    return canvas


@pytest.fixture
def run(tmp_path, write_raster):
    """A detection whose images of 16 bits are still where they were."""
    folder = tmp_path / "run"
    folder.mkdir()
    inputs = {}
    for date, level in (("before", 1000), ("after", 3000)):
        pixels = np.full((3, 40, 60), level, np.uint16)
        path = write_raster(tmp_path / f"{date}.tif", pixels)
        inputs[date] = {"path": path, "bands": [1, 2, 3], "stretch": {"low": [0] * 3, "high": [4000] * 3}}
    probability = write_raster(folder / "change_probability.tif", np.ones((1, 40, 60), np.uint8), nodata=0)
    (folder / "manifest.json").write_text(json.dumps({"job": "detect", "inputs": inputs}))
    return {"change_probability": probability}


@pytest.fixture
def panel(canvas, project, run, qtbot):
    panel = ResultPanel(canvas)
    qtbot.addWidget(panel)
    add_detection_group(project, run, "Change")
    panel.refresh(newest=True)
    panel.show()
    yield panel
    panel.shut_down()


def test_swipe_takes_the_layers_of_the_project(panel, canvas, project, tmp_path):
    layers = [QgsRasterLayer(str(tmp_path / f"{date}.tif"), f"Town {date}", "gdal") for date in ("before", "after")]
    project.addMapLayers(layers)
    assert panel.current().images() == tuple(layers)
    QTest.mouseClick(panel.swipe, Qt.MouseButton.LeftButton)
    assert panel.swipe.isChecked()
    assert canvas.mapTool().item.titles == ("Town before", "Town after")
    QTest.mouseClick(panel.swipe, Qt.MouseButton.LeftButton)
    assert not panel.swipe.isChecked() and canvas.mapTool() is None


def test_swipe_opens_images_that_are_not_in_the_project_as_the_model_saw_them(panel, canvas, qtbot):
    before, _ = panel.current().images()
    assert before.renderer().redContrastEnhancement().maximumValue() == 4000
    canvas.setDestinationCrs(before.crs())
    canvas.setExtent(before.extent())
    QTest.mouseClick(panel.swipe, Qt.MouseButton.LeftButton)
    tool = canvas.mapTool()
    qtbot.waitUntil(lambda: not tool.rendering)
    image = canvas.grab().toImage()
    levels = [image.pixelColor(x, 150).red() for x in (40, 260)]
    assert levels == pytest.approx([1000 * 255 / 4000, 3000 * 255 / 4000], abs=2)


@pytest.mark.parametrize("in_project", [True, False])
def test_images_that_have_gone_are_said_to_have_gone(panel, project, tmp_path, qtbot, in_project):
    after = tmp_path / "after.tif"
    after.unlink()
    if in_project:
        project.addMapLayer(QgsRasterLayer(str(after), "Town after", "gdal"))  # as a project is read without its file
    with qtbot.waitSignal(panel.refused) as signal:
        QTest.mouseClick(panel.swipe, Qt.MouseButton.LeftButton)
    assert "no longer where they were" in signal.args[0] and not panel.swipe.isChecked()


def move(panel, threshold, qtbot):
    with qtbot.waitSignal(panel.threshold.moved):
        panel.threshold.number.setValue(threshold)


def shows(panel, threshold):
    """Whether bar and map agree on a threshold that the polygons, made with 0.5, can be remade with."""
    bar, group = panel.threshold, panel.current()
    assert group.threshold == 0.5 and bar.apply.isEnabled() == (threshold != 0.5)
    return bar.value() == bar.slider.value() / 100 == group.shown_threshold == threshold


def test_the_bar_shows_the_threshold_of_the_map_of_each_result(panel, project, tmp_path, write_raster, qtbot):
    other = write_raster(tmp_path / "change_probability.tif", np.ones((1, 40, 60), np.uint8), nodata=0)
    add_detection_group(project, {"change_probability": other}, "Second")
    panel.refresh()
    first = panel.choice.currentIndex()
    move(panel, 0.9, qtbot)
    panel.choice.setCurrentIndex(1 - first)
    assert shows(panel, 0.5)
    panel.choice.setCurrentIndex(first)
    assert shows(panel, 0.9)


def test_the_bar_shows_the_threshold_of_the_map_of_a_project_that_is_read_again(panel, project, tmp_path, qtbot):
    move(panel, 0.9, qtbot)
    assert project.write(str(tmp_path / "town.qgz"))
    move(panel, 0.7, qtbot)
    assert project.read(str(tmp_path / "town.qgz"))
    qtbot.waitUntil(lambda: panel.choice.count() == 1)
    assert shows(panel, 0.9)


def test_another_result_ends_the_swipe(panel, canvas, project, tmp_path, write_raster):
    QTest.mouseClick(panel.swipe, Qt.MouseButton.LeftButton)
    assert canvas.mapTool() is not None
    other = write_raster(tmp_path / "change_probability.tif", np.ones((1, 40, 60), np.uint8), nodata=0)
    add_detection_group(project, {"change_probability": other}, "Second")
    panel.refresh(newest=True)
    assert canvas.mapTool() is None and not panel.swipe.isChecked()
