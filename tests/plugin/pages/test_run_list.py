"""The list of runs: what it finds, what it says of it, and what double click and buttons do."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QFileDialog

from changen2_qgis.pages.run_list import RunList
from changen2_qgis.results import detection_groups
from changen2_qgis.review.sample_points import write_points
from changen2_qgis.run_folders import REQUEST_FILE, WORK_FOLDER, find_runs, read_run, runs_folder
from changen2_qgis.series_results import add_series_group, series_groups


@pytest.fixture
def project(qgis_new_project, tmp_path):
    project = QgsProject.instance()
    assert project.write(str(tmp_path / "town.qgz"))
    return project


@pytest.fixture
def folder(project):
    return runs_folder(project)


@pytest.fixture
def detection(folder, write_raster):
    """A finished detection as far as the list needs it."""
    import numpy as np

    run = folder / "2026-11-22 09-30 detect north to south"
    run.mkdir(parents=True)
    path = write_raster(run / "change_probability.tif", np.ones((1, 20, 30), np.uint8), nodata=0)
    manifest = {
        "job": "detect",
        "began": datetime(2026, 11, 22, 9, 30).astimezone().isoformat(),
        "inputs": {"before": {"path": "/gone/north.tif"}, "after": {"path": "/gone/south.tif"}},
        "parameters": {"threshold": 0.4},
        "summary": {"polygons": 0, "change_area_m2": 0.0, "threshold": 0.4},
        "outputs": {"change_probability": Path(path).name},
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


@pytest.fixture
def synthesis(folder, write_series):
    return Path(write_series(folder / "2026-11-23 10-05 synthesize town"))


@pytest.fixture
def unfinished(folder):
    run = folder / "2026-11-24 08-00 detect east to west"
    (run / WORK_FOLDER).mkdir(parents=True)
    (run / WORK_FOLDER / "journal.jsonl").write_text('{"job": 1}\n{"block": 0}\n')
    return run


@pytest.fixture
def runs(project, qtbot):
    widget = RunList()
    qtbot.addWidget(widget)
    widget.resize(350, 300)
    widget.show()
    return widget


def rows(runs):
    items = [runs.list.topLevelItem(row) for row in range(runs.list.topLevelItemCount())]
    return [(item.text(0), item.text(1), item.data(2, Qt.ItemDataRole.AccessibleTextRole)) for item in items]


def choose(runs, row):
    runs.list.setCurrentItem(runs.list.topLevelItem(row))


def test_an_empty_list_says_where_runs_are_kept(runs, folder):
    assert not runs.list.isVisible() and runs.empty.isVisible()
    assert str(folder) in runs.empty.text()
    assert not runs.add.isEnabled() and not runs.again.isEnabled() and not runs.open.isEnabled()
    assert runs.elsewhere.isVisible() and runs.elsewhere.isEnabled() and not runs.elsewhere.icon().isNull()


def test_runs_are_listed_with_date_and_state_the_newest_first(runs, detection, synthesis, unfinished, folder):
    (folder / "Sample scene").mkdir()
    (folder / "notes.txt").write_text("no run")
    (folder / "2026-11-20 10-00 detect nothing").mkdir()
    runs.refresh()
    began = datetime.fromisoformat("2026-11-23T10:05:00+00:00").astimezone()
    assert rows(runs) == [
        ("east to west", "2026-11-24 08:00", "unfinished"),
        ("town", f"{began:%Y-%m-%d %H:%M}", "finished"),
        ("north to south", "2026-11-22 09:30", "finished"),
    ]


def test_a_run_elsewhere_is_listed_while_it_is_on_the_map(project, runs, tmp_path, write_series):
    run = write_series(tmp_path / "elsewhere" / "my run")
    add_series_group(project, run, "Synthesis")
    runs.refresh()
    assert [name for name, _, _ in rows(runs)] == ["my run"]
    project.layerTreeRoot().removeAllChildren()
    runs.refresh()
    assert rows(runs) == []


def test_a_double_click_adds_a_synthesis_to_the_map(project, runs, synthesis, qtbot):
    runs.refresh()
    place = runs.list.visualItemRect(runs.list.topLevelItem(0)).center()
    viewport = runs.list.viewport()
    QTest.mouseClick(viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    with qtbot.waitSignal(runs.added) as signal:
        QTest.mouseDClick(viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    assert signal.args == ["synthesize"]
    (group,) = series_groups(project)
    assert group.name.startswith("Synthesis 2026-11-23") and group.folder == str(synthesis)


def test_a_detection_is_added_with_its_threshold(project, runs, detection):
    runs.refresh()
    QTest.mouseClick(runs.add, Qt.MouseButton.LeftButton)
    (group,) = detection_groups(project)
    assert group.name == "Change 2026-11-22 09:30: no change found"
    assert group.threshold == pytest.approx(0.4)


def test_a_detection_is_added_with_the_points_that_were_drawn_last(project, runs, detection):
    raster = QgsRasterLayer(str(detection / "change_probability.tif"), "map")
    for name, count in (("points to label", 3), ("points to label (2)", 2)):
        (detection / name).mkdir()
        places = [(column, 1, 0) for column in range(count)]
        write_points(places, (100, 3), raster, detection / name / "sample_points.gpkg")
    runs.refresh()
    QTest.mouseClick(runs.add, Qt.MouseButton.LeftButton)
    (group,) = detection_groups(project)
    assert group.layer("points").featureCount() == 2
    assert group.layer("points").source().startswith(str(detection / "points to label (2)"))


@pytest.mark.parametrize(("valid_pixels", "added"), [(103, True), (600, False)])
def test_points_over_a_map_that_was_replaced_are_not_added(project, runs, detection, valid_pixels, added):
    raster = QgsRasterLayer(str(detection / "change_probability.tif"), "map")
    (detection / "points to label").mkdir()
    path = detection / "points to label" / "sample_points.gpkg"
    write_points([(0, 1, 0), (5, 1, 1)], (100, 3), raster, path)
    manifest = json.loads((detection / "manifest.json").read_text())
    manifest["summary"]["valid_px"] = valid_pixels
    (detection / "manifest.json").write_text(json.dumps(manifest))
    runs.refresh()
    QTest.mouseClick(runs.add, Qt.MouseButton.LeftButton)
    (group,) = detection_groups(project)
    assert (group.layer("points") is not None) == added


def test_points_that_cannot_be_read_do_not_keep_a_detection_away(project, runs, detection):
    (detection / "points to label").mkdir()
    (detection / "points to label" / "sample_points.gpkg").write_text("broken")
    runs.refresh()
    QTest.mouseClick(runs.add, Qt.MouseButton.LeftButton)
    (group,) = detection_groups(project)
    assert group.layer("points") is None


def test_what_cannot_be_added_is_explained(project, runs, synthesis, qtbot):
    (synthesis / "labels_t1.tif").unlink()
    runs.refresh()
    with qtbot.waitSignal(runs.refused) as signal:
        QTest.mouseClick(runs.add, Qt.MouseButton.LeftButton)
    assert "labels_t1.tif" in signal.args[0] and series_groups(project) == []


@pytest.fixture
def choose_folder(monkeypatch):
    """A function that answers the question for a folder; nothing ("") is Cancel."""

    def answer(folder):
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))

    return answer


def test_a_detection_made_elsewhere_is_added_and_listed(project, runs, detection, tmp_path, choose_folder, qtbot):
    moved = detection.rename(tmp_path / "from a terminal")
    runs.refresh()
    assert rows(runs) == []
    choose_folder(moved)
    with qtbot.waitSignal(runs.added) as signal:
        QTest.mouseClick(runs.elsewhere, Qt.MouseButton.LeftButton)
    assert signal.args == ["detect"]
    (group,) = detection_groups(project)
    assert group.folder == str(moved) and group.threshold == pytest.approx(0.4)
    runs.refresh()
    assert rows(runs) == [("from a terminal", "2026-11-22 09:30", "finished")]


def test_a_series_made_elsewhere_is_added_by_the_keyboard(project, runs, tmp_path, write_series, choose_folder, qtbot):
    run = write_series(tmp_path / "elsewhere" / "my run")
    choose_folder(run)
    with qtbot.waitSignal(runs.added) as signal:
        QTest.keyClick(runs.elsewhere, Qt.Key.Key_Space)
    assert signal.args == ["synthesize"]
    assert [group.folder for group in series_groups(project)] == [run]


def test_a_folder_without_results_is_refused_in_words(project, runs, tmp_path, unfinished, choose_folder, qtbot):
    training = tmp_path / "training"
    training.mkdir()
    (training / "manifest.json").write_text('{"job": "finetune", "began": "2026-11-22T09:30:00+00:00"}')
    renamed = unfinished.rename(tmp_path / "work")
    for folder, told in ((tmp_path, "holds no run"), (training, "a run of finetune"), (renamed, "is unfinished")):
        choose_folder(folder)
        with qtbot.waitSignal(runs.refused) as signal:
            QTest.mouseClick(runs.elsewhere, Qt.MouseButton.LeftButton)
        assert str(folder) in signal.args[0] and told in signal.args[0]
    choose_folder("")
    with qtbot.assertNotEmitted(runs.refused):
        QTest.mouseClick(runs.elsewhere, Qt.MouseButton.LeftButton)
    assert project.mapLayers() == {}


def test_running_again_hands_the_run_over(runs, detection, synthesis, qtbot):
    runs.refresh()
    choose(runs, 1)
    with qtbot.waitSignal(runs.run_again) as signal:
        QTest.mouseClick(runs.again, Qt.MouseButton.LeftButton)
    (run,) = signal.args
    assert (run.kind, run.folder, run.finished) == ("detect", detection, True)


def test_an_unfinished_run_is_continued_with_one_click(runs, unfinished, detection, qtbot):
    (unfinished / WORK_FOLDER / REQUEST_FILE).write_text('{"method": "detect", "params": {}}')
    runs.refresh()
    assert runs.open.isEnabled() and not runs.again.isEnabled()
    assert runs.rest.isVisible() and not runs.add.isVisible()
    with qtbot.waitSignal(runs.go_on) as signal:
        QTest.mouseClick(runs.rest, Qt.MouseButton.LeftButton)
    assert signal.args[0].folder == unfinished
    choose(runs, 1)
    assert runs.add.isVisible() and not runs.rest.isVisible()


def test_an_unfinished_run_that_does_not_tell_what_it_was_asked_can_only_be_looked_at(runs, unfinished):
    runs.refresh()
    assert runs.open.isEnabled() and not runs.rest.isEnabled() and not runs.again.isEnabled()


def test_an_unfinished_training_is_listed_and_goes_on_where_it_was_started(runs, folder):
    work = folder / "2026-11-25 09-00 train pools" / WORK_FOLDER
    work.mkdir(parents=True)
    (work / "checkpoint.pt").write_bytes(b"weights")
    (work / REQUEST_FILE).write_text('{"name": "pools", "model": "tiny"}')
    runs.refresh()
    assert rows(runs) == [("pools", "2026-11-25 09:00", "unfinished")]
    assert runs.open.isEnabled() and not runs.rest.isEnabled() and "toolbox" in runs.rest.toolTip()


def test_the_chosen_run_stays_chosen(runs, detection, synthesis, unfinished):
    runs.refresh()
    choose(runs, 2)
    runs.refresh()
    assert runs.current().folder == detection


def test_new_runs_are_seen_when_the_list_is_shown(runs, synthesis):
    runs.hide()
    assert rows(runs) == []
    runs.show()
    assert len(rows(runs)) == 1


def test_a_broken_manifest_is_no_run(folder):
    (folder / "2026-11-20 10-00 detect a").mkdir(parents=True)
    (folder / "2026-11-20 10-00 detect a" / "manifest.json").write_text("{")
    assert read_run(folder / "2026-11-20 10-00 detect a") is None
    assert find_runs(folder / "nowhere") == []


def test_the_list_fits_a_narrow_dock_and_its_pictures_are_there(runs, synthesis, unfinished):
    runs.refresh()
    assert runs.minimumSizeHint().width() <= 350
    for row in range(2):
        assert not runs.list.topLevelItem(row).icon(0).isNull()
        assert not runs.list.topLevelItem(row).icon(2).isNull()
