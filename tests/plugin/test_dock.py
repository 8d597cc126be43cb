"""The dock in a window of its own: layout, keyboard, empty states, and what each control does."""

import errno
import fcntl
import gc
import os
import shutil
import tempfile
import threading
import weakref
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsDataProvider,
    QgsFeature,
    QgsGeometry,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterString,
    QgsProcessingProvider,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsTask,
    QgsVectorLayer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollBar,
    QWidget,
)

from changen2_qgis.dock import ChangeDock
from changen2_qgis.errors import BackendError, Cancelled, SetupError
from changen2_qgis.known_models import KnownModels
from changen2_qgis.layer_metadata import carry_run
from changen2_qgis.processing.provider import Changen2Provider
from changen2_qgis.results import add_detection_group, detection_groups
from changen2_qgis.run_folders import WORK_FOLDER, is_unfinished, new_run_folder, remove_unfinished, runs_folder
from changen2_qgis.settings import Settings
from changen2_qgis.widgets.band_mapping import default_bands
from changen2_qgis.widgets.extent_picker import POLYGONS
from changen2_qgis.words import describe_bytes, describe_estimate, describe_seconds
from changen2_qgis.worker_client import Hello

CARD = {
    "name": "tiny",
    "title": "Buildings, small and fast",
    "task": "detect",
    "summary": "Finds new and lost buildings.",
    "classes": [{"index": 0, "name": "other", "color": "#cccccc"}, {"index": 1, "name": "building", "color": "#d00"}],
    "gsd_min": 0.2,
    "gsd_max": 0.6,
    "gsd_native": 0.4,
    "threshold": 0.45,
    "licence": "CC-BY-SA-4.0",
    "installed": True,
}
HELLO = Hello(1, "0.1.0", 1, "2.13.0", ({"name": "cpu", "label": "CPU (2 cores)"},), (CARD,))
ESTIMATE = {
    "width": 1024,
    "height": 1024,
    "tiles": 9,
    "memory_bytes": 1.1e9,
    "disk_bytes": 3.4e6,
    "seconds": 21,
    "warnings": ["The model sees pixels of 5 m; it was trained at 0.2 to 0.6 m."],
}


class AnsweringBackend:
    """Stands in for the worker where only its answers matter; `test_dock_with_worker.py` has the real one."""

    def __init__(self, set_up=True):
        self.is_set_up = set_up
        self.asked = []
        self.set_up_error = None
        self.known_models = KnownModels()
        self.settings = Settings()

    def environment(self):
        if not self.is_set_up:
            raise SetupError("The backend is not set up yet.", "Set it up.", "not_set_up")

    def hello(self, cancelled=lambda: False):
        return HELLO

    def request(self, method, params, callbacks=None):
        self.asked.append((method, dict(params)))
        return ESTIMATE

    def set_up(self, progress, cancelled):
        progress(0.5, "Installing torch")
        if self.set_up_error is not None:
            raise self.set_up_error
        self.is_set_up = True


@pytest.fixture
def open_dock(window, settings, qtbot):
    """A function that opens the dock with a backend and waits for its models."""

    def open_with(backend):
        dock = ChangeDock(window.iface, backend)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        if backend.is_set_up:
            qtbot.waitUntil(lambda: dock.detect.form.model.card() != {}, timeout=5000)
        opened.append(dock)
        return dock

    opened = []
    yield open_with
    for dock in opened:
        dock.shut_down()


@pytest.fixture
def dock(open_dock):
    return open_dock(AnsweringBackend())


@pytest.fixture
def pair(tmp_path, write_raster):
    """Two small RGB layers in the project, before and after."""
    pixels = np.random.default_rng(5).integers(0, 255, (3, 64, 64)).astype(np.uint8)
    layers = [QgsRasterLayer(write_raster(tmp_path / f"{name}.tif", pixels), name) for name in ("before", "after")]
    QgsProject.instance().addMapLayers(layers)
    return layers


def controls(root):
    """Everything in a widget that takes input; not the inner parts of other controls."""
    kinds = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)
    inner = (QScrollBar,)
    return [
        child
        for child in root.findChildren(QWidget)
        if isinstance(child, kinds)
        and not isinstance(child, inner)
        and not isinstance(child.parent(), (QAbstractSpinBox, QComboBox, QLineEdit))
        and not child.objectName().startswith(("qt_", "collapseButton", "ScrollLeft", "ScrollRight"))
        and child.parent().objectName() != "qt_tabwidget_tabbar"
    ]


def names(control):
    """How a person, or a screen reader, knows what a control is for."""
    text = control.text() if isinstance(control, QAbstractButton) else ""
    return text or control.accessibleName()


def test_every_control_has_a_tooltip(dock):
    missing = [control for control in controls(dock.pages) + controls(dock.setup) if not control.toolTip()]
    assert missing == []


def test_every_control_has_a_label_with_it_as_buddy_or_a_name_of_its_own(dock):
    buddies = {label.buddy() for label in dock.findChildren(QLabel) if label.buddy() is not None}
    missing = [
        (type(control).__name__, control.toolTip())
        for control in controls(dock.pages)
        if control not in buddies and not names(control)
    ]
    assert missing == []


def test_the_keyboard_reaches_every_visible_control(dock, pair, window, qtbot):
    dock.detect.form.choose_only_pair()
    dock.detect.form.advanced.setCollapsed(False)
    qtbot.waitExposed(window)
    QApplication.setActiveWindow(window)
    wanted = {control for control in controls(dock.detect) if control.isVisible() and control.isEnabled()}
    first = dock.detect.form.before.combo
    first.setFocus()
    reached, at = set(), first
    for _ in range(3 * len(wanted)):
        reached.add(at)
        dock.focusNextPrevChild(True)
        at = QApplication.focusWidget()
        if at is first:
            break
    assert len(wanted) > 15
    assert [control.toolTip() for control in wanted - reached] == []


def test_tab_goes_down_the_page(dock, pair, window, qtbot):
    dock.detect.form.choose_only_pair()
    QApplication.setActiveWindow(window)
    form = dock.detect.form
    order = [form.before.combo, form.before.browse, form.after.combo, form.after.browse, form.extent.way, form.model]
    order += [form.device, form.threshold, form.min_area]
    order[0].setFocus()
    for expected in order[1:]:
        dock.focusNextPrevChild(True)
        assert QApplication.focusWidget() is expected


def test_nothing_is_cut_off_beside_a_window_of_1366_by_768(dock, pair, dock_height, tmp_path, qtbot):
    add_result(tmp_path / "run")
    dock.detect.form.choose_only_pair()
    dock.resize(350, dock_height)
    dock.setFloating(True)
    dock.resize(350, dock_height)
    qtbot.waitUntil(lambda: dock.detect.results.isVisible())
    assert dock.minimumSizeHint().height() <= dock_height
    form, page = dock.detect.form, dock.detect
    for control in (*controls(form), *controls(page.bar), *controls(page.results)):
        if not control.isVisible():
            continue
        corner = control.mapTo(dock, control.rect().bottomRight())
        assert corner.x() <= dock.width() and corner.y() <= dock.height(), control.toolTip()
        assert control.visibleRegion().boundingRect().size() == control.size(), control.toolTip()


def test_buttons_are_wide_enough_for_their_text(dock, pair, tmp_path, qtbot):
    add_result(tmp_path / "run")
    qtbot.waitUntil(lambda: dock.detect.results.isVisible())
    buttons = [control for control in controls(dock.detect) if isinstance(control, QAbstractButton)]
    narrow = [
        button.text() for button in buttons if button.isVisible() and button.width() < button.minimumSizeHint().width()
    ]
    assert narrow == []


def add_result(folder):
    """A result in the project as a run leaves it, without a run."""
    folder.mkdir()
    values = np.tile(np.linspace(1, 255, 64).round().astype(np.uint8), (64, 1))
    outputs = {}
    for role, pixels, nodata in (("change_probability", values, 0), ("change", (values > 127).astype(np.uint8), 255)):
        path = str(folder / f"{role}.tif")
        dataset = gdal.GetDriverByName("GTiff").Create(path, 64, 64, 1, gdal.GDT_Byte)
        dataset.SetGeoTransform((500000, 0.5, 0, 5000000, 0, -0.5))
        dataset.GetRasterBand(1).WriteArray(pixels)
        dataset.GetRasterBand(1).SetNoDataValue(nodata)
        dataset = None
        outputs[role] = path
    add_detection_group(QgsProject.instance(), outputs, "Change")
    return detection_groups(QgsProject.instance())[0]


def test_an_empty_project_offers_the_sample_and_says_what_is_missing(dock):
    assert dock.detect.sample.isVisible()
    assert not dock.detect.bar.run.isEnabled()
    assert dock.detect.bar.note.text() == "Choose the image before the change."


def test_the_only_two_images_are_chosen_lower_one_first(dock, pair, qtbot):
    qtbot.waitUntil(lambda: dock.detect.form.after.layer() is not None)
    chosen = [dock.detect.form.before.layer().name(), dock.detect.form.after.layer().name()]
    tree = [node.name() for node in QgsProject.instance().layerTreeRoot().findLayers()]
    assert chosen == tree[::-1]
    assert not dock.detect.sample.isVisible()


def test_the_maps_of_a_result_are_not_taken_for_two_images(dock, tmp_path, qtbot):
    add_result(tmp_path / "run")
    qtbot.waitUntil(lambda: dock.detect.results.isVisible())
    dock.detect.form.choose_only_pair()
    assert dock.detect.form.before.layer() is None
    assert dock.detect.bar.note.text() == "Choose the image before the change."


@pytest.mark.parametrize("loaded_by", ["dock", "toolbox"])
def test_the_only_two_images_are_chosen_beside_a_result(dock, tmp_path, pair, loaded_by):
    group = add_result(tmp_path / "run")
    if loaded_by == "toolbox":
        result = QgsRasterLayer(group.layer("change").source(), "Change")
        carry_run(result, tmp_path / "run")
        QgsProject.instance().addMapLayer(result)
    dock.detect.form.before.set_layer(None)
    dock.detect.form.after.set_layer(None)
    dock.detect.form.choose_only_pair()
    assert {dock.detect.form.before.layer(), dock.detect.form.after.layer()} == set(pair)


def test_the_same_image_twice_is_refused_in_words(dock, pair, qtbot):
    qtbot.waitUntil(lambda: dock.detect.form.after.layer() is not None)
    dock.detect.form.after.set_layer(dock.detect.form.before.layer())
    assert not dock.detect.bar.run.isEnabled()
    assert "same layer" in dock.detect.bar.note.text()


def test_the_estimate_is_shown_with_its_warnings(dock, pair, qtbot):
    qtbot.waitUntil(lambda: "9 tiles" in dock.detect.bar.note.text(), timeout=5000)
    assert "trained at 0.2 to 0.6 m" in dock.detect.bar.note.text()
    assert dock.detect.bar.run.isEnabled()


def test_the_estimate_is_asked_with_what_the_form_says(dock, pair, qtbot):
    qtbot.waitUntil(lambda: bool(dock._backend.asked), timeout=5000)
    dock.detect.form.bands_before.combos[0].setCurrentIndex(2)
    dock.detect.form.resolution.setCurrentIndex(1)
    qtbot.waitUntil(lambda: dock._backend.asked[-1][1].get("gsd") == "auto", timeout=5000)
    method, params = dock._backend.asked[-1]
    assert method == "estimate"
    assert params["bands"] == [3, 2, 3]
    assert params["before"] == dock.detect.form.before.layer().source()


class Looking(AnsweringBackend):
    """Looks up which polygons a detection is asked to look in, and goes no further."""

    last_hello = object()

    def __init__(self):
        super().__init__()
        self.boxes = None

    def request(self, method, params, callbacks=None):
        if method == "detect":
            looked_in = ogr.Open(params["aoi"])  # held while its features are read
            self.boxes = [feature.GetGeometryRef().GetEnvelope() for feature in looked_in[0]]
            raise BackendError("Enough seen.")
        return super().request(method, params, callbacks)


@pytest.mark.parametrize("selected", [False, True])
def test_change_is_looked_for_in_the_polygons_of_a_layer_or_in_the_selected_ones(open_dock, pair, selected, qtbot):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "places", "memory")
    for left in (500004, 500016):
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, 4999984, left + 8, 4999992)))
        layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    if selected:
        layer.selectByIds([2])
    backend = Looking()
    provider = Changen2Provider(backend)
    QgsApplication.processingRegistry().addProvider(provider)
    page = open_dock(backend).detect
    page.form.choose_only_pair()
    page.form.extent.way.setCurrentIndex(POLYGONS)
    page.form.extent.polygons.setLayer(layer)
    left = 500016 if selected else 500004
    where = [left, 4999984, 500024, 4999992]
    qtbot.waitUntil(lambda: bool(backend.asked) and backend.asked[-1][1].get("bounds") == where, timeout=5000)
    page.bar.run.click()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=5000)
    QgsApplication.processingRegistry().removeProvider(provider)
    boxes = [(left, left + 8, 4999984, 4999992) for left in (500004, 500016)]
    assert backend.boxes == boxes[1 if selected else 0 :]


def test_news_of_models_leaves_the_settings_of_the_chosen_one(dock):
    form, other = dock.detect.form, {**CARD, "name": "pools", "title": "Pools", "threshold": 0.3}
    dock._backend.known_models.tell([CARD, other])
    form.model.setCurrentIndex(form.model.findData("pools"))
    form.threshold.setValue(0.8)
    dock._backend.known_models.tell([{**CARD, "name": "another"}, CARD, other])
    assert form.model.currentData() == "pools" and form.threshold.value() == pytest.approx(0.8)
    dock._backend.known_models.tell([CARD, {**other, "threshold": 0.4}])
    assert form.threshold.value() == pytest.approx(0.4), "it was calibrated anew"


@pytest.mark.parametrize("typed", [True, False])
def test_what_is_set_while_the_backend_starts_stays(window, settings, typed, qtbot):
    started = threading.Event()
    backend = AnsweringBackend()
    backend.hello = lambda cancelled: started.wait(10) and HELLO
    dock = ChangeDock(window.iface, backend)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    form = dock.detect.form
    if typed:
        form.threshold.selectAll()
        QTest.keyClicks(form.threshold, "0.8")  # the focus has not left yet
        form.pixel_size.setValue(0.3)
    started.set()
    qtbot.waitUntil(lambda: form.model.card() != {}, timeout=5000)
    assert (form.parameters()["THRESHOLD"], form.pixel_size.value()) == ((0.8, 0.3) if typed else (0.45, 0.4))
    assert form.threshold.clearValue() == 0.45
    assert ("recommended" in form.threshold.suffix()) != typed
    dock.shut_down()


def test_the_recommended_threshold_comes_from_the_model_and_is_named(dock):
    threshold = dock.detect.form.threshold
    assert threshold.value() == pytest.approx(0.45)
    assert "recommended" in threshold.text()
    threshold.setValue(0.6)
    assert "recommended" not in threshold.text()
    threshold.clear()
    assert threshold.value() == pytest.approx(0.45)


@pytest.mark.parametrize("own", [0.4368, 0.125, 0.995, 0.004])
def test_the_recommended_threshold_is_the_models_own_to_the_last_digit(dock, own):
    form = dock.detect.form
    dock._backend.known_models.tell([{**CARD, "threshold": own}])
    assert form.parameters()["THRESHOLD"] == own and "recommended" in form.threshold.text()
    form.threshold.setValue(0.6)
    assert form.parameters()["THRESHOLD"] == pytest.approx(0.6) and "recommended" not in form.threshold.text()


def test_a_threshold_can_be_typed(dock, window):
    QApplication.setActiveWindow(window)
    threshold = dock.detect.form.threshold
    threshold.setFocus()
    threshold.selectAll()
    QTest.keyClicks(threshold, "0.02")
    QTest.keyClick(threshold, Qt.Key.Key_Tab)
    assert threshold.value() == pytest.approx(0.02)
    assert dock.detect.form.parameters()["THRESHOLD"] == pytest.approx(0.02)


def test_the_pixel_size_appears_only_when_another_one_is_wanted(dock):
    form = dock.detect.form
    form.advanced.setCollapsed(False)
    assert not form.pixel_size.isVisible()
    form.resolution.setCurrentIndex(2)
    assert form.pixel_size.isVisible()
    assert form.parameters()["GSD"] == "0.4"


def test_bands_follow_the_colours_of_the_file(tmp_path, write_raster, qgis_app):
    path = write_raster(tmp_path / "bgrn.tif", np.zeros((4, 8, 8), np.uint8))
    dataset = gdal.Open(path, gdal.GA_Update)
    for band, colour in ((1, gdal.GCI_BlueBand), (2, gdal.GCI_GreenBand), (3, gdal.GCI_RedBand)):
        dataset.GetRasterBand(band).SetColorInterpretation(colour)
    dataset = None
    assert default_bands(QgsRasterLayer(path, "bgrn")) == [3, 2, 1]


def point_at(layer, path):
    layer.setDataSource(path, layer.name(), "gdal", QgsDataProvider.ProviderOptions())


@pytest.mark.parametrize("repaired", [False, True])
def test_a_layer_that_shows_another_file_has_the_bands_of_that_one(dock, pair, write_raster, tmp_path, repaired, qtbot):
    form, (layer, other) = dock.detect.form, pair
    six = write_raster(tmp_path / "six.tif", np.zeros((6, 64, 64), np.uint8))
    three = layer.source()
    point_at(layer, str(tmp_path / "gone.tif") if repaired else six)
    form.before.set_layer(layer)
    form.after.set_layer(other)
    form.bands_before.choose([6, 5, 4])
    assert form.bands_before.bands() == ([] if repaired else [6, 5, 4])
    point_at(layer, three)
    assert form.bands_before.bands() == [1, 2, 3]
    asked = dock._backend.asked
    qtbot.waitUntil(lambda: asked[-1:] != [] and asked[-1][1]["before"] == three, timeout=5000)


def test_a_layer_that_is_no_longer_chosen_changes_no_bands(dock, pair, write_raster, tmp_path):
    form, (layer, other) = dock.detect.form, pair
    form.before.set_layer(layer)
    form.before.set_layer(other)
    form.bands_before.choose([3, 2, 1])
    point_at(layer, write_raster(tmp_path / "six.tif", np.zeros((6, 64, 64), np.uint8)))
    assert form.bands_before.bands() == [3, 2, 1]


@pytest.mark.parametrize(
    ("colours", "bands"),
    [
        ("grey", [1, 1, 1]),
        ("grey alpha", [1, 1, 1]),
        ("alpha grey", [2, 2, 2]),
        ("grey other", [1, 1, 1]),
        ("grey other alpha", [1, 1, 1]),
        ("grey other alpha other", [1, 2, 4]),
        ("grey other other other other", [1, 2, 3]),
    ],
)
def test_without_colours_the_first_three_bands_and_of_fewer_the_first_thrice(
    tmp_path, write_raster, qgis_app, colours, bands
):
    meant = {"grey": gdal.GCI_GrayIndex, "alpha": gdal.GCI_AlphaBand, "other": gdal.GCI_Undefined}
    path = write_raster(tmp_path / "image.tif", np.zeros((len(colours.split()), 8, 8), np.uint8))
    dataset = gdal.Open(path, gdal.GA_Update)
    for band, colour in enumerate(colours.split(), 1):
        dataset.GetRasterBand(band).SetColorInterpretation(meant[colour])
    dataset = None
    assert default_bands(QgsRasterLayer(path, "image")) == bands


class Interrupted(QgsProcessingAlgorithm):
    """Stands in for a detection that is interrupted after its first part."""

    id_, folder, message = "detectchange", "OUTPUT_FOLDER", "Interrupted."

    def name(self):
        return self.id_

    displayName = name

    def createInstance(self):
        return type(self)()

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterString(self.folder, "Folder"))

    def finish_a_part(self, parameters):
        work = Path(parameters[self.folder]) / WORK_FOLDER
        work.mkdir(parents=True, exist_ok=True)
        (work / "journal.jsonl").write_text('{"run": 1}\n{"block": 0}\n')

    def processAlgorithm(self, parameters, context, feedback):
        self.finish_a_part(parameters)
        raise QgsProcessingException(self.message)


class InterruptedAgain(Interrupted):
    """Stands in for the rest of that detection."""

    id_, folder, message = "continuerun", "RUN_FOLDER", "Interrupted again."


class InterruptedProvider(QgsProcessingProvider):
    def id(self):
        return "changen2"

    name = id

    def loadAlgorithms(self):
        self.addAlgorithm(Interrupted())
        self.addAlgorithm(InterruptedAgain())


def test_an_interrupted_run_can_go_on_where_it_stopped(dock, pair, window, tmp_path, qtbot):
    QgsProject.instance().write(str(tmp_path / "town.qgz"))
    provider = InterruptedProvider()
    QgsApplication.processingRegistry().addProvider(provider)
    qtbot.waitUntil(dock.detect.bar.run.isEnabled)
    bar = window.iface.messageBar()
    dock.detect.bar.run.click()
    qtbot.waitUntil(lambda: bar.currentItem() is not None, timeout=5000)
    assert bar.currentItem().text() == "Interrupted. The finished part is kept."
    bar.findChild(QPushButton, "changen2_go_on").click()
    qtbot.waitUntil(lambda: bar.currentItem() is not None and "again" in bar.currentItem().text(), timeout=5000)
    assert len(list((tmp_path / "Changen2 runs").iterdir())) == 1
    QgsApplication.processingRegistry().removeProvider(provider)


def test_no_button_of_the_dock_stays_in_the_message_bar(window, settings, tmp_path, qtbot):
    """After an upgrade of the plugin it would call into what is gone."""
    dock = ChangeDock(window.iface, AnsweringBackend())
    page, bar = dock.detect, window.iface.messageBar()
    for number in range(3):
        work = tmp_path / f"run {number}" / WORK_FOLDER
        work.mkdir(parents=True)
        (work / "journal.jsonl").write_text('{"run": 1}\n{"block": 0}\n')
        page._offer_to_go_on(f"Stopped {number}.", Qgis.MessageLevel.Warning, work.parent)
    closed = bar.currentItem()
    bar.popWidget(closed)  # as the user does
    qtbot.waitUntil(lambda: sip.isdeleted(closed))
    bar.pushMessage("QGIS", "The project is saved.")
    assert len(bar.items()) == 3
    dock.shut_down()
    assert [item.text() for item in bar.items()] == ["The project is saved."]


def is_running(task):
    """A function that tells whether a pool thread has taken up a task, and keeps it not alive itself."""
    known = weakref.ref(task)
    return lambda: known().status() == QgsTask.TaskStatus.Running


class Slow(Interrupted):
    """Stands in for a detection that takes its time, also to stop."""

    enough = threading.Event()

    def processAlgorithm(self, parameters, context, feedback):
        self.finish_a_part(parameters)
        self.enough.wait()
        return {}


class SlowProvider(InterruptedProvider):
    def loadAlgorithms(self):
        self.addAlgorithm(Slow())


def test_a_run_may_outlive_the_dock(window, settings, pair, tmp_path, qtbot):
    """Nobody is told of its end, and what its task uses is there until then."""
    QgsProject.instance().write(str(tmp_path / "town.qgz"))
    provider = SlowProvider()
    QgsApplication.processingRegistry().addProvider(provider)
    docks = [ChangeDock(window.iface, AnsweringBackend())]
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, docks[0])
    page = docks[0].detect
    qtbot.waitUntil(page.bar.run.isEnabled)
    page.bar.run.click()
    run, page = page._run, None
    qtbot.waitUntil(is_running(run._task))
    run, used, alive = weakref.ref(run), [weakref.ref(run._context), weakref.ref(run._feedback)], []
    run()._task.executed.connect(lambda *_: alive.extend(reference() is not None for reference in used))
    docks[0].shut_down()
    sip.delete(docks.pop())
    qtbot.waitUntil(lambda: gc.collect() >= 0 and run() is None)
    Slow.enough.set()
    qtbot.waitUntil(lambda: bool(alive))
    assert alive == [True, True]
    qtbot.waitUntil(lambda: [reference() for reference in used] == [None, None])
    assert window.iface.messageBar().currentItem() is None
    QgsApplication.processingRegistry().removeProvider(provider)


def test_an_interrupted_run_without_a_finished_part_leaves_nothing(tmp_path):
    folder = tmp_path / "run"
    (folder / WORK_FOLDER).mkdir(parents=True)
    (folder / WORK_FOLDER / "journal.jsonl").write_text('{"run": 1}\n')
    assert not is_unfinished(folder)
    lock = (folder / WORK_FOLDER / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # as a backend that is at work
    remove_unfinished(folder)
    assert (folder / WORK_FOLDER / "journal.jsonl").exists()
    lock.close()
    remove_unfinished(folder)
    assert not folder.exists()


def test_moving_the_threshold_restyles_the_layer_and_computes_nothing(dock, tmp_path, qtbot):
    group = add_result(tmp_path / "run")
    qtbot.waitUntil(lambda: dock.detect.results.isVisible())
    bar = dock.detect.results.threshold
    assert not bar.apply.isEnabled()
    with qtbot.waitSignal(bar.moved):
        bar.slider.setValue(80)
    function = group.layer("change_probability").renderer().shader().rasterShaderFunction()
    assert function.colorRampItemList()[0].label == "0.80 (threshold)"
    assert bar.apply.isEnabled()
    assert group.threshold == pytest.approx(0.5)


def test_slider_and_number_stay_equal(dock, tmp_path, qtbot):
    add_result(tmp_path / "run")
    qtbot.waitUntil(lambda: dock.detect.results.isVisible())
    bar = dock.detect.results.threshold
    bar.number.setValue(0.29)
    assert bar.slider.value() == 29
    bar.slider.setValue(71)
    assert bar.value() == pytest.approx(0.71)


def test_the_result_panel_goes_when_its_group_goes(dock, tmp_path, qtbot):
    group = add_result(tmp_path / "run")
    qtbot.waitUntil(lambda: dock.detect.results.isVisible())
    QgsProject.instance().layerTreeRoot().removeChildNode(group.node)
    QgsProject.instance().clear()
    qtbot.waitUntil(lambda: not dock.detect.results.isVisible())


def test_without_a_backend_there_is_one_button_that_builds_it(open_dock, qtbot):
    dock = open_dock(AnsweringBackend(set_up=False))
    qtbot.waitUntil(dock.setup.isVisible)
    assert not dock.pages.isVisible()
    assert [control.text() for control in controls(dock.setup) if control.isVisible()] == ["Set up the backend"]
    dock.setup.bar.run.click()
    qtbot.waitUntil(dock.pages.isVisible, timeout=5000)
    qtbot.waitUntil(lambda: dock.detect.form.model.currentText() == CARD["title"], timeout=5000)


def test_building_may_outlive_the_dock(window, settings, qtbot):
    class Patient(AnsweringBackend):
        def set_up(self, progress, cancelled):
            while not cancelled():
                threading.Event().wait(0.01)
            raise Cancelled

    dock = ChangeDock(window.iface, Patient(set_up=False))
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    dock.setup.bar.run.click()
    task = dock.setup._task
    qtbot.waitUntil(is_running(task))
    dock.shut_down()
    sip.delete(dock)
    qtbot.waitUntil(lambda: sip.isdeleted(task))


def test_an_existing_interpreter_can_be_chosen_after_a_failure(open_dock, settings, qtbot, monkeypatch):
    backend = AnsweringBackend(set_up=False)
    backend.set_up_error = SetupError("No space left on the disk.", "Free 1 GB.")
    dock = open_dock(backend)
    qtbot.waitUntil(dock.setup.isVisible)
    assert not dock.setup.existing.isVisible()
    dock.setup.bar.run.click()
    qtbot.waitUntil(dock.setup.existing.isVisible, timeout=5000)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("/opt/changen2/bin/python", ""))
    backend.is_set_up = True
    dock.setup.existing.click()
    assert settings.backend_python == "/opt/changen2/bin/python"
    qtbot.waitUntil(dock.pages.isVisible, timeout=5000)


def test_no_interpreter_is_chosen_while_one_is_built(open_dock, qtbot):
    backend = AnsweringBackend(set_up=False)
    dock = open_dock(backend)
    dock.setup.explain_failure("It does not start.")
    backend.set_up_error = SetupError("No space left on the disk.", "Free 1 GB.")
    dock.setup.bar.run.click()
    assert not dock.setup.existing.isEnabled()
    qtbot.waitUntil(dock.setup.existing.isEnabled, timeout=5000)


def test_a_backend_of_another_version_is_told_in_the_message_bar(window, settings, qtbot):
    class Older(AnsweringBackend):
        def hello(self, cancelled=lambda: False):
            return replace(HELLO, version="0.0.1")

    dock = ChangeDock(window.iface, Older())
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    qtbot.waitUntil(lambda: window.iface.messageBar().currentItem() is not None, timeout=5000)
    assert "The backend is of version 0.0.1" in window.iface.messageBar().currentItem().text()
    dock.shut_down()


def test_a_failed_set_up_says_why_and_can_be_tried_again(open_dock, qtbot):
    backend = AnsweringBackend(set_up=False)
    backend.set_up_error = SetupError("There is no Python 3.10 or newer.", "Install one and set up again.")
    dock = open_dock(backend)
    dock.setup.bar.run.click()
    qtbot.waitUntil(lambda: "Python 3.10" in dock.setup.bar.note.text(), timeout=5000)
    assert "Install one" in dock.setup.bar.note.text()
    assert dock.setup.bar.run.isEnabled() and not dock.setup.bar.running


def test_a_named_interpreter_that_is_missing_is_explained(window, qtbot):
    class Misled(AnsweringBackend):
        def environment(self):
            raise SetupError("There is no Python interpreter at /nowhere.", "Correct the path.", "no_python")

    dock = ChangeDock(window.iface, Misled())
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    qtbot.waitUntil(dock.setup.isVisible)
    assert "/nowhere. Correct the path." in dock.setup.bar.note.text()
    dock.shut_down()


def test_a_backend_that_does_not_start_is_explained(open_dock, window, qtbot):
    class Dead(AnsweringBackend):
        def hello(self, cancelled=lambda: False):
            raise SetupError("The backend stopped at once.", "Set it up again.")

    dock = ChangeDock(window.iface, Dead())
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    qtbot.waitUntil(dock.setup.isVisible, timeout=5000)
    assert "stopped at once" in dock.setup.bar.note.text()
    assert dock.setup.again.isVisible()
    dock.shut_down()


def test_a_backend_that_starts_the_second_time_is_met_by_every_page(window, settings, qtbot):
    class Late(AnsweringBackend):
        error = BackendError("The backend stopped at once.")

        def hello(self, cancelled=lambda: False):
            if self.error is not None:
                raise self.error
            return HELLO

    backend = Late()
    dock = ChangeDock(window.iface, backend)
    pages = [dock.detect, dock.synthesize.get()]
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    qtbot.waitUntil(lambda: dock.setup.again.isVisible() and not any("hello" in page._calls for page in pages))
    backend.error = None
    dock.setup.again.click()
    for page in pages:
        qtbot.waitUntil(lambda device=page.form.device: device.findData("cpu") >= 0)
    assert dock.pages.isVisible()
    dock.shut_down()


def test_a_file_that_is_still_written_does_not_keep_the_dock_from_ending(window, settings, monkeypatch):
    """What is left over lies among the temporary files."""
    dock = ChangeDock(window.iface, AnsweringBackend())
    scratch = dock.detect._scratch
    (scratch / "estimate").mkdir()

    def refuse(path, **_):
        raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse)
        dock.detect.shut_down()
    shutil.rmtree(scratch)


def test_run_folders_are_new_and_beside_the_project(tmp_path, qgis_new_project):
    project = QgsProject.instance()
    project.write(str(tmp_path / "town.qgz"))
    now = datetime(2026, 11, 23, 10, 5)
    first = new_run_folder(project, "detect a/b to c:d", now)
    assert first == tmp_path / "Changen2 runs" / "2026-11-23 10-05 detect a_b to c_d"
    second = new_run_folder(project, "detect a/b to c:d", now)
    assert second.name.endswith("(2)"), "the first run will make its folder only when it writes"
    second.with_name(f"{first.name} (3)").mkdir(parents=True)
    assert new_run_folder(project, "detect a/b to c:d", now).name.endswith("(4)")


def test_runs_of_an_unsaved_project_are_not_temporary(qgis_new_project):
    assert not str(runs_folder(QgsProject.instance())).startswith(tempfile.gettempdir())


def test_the_estimate_reads_as_a_sentence():
    text = describe_estimate(ESTIMATE).replace("\u00a0", " ")
    assert text == "1,024 × 1,024 px, 9 tiles, 1.1 GB memory, 3.4 MB disk, about 21 s"


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (9000, "2 h 30 min")])
def test_durations_as_people_say_them(seconds, words):
    assert describe_seconds(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(12, "12 B"), (4100, "4.1 kB"), (25e6, "25 MB"), (3.2e12, "3.2 TB")])
def test_sizes_in_decimal_units(count, words):
    assert describe_bytes(count).replace("\u00a0", " ") == words
