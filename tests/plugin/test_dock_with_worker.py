"""The dock with the real worker: the sample, small detections, other thresholds, images without CRS."""

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsProject, QgsRasterLayer, QgsRectangle, QgsReferencedRectangle

from changen2_qgis.pages.detect_page import DetectPage
from changen2_qgis.results import detection_groups
from changen2_qgis.widgets.extent_picker import RECTANGLE

PATIENCE_MS = 120_000
"""Two cores, a cold start of torch, and other work on the machine."""


@pytest.fixture
def page(provider, real_backend, make_iface, settings, qtbot, tmp_path):
    """A Detect page in a saved project, knowing the backend's models."""
    QgsProject.instance().write(str(tmp_path / "town.qgz"))
    iface = make_iface(setActiveLayer=lambda layer: None, zoomToActiveLayer=lambda: None)
    window = iface.mainWindow()
    page = DetectPage(iface, real_backend, window)
    window.setCentralWidget(page)
    window.show()
    page.meet_backend()
    qtbot.waitUntil(lambda: page.form.model.card() != {}, timeout=PATIENCE_MS)
    yield page
    page.shut_down()


def look_in(page, left, bottom, right, top, crs):
    """As if the rectangle had been drawn."""
    page.form.extent.drawing.extent = QgsReferencedRectangle(QgsRectangle(left, bottom, right, top), crs)
    page.form.extent.way.setCurrentIndex(RECTANGLE)


def detect(page, qtbot):
    before = len(detection_groups(QgsProject.instance()))
    page.bar.run.click()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=PATIENCE_MS)
    groups = detection_groups(QgsProject.instance())
    assert len(groups) == before + 1, page._iface.messageBar().currentItem().text()
    return groups[0]


def test_from_the_sample_to_polygons_at_two_thresholds(page, qtbot, tmp_path):
    page.sample.click()
    qtbot.waitUntil(lambda: page.form.after.layer() is not None, timeout=PATIENCE_MS)
    assert page.form.before.layer().source().startswith(str(tmp_path))
    centre = page.form.before.layer().extent().center()
    look_in(page, centre.x() - 50, centre.y() - 50, centre.x() + 50, centre.y() + 50, page.form.before.layer().crs())
    page.form.threshold.setValue(0.99)
    few = detect(page, qtbot)
    at_first = _changed(few)
    assert few.layer("change_probability").width() == 250  # 100 m of 0.4 m
    page.results.threshold.number.setValue(0.02)
    page.results.threshold.apply.click()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=PATIENCE_MS)
    (many,) = detection_groups(QgsProject.instance())
    assert many.count > 0 and many.threshold == pytest.approx(0.02)
    changed = _changed(many)
    probability = gdal.Open(many.layer("change_probability").source()).ReadAsArray().astype(int)
    np.testing.assert_array_equal(changed, (probability - 1) / 254 >= 0.02)
    assert changed[at_first].all() and changed.sum() > at_first.sum()


def _changed(group):
    return gdal.Open(group.layer("change").source()).ReadAsArray() == 1


def test_identical_images_are_said_to_have_no_change(page, qtbot, tmp_path, write_raster):
    pixels = np.full((3, 96, 96), 120, np.uint8)
    for name in ("one", "two"):
        QgsProject.instance().addMapLayer(QgsRasterLayer(write_raster(tmp_path / f"{name}.tif", pixels), name))
    qtbot.waitUntil(lambda: page.form.after.layer() is not None)
    page.form.threshold.setValue(0.99)
    group = detect(page, qtbot)
    assert group.name.endswith("no change found")
    assert "No change found" in page._iface.messageBar().currentItem().text()


def test_what_aligning_undid_is_told_at_the_end(page, qtbot, tmp_path, write_raster):
    ground = np.kron(np.random.default_rng(5).integers(40, 220, (24, 24)), np.ones((8, 8))).astype(np.uint8)
    for name, pixels in (("before", ground), ("after", np.roll(ground, (3, -2), (0, 1)))):
        path = write_raster(tmp_path / f"{name}.tif", np.stack([pixels] * 3))
        QgsProject.instance().addMapLayer(QgsRasterLayer(path, name))
    qtbot.waitUntil(lambda: page.form.after.layer() is not None)
    page.form.coregister.setChecked(True)
    page.form.threshold.setValue(0.99)
    detect(page, qtbot)
    told = page._iface.messageBar().currentItem().text()
    assert "The second image lay −2.0 columns and 3.0 rows off, 1.80\u00a0m; undone." in told


def test_images_without_crs_are_looked_at_where_they_are_drawn(page, qtbot, tmp_path, write_raster):
    rng = np.random.default_rng(3)
    before = rng.integers(60, 90, (3, 160, 256)).astype(np.uint8)
    after = before.copy()
    after[:, 20:60, 150:200] = 220  # something bright and new, right of the middle and high up
    for name, pixels in (("before", before), ("after", after)):
        layer = QgsRasterLayer(write_raster(tmp_path / f"{name}.tif", pixels, crs=None), name)
        QgsProject.instance().addMapLayer(layer)
    qtbot.waitUntil(lambda: page.form.after.layer() is not None)
    look_in(page, 128, -96, 256, 0, page.form.before.layer().crs())
    page.form.threshold.setValue(0.01)
    group = detect(page, qtbot)
    polygons, probability = group.layer("polygons"), group.layer("change_probability")
    assert (probability.width(), probability.height()) == (128, 96)
    assert group.count > 0
    assert probability.extent().buffered(0.01).contains(polygons.extent())
    assert polygons.fields().indexFromName("area_m2") >= 0
    assert all(not feature["area_m2"] for feature in polygons.getFeatures())


def test_a_refusal_of_the_backend_is_told_with_its_next_step(page, qtbot, tmp_path, write_raster):
    pixels = np.full((3, 64, 64), 120, np.uint8)
    here = write_raster(tmp_path / "here.tif", pixels)
    elsewhere = write_raster(tmp_path / "elsewhere.tif", pixels, origin=(600000.0, 5100000.0))
    for path, name in ((here, "here"), (elsewhere, "elsewhere")):
        QgsProject.instance().addMapLayer(QgsRasterLayer(path, name))
    qtbot.waitUntil(lambda: page.form.after.layer() is not None)
    page.bar.run.click()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=PATIENCE_MS)
    assert detection_groups(QgsProject.instance()) == []
    assert "overlap" in page._iface.messageBar().currentItem().text()
    runs = tmp_path / "Changen2 runs"
    assert not runs.exists() or list(runs.iterdir()) == []
