"""What a detection can be compared with, and what the comparison says, with the real worker."""

import json
from datetime import datetime

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsMapCanvas

from changen2_qgis.pages.result_panel import ResultPanel
from changen2_qgis.results import DetectionGroup, add_detection_group, detection_groups
from changen2_qgis.review.assess_bar import AssessBar
from changen2_qgis.review.label_bar import LabelBar
from changen2_qgis.series_results import add_series_group

PATIENCE_MS = 120_000
NOTHING, DRAW = "Add a map or polygons of known change to the project", "Draw points to label"


@pytest.fixture
def bar(qtbot):
    bar = AssessBar()
    qtbot.addWidget(bar)
    return bar


@pytest.fixture
def detection(qgis_new_project, tmp_path, write_raster):
    """A function that adds a detection between two images; it reports the square at rows 10–20, columns 25–35."""

    def add(before, after):
        folder = tmp_path / "detection"
        folder.mkdir()
        values = np.zeros((1, 60, 80), np.uint8)
        values[0, 10:20, 25:35] = 1
        change = write_raster(folder / "change.tif", values)
        inputs = {"before": {"path": str(before)}, "after": {"path": str(after)}}
        (folder / "manifest.json").write_text(json.dumps({"job": "detect", "inputs": inputs}))
        node = add_detection_group(QgsProject.instance(), {"change": change}, "Change", {"polygons": 1}, 0.45)
        return DetectionGroup(node)

    return add


def offered(bar):
    bar.menu.aboutToShow.emit()
    return [action.text() for action in bar.menu.actions() if not action.isSeparator()]


def test_what_was_synthesized_between_the_two_images_comes_first(bar, detection, tmp_path, write_series):
    folder = write_series(tmp_path / "series")
    add_series_group(QgsProject.instance(), folder, "Synthesis", datetime(2021, 3, 1), (6, "months"))
    bar.show_result(detection(f"{folder}/image_t1.tif", f"{folder}/image_t2.tif"))
    names = offered(bar)
    assert names[0] == "Change 1 to 2" and names.count("Change 1 to 2") == 1
    assert "Change 0 to 1" in names[1:]


def test_a_new_detection_on_a_series_is_assessed_at_once(provider, detection, tmp_path, write_series, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    panel = ResultPanel(canvas)
    qtbot.addWidget(panel)
    folder = write_series(tmp_path / "series")
    add_series_group(QgsProject.instance(), folder, "Synthesis", datetime(2021, 3, 1), (6, "months"))
    group = detection(f"{folder}/image_t1.tif", f"{folder}/image_t2.tif")
    with qtbot.waitSignal(panel.assess.ended, timeout=PATIENCE_MS):
        panel.refresh(newest=True)
    # The series' second square lies where this detection reports one.
    assert "The known change was found; no place was reported" in panel.assess.words.text()
    assert group.layer("assessment") is not None
    panel.shut_down()


def test_rasters_of_one_band_and_polygons_are_offered(bar, detection, tmp_path, write_raster):
    group = detection("gone.tif", "gone too.tif")
    bar.show_result(group)
    assert offered(bar) == [NOTHING, DRAW]
    for name, bands in (("mask", 1), ("photo", 3)):
        path = write_raster(tmp_path / f"{name}.tif", np.zeros((bands, 60, 80), np.uint8))
        QgsProject.instance().addMapLayer(QgsRasterLayer(path, name))
    for name in ("Polygon", "Point"):
        QgsProject.instance().addMapLayer(QgsVectorLayer(f"{name}?crs=EPSG:32633", name, "memory"))
    assert offered(bar)[2:] == [DRAW] and sorted(offered(bar)[:2]) == ["Polygon", "mask"]


def test_the_assessment_is_told_and_kept_in_the_project(provider, bar, detection, tmp_path, write_raster, qtbot):
    known = np.zeros((1, 60, 80), np.uint8)
    known[0, 10:20, 25:35] = known[0, 40:50, 40:50] = 1
    QgsProject.instance().addMapLayer(QgsRasterLayer(write_raster(tmp_path / "known.tif", known), "known/change"))
    group = detection("gone.tif", "gone too.tif")
    bar.show_result(group)
    assert bar.words.isHidden()
    bar.menu.aboutToShow.emit()
    bar.menu.actions()[0].trigger()
    assert not bar.button.isEnabled() and bar.words.text() == "Assessing…"
    qtbot.waitUntil(bar.button.isEnabled, timeout=PATIENCE_MS)
    assert bar.words.text().startswith(
        "Against “known/change”, from probability 0.45 up: 1 of 2 known changes was found; "
        "no place was reported that did not change."
    )
    layer = group.layer("assessment")
    assert layer.source().startswith(str(tmp_path / "detection" / "assessment against known_change"))
    QgsProject.instance().write(str(tmp_path / "town.qgz"))
    QgsProject.instance().read(str(tmp_path / "town.qgz"))
    text = bar.words.text()
    bar.show_result(None)
    (group,) = detection_groups(QgsProject.instance())
    bar.show_result(group)
    assert bar.words.text() == text


def test_a_probability_is_assessed_at_the_threshold_of_the_result(
    provider, bar, tmp_path, write_raster, qtbot, qgis_new_project
):
    folder = tmp_path / "detection"
    folder.mkdir()
    stored = np.full((1, 60, 80), 20, np.uint8)
    stored[0, 10:20, 25:35] = 120  # 0.47: change at 0.45, not at 0.5
    path = write_raster(folder / "change_probability.tif", stored, nodata=0)
    dataset = gdal.Open(path, gdal.GA_Update)
    dataset.GetRasterBand(1).SetDescription("Change probability")
    del dataset
    outputs = {"change": write_raster(folder / "change.tif", (stored > 20) * np.uint8(1)), "change_probability": path}
    (folder / "manifest.json").write_text(json.dumps({"job": "detect"}))
    bar.show_result(DetectionGroup(add_detection_group(QgsProject.instance(), outputs, "Change", {}, 0.45)))
    known = QgsRasterLayer(write_raster(tmp_path / "known.tif", (stored > 20) * np.uint8(1)), "known")
    QgsProject.instance().addMapLayer(known)
    with qtbot.waitSignal(bar.ended, timeout=PATIENCE_MS):
        bar.assess(known)
    assert "The known change was found; no place was reported" in bar.words.text()
    (page,) = folder.rglob("assessment.html")
    assert "Calibration error" in page.read_text(encoding="utf8")


def test_what_cannot_be_compared_is_refused(provider, bar, detection, tmp_path, write_raster, qtbot):
    far = write_raster(tmp_path / "far.tif", np.zeros((1, 60, 80), np.uint8), origin=(700000.0, 5000000.0))
    layer = QgsRasterLayer(far, "far")
    QgsProject.instance().addMapLayer(layer)
    bar.show_result(detection("gone.tif", "gone too.tif"))
    with qtbot.waitSignal(bar.refused, timeout=PATIENCE_MS) as refused:
        bar.assess(layer)
    assert "overlap" in refused.args[0] and bar.button.isEnabled() and bar.words.isHidden()


def test_points_are_drawn_labelled_and_assessed(provider, bar, detection, tmp_path, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    labels = LabelBar(canvas)
    qtbot.addWidget(labels)
    group = detection("gone.tif", "gone too.tif")
    bar.show_result(group)
    labels.show_result(group)
    assert labels.isHidden()
    bar.menu.aboutToShow.emit()
    bar.menu.actions()[-1].trigger()
    qtbot.waitSignal(bar.ended, timeout=PATIENCE_MS).wait()
    labels.show_result(group)
    points = group.layer("points")
    count = points.featureCount()
    assert bar.words.text().startswith(f"{count} points to label") and not labels.isHidden()
    labels.next.click()
    assert labels.position.text() == f"1 of {count}"
    while labels.position.text() != f"All {count} labelled":
        feature = points.getFeature(labels._ids[labels._at])
        assert canvas.extent().contains(feature.geometry().asPoint())
        # What the map says is right, but for the first point on change.
        wrong = feature["map"] == 1 and not any(f["reference"] == 0 and f["map"] == 1 for f in points.getFeatures())
        (labels.no if wrong or feature["map"] == 0 else labels.yes).click()
    bar.assess(points)
    qtbot.waitSignal(bar.ended, timeout=PATIENCE_MS).wait()
    assert f"By {count} labelled points, 100% of the map is right" in bar.words.text()
    assert group.layer("assessment") is None


@pytest.mark.parametrize("job", ["points", "assess"])
def test_a_result_that_goes_meanwhile_is_told(provider, bar, detection, qtbot, job):
    group = detection("gone.tif", "gone too.tif")
    bar.show_result(group)
    with qtbot.waitSignals([bar.refused, bar.ended], timeout=PATIENCE_MS) as signals:
        bar.draw_points() if job == "points" else bar.assess(group.layer("change"))
        QgsProject.instance().layerTreeRoot().removeAllChildren()
    said = [signal.args[0] for signal in signals.all_signals_and_args if signal.args]
    assert len(said) == 1 and "no longer in the project" in said[0]
