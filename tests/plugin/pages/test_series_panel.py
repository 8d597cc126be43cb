"""The panel of a series, by clicks: playing, stepping, swiping, handing a pair over."""

from datetime import datetime

import pytest
from qgis.core import QgsProject, QgsTemporalNavigationObject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QAbstractButton

from changen2_qgis.pages.series_panel import SeriesPanel
from changen2_qgis.series_results import add_series_group, series_groups


@pytest.fixture
def project(qgis_new_project):
    return QgsProject.instance()


@pytest.fixture
def canvas(project, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(300, 300)
    canvas.setTemporalController(QgsTemporalNavigationObject(canvas))
    canvas.show()
    return canvas


@pytest.fixture
def panel(canvas, qtbot):
    panel = SeriesPanel(canvas)
    qtbot.addWidget(panel)
    panel.resize(330, 120)
    yield panel
    panel.shut_down()


@pytest.fixture
def shown(panel, project, canvas, tmp_path, write_series, qtbot):
    """The panel with a series of three steps, in the project and on the canvas."""
    add_series_group(project, write_series(tmp_path / "run"), "Synthesis", datetime(2021, 3, 1), (6, "months"))
    panel.refresh(newest=True)
    panel.show()
    images = panel.current().images()
    canvas.setLayers(images[::-1])
    canvas.setExtent(images[0].extent())
    return panel


def click(button):
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_it_is_hidden_without_a_series_and_comes_with_one(panel, project, tmp_path, write_series, qtbot):
    assert not panel.isVisibleTo(panel.parentWidget())
    add_series_group(project, write_series(tmp_path / "run"), "Synthesis")
    qtbot.waitUntil(lambda: panel.isVisible())
    assert panel.choice.currentText() == "Synthesis: 3 steps, 3 created"
    project.layerTreeRoot().removeAllChildren()
    qtbot.waitUntil(lambda: not panel.isVisible())


def test_looking_at_a_series_does_not_touch_the_map(shown, canvas):
    assert not canvas.mapSettings().isTemporal()
    assert shown.position.text() == "4 images"


def test_stepping_goes_through_the_images_and_back(shown, canvas):
    click(shown.forward)
    seen = [shown.position.text()]
    for _ in range(3):
        click(shown.forward)
        seen.append(shown.position.text())
    assert seen == ["0 · 2021-03-01", "1 · 2021-09-01", "2 · 2022-03-01", "3 · 2022-09-01"]
    assert not shown.forward.isEnabled()
    click(shown.back)
    assert shown.player.step == 2
    assert canvas.temporalRange().begin().toString(Qt.DateFormat.ISODate) == "2022-03-01T00:00:00Z"


def test_play_plays_to_the_end_pause_stays_and_all_shows_all(shown, canvas, qtbot):
    canvas.temporalController().setFramesPerSecond(20)
    click(shown.play)
    assert shown.play.text() == "Pause"
    qtbot.waitUntil(lambda: shown.player.step == 3)
    assert shown.play.text() == "Play"
    click(shown.play)
    click(shown.play)
    assert shown.play.text() == "Play" and shown.player.step < 3
    click(shown.all)
    assert not canvas.mapSettings().isTemporal() and not shown.all.isEnabled()


def test_detect_hands_over_the_image_shown_and_the_next(shown, qtbot):
    images = shown.current().images()
    for steps, pair in ((0, (0, 1)), (2, (1, 2)), (4, (2, 3))):
        shown.player.stop()
        for _ in range(steps):
            click(shown.forward)
        with qtbot.waitSignal(shown.detect_clicked) as signal:
            click(shown.detect)
        assert signal.args == [images[number] for number in pair]


def test_swipe_compares_the_pair_and_follows_the_steps(shown, canvas, qtbot):
    click(shown.swipe)
    assert canvas.mapTool().item.titles == ("Image 0 (2021-03-01)", "Image 1 (2021-09-01)")
    click(shown.forward)
    click(shown.forward)
    assert canvas.mapTool().item.titles == ("Image 1 (2021-09-01)", "Image 2 (2022-03-01)")
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert not shown.swipe.isChecked()


def test_removing_images_leaves_what_is_left(shown, project, qtbot):
    images = shown.current().images()
    project.removeMapLayers([layer.id() for layer in images[1:]])
    qtbot.waitUntil(lambda: shown.position.text() == "1 image")
    assert not shown.detect.isEnabled() and not shown.swipe.isEnabled()


@pytest.mark.parametrize(("at", "gone", "then", "last"), [(1, 3, 1, 2), (3, 3, 2, 2), (0, 0, 1, 3)])
def test_without_the_first_or_last_image_the_map_stays_at_its_step(shown, project, canvas, at, gone, then, last, qtbot):
    shown.player.go_to(at)
    project.removeMapLayer(shown.current().layer("image", gone))
    qtbot.waitUntil(lambda: shown.position.toolTip() == f"Image {then} of {last}")
    assert shown.player.step == then and shown.all.isEnabled()
    project.layerTreeRoot().removeAllChildren()
    qtbot.waitUntil(lambda: not shown.isVisible())
    assert not canvas.mapSettings().isTemporal()


def test_another_series_starts_anew(shown, project, canvas, tmp_path, write_series, qtbot):
    click(shown.forward)
    add_series_group(project, write_series(tmp_path / "other" / "run", steps=1), "Second", datetime(2000, 1, 1))
    shown.refresh(newest=True)
    assert len(series_groups(project)) == 2
    assert shown.choice.currentText() == "Second: 1 step, 1 created"
    assert shown.player.step is None and not canvas.mapSettings().isTemporal()
    click(shown.forward)
    assert shown.position.text() == "0 · 2000-01-01"


def test_every_button_says_what_it_does(shown):
    for button in shown.findChildren(QAbstractButton):
        assert button.toolTip()
        assert button.text() or button.accessibleName()
        assert not button.icon().isNull()
