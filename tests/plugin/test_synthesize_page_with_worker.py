"""The Synthesize page with the real worker: simulated events on the map, and a series drawn from them."""

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer, QgsRectangle, QgsReferencedRectangle

from changen2_qgis.events.source import DRAW, SIMULATE
from changen2_qgis.pages.synthesize_page import SynthesizePage
from changen2_qgis.processing.provider import Changen2Provider
from changen2_qgis.series_results import series_groups

PATIENCE_MS = 480_000
"""Two cores, a cold start of torch, and other work on the machine."""


KINDS = {"create", "remove"}

BUILDING = 4
"""In the sample scene's labels."""


@pytest.fixture(scope="module")
def scene(real_backend, tmp_path_factory):
    """A small simulated place: paths by name."""
    folder = tmp_path_factory.mktemp("scene") / "scene"
    return real_backend.request("sample", {"out_dir": str(folder), "size": 384})["outputs"]


@pytest.fixture
def page(real_backend, scene, make_iface, settings, qtbot, tmp_path):
    """The page in a saved project with an image and its labels, knowing the backend's models."""
    QgsProject.instance().write(str(tmp_path / "town.qgz"))
    provider = Changen2Provider(real_backend)
    QgsApplication.processingRegistry().addProvider(provider)
    iface = make_iface(setActiveLayer=lambda layer: None, zoomToActiveLayer=lambda: None)
    window = iface.mainWindow()
    page = SynthesizePage(iface, real_backend, window)
    window.setCentralWidget(page)
    window.show()
    page.meet_backend()
    qtbot.waitUntil(lambda: "hello" not in page._calls, timeout=PATIENCE_MS)
    page.open_sample(scene)
    yield page
    page.shut_down()
    QgsApplication.processingRegistry().removeProvider(provider)


def simulate(page, qtbot):
    """The layer with two steps of simulated events."""
    page.form.events.way.setCurrentIndex(SIMULATE)
    page.form.events.kinds["edit"].setChecked(False)
    page.form.steps.setValue(2)
    page.form.events.preview.click()
    qtbot.waitUntil(lambda: page.form.events.way.currentIndex() == DRAW, timeout=PATIENCE_MS)
    return page.form.events.bar.layer()


def test_simulated_events_lie_on_the_objects_of_the_labels(page, qtbot):
    layer = simulate(page, qtbot)
    labels, extent = page.form.labels.layer(), page.form.image.layer().extent()
    values = gdal.Open(labels.source()).ReadAsArray()
    size = labels.rasterUnitsPerPixelX()
    told = {feature["event"] for feature in layer.getFeatures()}
    assert told <= {"create", "remove"} and {feature["step"] for feature in layer.getFeatures()} == {1, 2}
    for feature in layer.getFeatures():
        if feature["step"] == 1:
            place = feature.geometry().pointOnSurface().asPoint()
            column, row = int((place.x() - extent.xMinimum()) / size), int((extent.yMaximum() - place.y()) / size)
            assert (values[row, column] == BUILDING) == (feature["event"] == "remove")


@pytest.mark.parametrize("known", ["numbers of classes", "the image alone"])
def test_a_run_takes_the_events_that_were_simulated_without_names_of_classes(page, known, qtbot, tmp_path):
    if not page.form.model.card():
        pytest.skip("no generator is installed")
    labels = None
    if known == "numbers of classes":
        given = gdal.Open(page.form.labels.layer().source())
        path = str(tmp_path / "numbers.tif")
        bare = gdal.GetDriverByName("GTiff").Create(path, given.RasterXSize, given.RasterYSize)
        bare.SetGeoTransform(given.GetGeoTransform())
        bare.SetProjection(given.GetProjection())
        bare.WriteArray(given.ReadAsArray())
        bare = None
        labels = QgsProject.instance().addMapLayer(QgsRasterLayer(path, "numbers"))
    page.form.labels.set_layer(labels)
    layer = simulate(page, qtbot)
    assert {feature["event"] for feature in layer.getFeatures()} == ({"remove"} if labels is None else KINDS)
    count = page.form.events.bar.totals()[0]
    qtbot.waitUntil(lambda: page._estimate_text.startswith(f"{count} events change"), timeout=PATIENCE_MS)


def test_a_series_is_drawn_where_events_are_and_nowhere_else(page, real_backend, qtbot):
    if not page.form.model.card():
        pytest.skip("no generator is installed")
    layer = simulate(page, qtbot)
    feature = next(layer.getFeatures())
    layer.deleteFeatures([other.id() for other in layer.getFeatures() if other.id() != feature.id()])
    place = feature.geometry().boundingBox().buffered(20)
    image = page.form.image.layer()
    page.form.extent.show_rectangle(QgsReferencedRectangle(QgsRectangle(place), image.crs()))
    page.form.quality.setCurrentIndex(page.form.quality.findData("fast"))
    qtbot.waitUntil(lambda: page._estimate_text.startswith("1 event changes"), timeout=PATIENCE_MS)
    page.bar.run.click()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=PATIENCE_MS)
    (group,) = series_groups(QgsProject.instance())
    first, second = (layer.source() for layer in group.pair(0))
    window = gdal.Translate(
        "", first, format="VRT", projWin=[*_upper_left(second), *_lower_right(second)]
    ).ReadAsArray()
    after, change = gdal.Open(second).ReadAsArray(), gdal.Open(group.layer("change", 1).source()).ReadAsArray() == 1
    np.testing.assert_array_equal(window[:, ~change], after[:, ~change])
    assert change.any() and (window != after)[:, change].any(axis=0).mean() > 0.5


def _upper_left(path):
    transform = gdal.Open(path).GetGeoTransform()
    return transform[0], transform[3]


def _lower_right(path):
    dataset = gdal.Open(path)
    transform = dataset.GetGeoTransform()
    return (
        transform[0] + dataset.RasterXSize * transform[1],
        transform[3] + dataset.RasterYSize * transform[5],
    )
