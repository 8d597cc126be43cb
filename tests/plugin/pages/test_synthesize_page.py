"""The Synthesize page in a dock of its own, against a backend that answers as told: by clicks and keys."""

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import (
    NULL,
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMapToolPan
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollBar,
    QWidget,
)

from changen2_qgis.dock import ChangeDock
from changen2_qgis.errors import BackendError
from changen2_qgis.events.layer import add_event, find_event_layers
from changen2_qgis.events.source import DRAW, LAYER, SIMULATE
from changen2_qgis.known_models import KnownModels
from changen2_qgis.processing.provider import Changen2Provider
from changen2_qgis.run_folders import REQUEST_FILE, WORK_FOLDER
from changen2_qgis.series_results import series_groups
from changen2_qgis.settings import Settings
from changen2_qgis.widgets.extent_picker import POLYGONS
from changen2_qgis.words import describe_area, describe_synthesis
from changen2_qgis.worker_client import Hello

CLASSES = [
    {"index": 0, "name": "background", "color": "#bebebe"},
    {"index": 1, "name": "water", "color": "#4285c8"},
    {"index": 4, "name": "building", "color": "#cc3c34"},
    {"index": 9, "name": "contour", "color": "#000000"},
]
DETECTOR = {"name": "tiny", "title": "Detector", "task": "detect", "classes": CLASSES[:2], "threshold": 0.5}
GENERATOR = {"name": "tiny", "title": "Generator", "task": "synthesize", "classes": CLASSES, "gsd_native": 0.5}
ESTIMATE = {
    "width": 400,
    "height": 400,
    "steps": 1,
    "events": {"create": 2},
    "changed_px": [1240],
    "changed_m2": [310.0],
    "tiles": 4,
    "memory_bytes": 1.1e9,
    "disk_bytes": 3.4e6,
    "seconds": 21,
    "warnings": ["The generator does not know band 4."],
}


class Drawing:
    """Stands in for the worker: tells an estimate, simulates one house, and writes a series or breaks off.

    Attributes:
        breaks_off: the next series breaks off after its first step.
        may_finish: cleared to hold what is drawn or simulated until it is set again.
    """

    def __init__(self, write_series, models=(DETECTOR, GENERATOR)):
        self.asked = []
        self.models = models
        self.breaks_off = False
        self.may_finish = Event()
        self.may_finish.set()
        self.settings = Settings()
        self.known_models = KnownModels()
        self.last_hello = object()
        self._write_series = write_series

    def environment(self):
        pass

    def hello(self, cancelled=lambda: False):
        return Hello(1, "0.1.0", 1, "2.13.0", ({"name": "cpu", "label": "CPU (2 cores)"},), self.models)

    def request(self, method, params, callbacks=None):
        self.asked.append((method, dict(params)))
        return getattr(self, f"_{method}")(params)

    def asked_for(self, method):
        return [params for asked, params in self.asked if asked == method]

    def last(self, method):
        return self.asked_for(method)[-1]

    def _estimate(self, params):
        raise BackendError("Not asked here.")

    def _estimate_synthesis(self, params):
        return ESTIMATE

    def _synthesize(self, params):
        self.may_finish.wait()
        folder = Path(params["out_dir"])
        if self.breaks_off:
            self.breaks_off = False
            work = folder / WORK_FOLDER
            work.mkdir(parents=True)
            (work / "journal.jsonl").write_text('{"run": 1}\n{"step": 1}\n')
            request = {"method": "synthesize", "params": {**params, "resume": True}}
            (work / REQUEST_FILE).write_text(json.dumps(request))
            raise BackendError("The disk is full.", "Free some space.")
        self._write_series(folder, steps=2)
        manifest = json.loads((folder / "manifest.json").read_text())
        outputs = {key: str(folder / name) for key, name in manifest["outputs"].items()}
        outputs["manifest"] = str(folder / "manifest.json")
        summary = {**manifest["summary"], "changed_px": [100, 100], "model": "tiny", "device": "cpu"}
        return {"outputs": outputs, "summary": summary, "warnings": []}

    def _simulate(self, params):
        self.may_finish.wait()
        folder = Path(params["out_dir"])
        self._write_series(folder / "series", steps=params["steps"])
        outputs = {path.name.split(".")[0]: str(path) for path in (folder / "series").iterdir()}
        summary = {"steps": params["steps"], "events": {"create": params["steps"]}}
        return {"outputs": outputs, "summary": summary, "warnings": []}

    def _sample(self, params):
        folder = Path(params["out_dir"])
        self._write_series(folder / "series", steps=1)
        labels = str(folder / "series" / "labels_t0.tif")
        image = str(folder / "town.tif")
        return {"outputs": {"before": image, "after": image, "labels_before": labels, "change_reference": labels}}


@pytest.fixture
def backend(write_series, settings):
    backend = Drawing(write_series)
    yield backend
    backend.may_finish.set()


@pytest.fixture
def window(window, tmp_path):
    """Over a saved project, with an active layer and a tool of the map."""
    QgsProject.instance().write(str(tmp_path / "work.qgz"))
    iface, window.active = window.iface, None
    canvas = iface.mapCanvas()
    window.pan = QgsMapToolPan(canvas)
    canvas.setMapTool(window.pan)
    iface.activeLayer = lambda: window.active
    iface.setActiveLayer = lambda layer: setattr(window, "active", layer)
    iface.zoomToActiveLayer = lambda: canvas.setExtent(window.active.extent())
    yield window
    canvas.unsetMapTool(canvas.mapTool())


@pytest.fixture
def open_dock(window, qtbot):
    """A function that opens the dock with a backend, whose algorithms it registers."""

    def open_with(backend):
        provider = Changen2Provider(backend)
        QgsApplication.processingRegistry().addProvider(provider)
        dock = ChangeDock(window.iface, backend)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        qtbot.waitUntil(lambda: dock.detect.form.model.card() != {}, timeout=5000)
        opened.append((dock, provider))
        return dock

    opened = []
    yield open_with
    for dock, provider in opened:
        dock.shut_down()
        QgsApplication.processingRegistry().removeProvider(provider)


@pytest.fixture
def dock(open_dock, backend):
    return open_dock(backend)


@pytest.fixture
def page(dock, qtbot):
    """The Synthesize page, which is made when its tab is first looked at."""
    dock.pages.setCurrentWidget(dock.synthesize)
    page = dock.synthesize.content
    qtbot.waitUntil(lambda: page.form.model.card() != {}, timeout=5000)
    return page


@pytest.fixture
def image(window, write_raster, tmp_path):
    """A layer of 400 × 400 pixels of 0.5 m, upper left corner at 500000, 5000000, over the whole canvas."""
    path = write_raster(tmp_path / "image.tif", np.full((3, 400, 400), 90, np.uint8))
    layer = QgsProject.instance().addMapLayer(QgsRasterLayer(path, "image"))
    canvas = window.iface.mapCanvas()
    canvas.setDestinationCrs(layer.crs())
    canvas.setExtent(layer.extent())
    return layer


@pytest.fixture
def labels(window, write_series, tmp_path):
    """A label layer with a palette that names its classes."""
    write_series(tmp_path / "given", steps=1)
    return QgsProject.instance().addMapLayer(QgsRasterLayer(str(tmp_path / "given" / "labels_t1.tif"), "labels"))


def draw(page, *steps):
    """Events as if drawn, one for each step."""
    bar = page.form.events.bar
    bar.start("rectangle")
    for step in steps:
        place = QgsRectangle(500020 + 20 * step, 4999960, 500030 + 20 * step, 4999970)
        add_event(bar.layer(), QgsGeometry.fromRect(place), "create", "building", step)
    bar.stop()
    return bar.layer()


def events_in(params):
    """The events that a request names."""
    dataset = ogr.Open(params["events"])
    return [(f.GetField("event"), f.GetField("to_class"), f.GetField("step")) for f in dataset[0]]


def controls(root):
    kinds = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit)
    return [
        child
        for child in root.findChildren(QWidget)
        if isinstance(child, kinds)
        and not isinstance(child, QScrollBar)
        and not isinstance(child.parent(), (QAbstractSpinBox, QComboBox, QLineEdit))
        and not child.objectName().startswith(("qt_", "collapseButton", "ScrollLeft", "ScrollRight"))
    ]


class Clicker:
    """Clicks and drags as a hand does, and counts them."""

    def __init__(self, canvas):
        self.count = 0
        self._canvas = canvas

    def click(self, button):
        assert button.isVisible() and button.isEnabled(), button.toolTip()
        self.count += 1
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def click_tab(self, tabs, title):
        self.count += 1
        at = next(index for index in range(tabs.count()) if tabs.tabText(index) == title)
        QTest.mouseClick(tabs.tabBar(), Qt.MouseButton.LeftButton, pos=tabs.tabBar().tabRect(at).center())

    def drag(self, left, top, right, bottom):
        self.count += 1
        to_screen = self._canvas.getCoordinateTransform().transform
        first, last = (to_screen(QgsPointXY(*point)).toQPointF().toPoint() for point in ((left, top), (right, bottom)))
        viewport, button = self._canvas.viewport(), Qt.MouseButton.LeftButton
        QTest.mousePress(viewport, button, Qt.KeyboardModifier.NoModifier, first)
        QTest.mouseMove(viewport, (first + last) / 2)
        QTest.mouseMove(viewport, last)
        QTest.mouseRelease(viewport, button, Qt.KeyboardModifier.NoModifier, last)


def test_two_houses_are_drawn_and_seen_built_with_seven_clicks_at_most(dock, image, window, backend, qtbot):
    hand = Clicker(window.iface.mapCanvas())
    hand.click_tab(dock.pages, "Synthesize")
    page = dock.synthesize.content
    qtbot.waitUntil(lambda: page.form.image.layer() is image and page.form.model.card() != {}, timeout=5000)
    hand.click(page.form.events.bar.buttons["rectangle"])
    hand.drag(500020, 4999980, 500035, 4999965)
    hand.drag(500060, 4999980, 500075, 4999965)
    qtbot.waitUntil(page.bar.run.isEnabled)
    hand.click(page.bar.run)
    qtbot.waitUntil(lambda: bool(series_groups(QgsProject.instance())), timeout=10000)
    hand.click(page.results.play)
    assert page.results.player.playing
    assert hand.count == 6
    assert events_in(backend.last("synthesize")) == [("create", "building", 1)] * 2


def test_the_map_gets_its_tool_back_when_the_run_begins(page, image, window, qtbot):
    draw(page, 1)
    page.form.events.bar.start("polygon")
    qtbot.waitUntil(page.bar.run.isEnabled)
    page.bar.run.click()
    assert window.iface.mapCanvas().mapTool() is window.pan
    qtbot.waitUntil(lambda: not page.bar.running, timeout=10000)


def test_every_control_has_a_tooltip_and_a_name(page, image, labels):
    buddies = {label.buddy() for label in page.findChildren(QLabel) if label.buddy() is not None}
    for control in (*controls(page.form), *controls(page.bar), page.sample):
        assert control.toolTip(), (type(control), control.objectName(), control.parent())
        text = control.text() if isinstance(control, QAbstractButton) else ""
        assert text or control.accessibleName() or control in buddies, control.toolTip()


@pytest.mark.parametrize("way", [DRAW, SIMULATE, LAYER])
def test_the_keyboard_reaches_every_visible_control(page, dock, image, labels, window, way, qtbot):
    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    page.form.events.way.setCurrentIndex(way)
    page.form.advanced.setCollapsed(False)
    QApplication.setActiveWindow(window)
    wanted = {control for control in controls(page) if control.isVisible() and control.isEnabled()}
    first = page.form.image.combo
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


@pytest.mark.parametrize("way", [DRAW, SIMULATE, LAYER])
def test_nothing_is_cut_off_beside_a_window_of_1366_by_768(page, dock, dock_height, image, labels, way, qtbot):
    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    dock.setFloating(True)
    dock.resize(350, dock_height)
    page.form.events.way.setCurrentIndex(way)
    qtbot.wait(50)  # the layout follows
    assert dock.minimumSizeHint().width() <= 350
    for control in (*controls(page.form), *controls(page.bar)):
        if control.isVisible():
            assert control.visibleRegion().boundingRect().size() == control.size(), control.toolTip()
            if isinstance(control, QAbstractButton):
                assert control.width() >= control.minimumSizeHint().width(), control.text()
    dock.setFloating(False)


def test_an_empty_project_offers_the_sample_and_opens_it_ready_to_draw(page, window, backend, qtbot):
    assert page.sample.isVisible() and page.bar.note.text() == "Choose the image that changes."
    page.sample.click()
    qtbot.waitUntil(lambda: page.form.image.layer() is not None, timeout=5000)
    qtbot.waitUntil(lambda: not page.sample.isVisible())
    assert [node.name() for node in QgsProject.instance().layerTreeRoot().children()] == [
        "Sample image",
        "Sample labels",
    ]
    assert page.form.labels.layer().name() == "Sample labels"
    assert page.bar.note.text().startswith("Draw what changes")
    draw(page, 1)
    qtbot.waitUntil(page.bar.run.isEnabled)


def test_the_only_image_and_the_only_labels_are_chosen(page, image, labels, qtbot):
    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    qtbot.waitUntil(lambda: page.form.labels.layer() is labels)
    page.form.labels.set_layer(None)
    page.form.choose_layers(None)
    assert page.form.labels.layer() is None  # who takes them back wants none


def test_labels_say_the_classes(page, labels):
    page.form.labels.set_layer(labels)
    choices = page.form.events.bar.choice.classes()
    assert [(entry["name"], entry["color"]) for entry in choices] == [("ground", "#c8c8c8"), ("building", "#d7263d")]


def test_of_several_images_the_current_one_is_chosen(page, window, write_raster, tmp_path, qtbot):
    layers = [
        QgsRasterLayer(write_raster(tmp_path / f"{name}.tif", np.zeros((3, 8, 8), np.uint8)), name) for name in "abc"
    ]
    window.active = layers[1]
    QgsProject.instance().addMapLayers(layers)
    qtbot.waitUntil(lambda: page.form.image.layer() is layers[1])


def test_without_labels_the_model_says_the_classes_and_its_own_marks_are_not_offered(page, image):
    assert [entry["name"] for entry in page.form.events.bar.choice.classes()] == ["background", "water", "building"]


def test_what_is_missing_is_said_as_the_next_step(page, image, labels, qtbot):
    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    form = page.form
    assert form.problem().startswith("Draw what changes")
    form.labels.set_layer(image)
    assert "same layer" in form.problem()
    form.labels.set_layer(None)
    form.events.way.setCurrentIndex(SIMULATE)
    assert form.problem() == ""
    form.events.kinds["remove"].setChecked(False)
    assert form.problem() == "Tick Remove, or choose labels."
    form.events.way.setCurrentIndex(LAYER)
    assert form.problem() == "Choose the layer with the polygons to change."
    assert not page.bar.run.isEnabled()


def test_without_a_generator_the_models_page_is_named(open_dock, write_series, settings, image, qtbot):
    dock = open_dock(Drawing(write_series, models=(DETECTOR,)))
    dock.pages.setCurrentWidget(dock.synthesize)
    page = dock.synthesize.content
    qtbot.waitUntil(lambda: "Models page" in page.bar.note.text(), timeout=5000)
    dock._backend.known_models.tell([DETECTOR, GENERATOR])
    assert page.form.model.currentData() == "tiny" and "Models page" not in page.bar.note.text()


def test_the_estimate_counts_what_was_drawn_and_shows_its_warnings(page, image, backend, qtbot):
    layer = draw(page, 1, 3)
    qtbot.waitUntil(lambda: "4 tiles" in page.bar.note.text(), timeout=5000)
    text = page.bar.note.text().replace("\u00a0", " ")
    assert text.startswith("2 events change 310 m², 4 tiles, 1.1 GB memory, 3.4 MB disk, about 21 s")
    assert text.endswith("The generator does not know band 4.")
    asked = backend.last("estimate_synthesis")
    assert len(events_in(asked)) == layer.featureCount() == 2
    assert "out_dir" not in asked and "steps" not in asked


def test_the_estimate_looks_in_the_selected_polygons_of_a_layer(page, image, backend, qtbot):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=kind:string", "places", "memory")
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    for _ in range(2):
        add_polygon(layer, "")
    layer.selectByIds([next(layer.getFeatures()).id()])
    draw(page, 1)
    page.form.extent.way.setCurrentIndex(POLYGONS)
    page.form.extent.polygons.setLayer(layer)
    asked = lambda: [params for method, params in backend.asked if "aoi" in params]  # noqa: E731
    qtbot.waitUntil(lambda: bool(asked()), timeout=5000)
    layer.rollBack()
    looked_in = ogr.Open(asked()[-1]["aoi"])
    assert looked_in[0].GetFeatureCount() == 1


@pytest.fixture
def web_map(window):
    """A web map as the image, of which nothing is fetched."""
    source = "type=xyz&zmin=0&zmax=18&url=http://127.0.0.1:9/{z}/{x}/{y}.png"
    return QgsProject.instance().addMapLayer(QgsRasterLayer(source, "streets", "wms"))


def test_a_web_map_has_a_resolution_and_an_estimate(page, web_map, backend, qtbot):
    page.form.image.set_layer(web_map)
    draw(page, 1)
    place = QgsRectangle(500000, 4999000, 501000, 5000000)
    page.form.extent.show_rectangle(QgsReferencedRectangle(place, web_map.crs()))
    widths = lambda: [gdal.Open(p["image"]).RasterXSize for p in backend.asked_for("estimate_synthesis")[-1:]]  # noqa: E731
    qtbot.waitUntil(lambda: "“streets” is written to a file" in page.bar.note.text(), timeout=5000)
    (native,) = widths()
    page.form.resolution.setValue(2.0)  # a quarter of the generator's pixels
    qtbot.waitUntil(lambda: widths() == [pytest.approx(native / 4, abs=1)], timeout=5000)
    page.form.resolution.setValue(0.01)
    qtbot.waitUntil(lambda: "coarser resolution" in page.bar.note.text(), timeout=5000)


def test_an_image_with_pixels_of_its_own_is_fetched_at_no_other_resolution(page, image, web_map, qtbot):
    page.form.events.show_simulated(["remove"])
    page.form.image.set_layer(web_map)
    page.form.resolution.setValue(2.0)
    assert page.form.resolution.isEnabled() and page.form.parameters()["RENDER_RESOLUTION"] == 2.0
    page.form.image.set_layer(image)
    assert not page.form.resolution.isEnabled() and "RENDER_RESOLUTION" not in page.form.parameters()


def test_what_changes_in_a_web_map_that_nothing_is_known_of_is_not_estimated(page, web_map, backend, qtbot):
    page.form.image.set_layer(web_map)
    page.form.events.show_simulated(["remove"])
    qtbot.waitUntil(lambda: "will be rendered first" in page.bar.note.text(), timeout=5000)
    assert page.bar.run.isEnabled() and not backend.asked_for("estimate_synthesis")


def test_many_polygons_are_not_copied_for_an_estimate(page, image, backend, monkeypatch, qtbot):
    monkeypatch.setattr("changen2_qgis.processing.synthesize_change.MANY", 1)
    draw(page, 1, 2)
    qtbot.waitUntil(lambda: "Run to see what it takes" in page.bar.note.text(), timeout=5000)
    assert page.bar.note.text().startswith("The 2 polygons") and page.bar.run.isEnabled()
    assert all(len(events_in(params)) == 1 for method, params in backend.asked if method == "estimate_synthesis")


def test_areas_and_estimates_read_as_people_say_them():
    assert [describe_area(area).replace("\u00a0", " ") for area in (310.4, 24_000)] == ["310 m²", "2.4 ha"]
    unknown = {**ESTIMATE, "events": {"remove": 1}, "changed_m2": [None], "seconds": None, "tiles": 1}
    said = describe_synthesis(unknown).replace("\u00a0", " ")
    assert said == "1 event changes 1,240 px, 1 tile, 1.1 GB memory, 3.4 MB disk"


def test_what_the_form_says_reaches_the_backend(page, image, labels, backend, qtbot, tmp_path):
    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    form = page.form
    form.events.way.setCurrentIndex(SIMULATE)
    form.events.kinds["edit"].setChecked(False)
    form.steps.setValue(2)
    form.quality.setCurrentIndex(form.quality.findData("fast"))
    form.sampler.setCurrentIndex(form.sampler.findData("ddim"))
    form.start.setCurrentIndex(form.start.findData("exemplar"))
    form.dates.amount.setValue(6)
    form.dates.unit.setCurrentIndex(form.dates.unit.findData("months"))
    form.folder.setFilePath(str(tmp_path / "mine"))
    form.seed.dice.click()
    page.bar.run.click()
    qtbot.waitUntil(lambda: bool(series_groups(QgsProject.instance())), timeout=10000)
    asked = backend.last("synthesize")
    assert (asked["image"], asked["labels"]) == (image.source(), labels.source())
    assert (asked["simulate"], asked["steps"], asked["seed"]) == (["create", "remove"], 2, form.seed.seed())
    assert (asked["sampler"], asked["sampling_steps"], asked["init"]) == ("ddim", 8, "exemplar")
    assert asked["out_dir"] == str(tmp_path / "mine")
    (group,) = series_groups(QgsProject.instance())
    assert (group.timeline.amount, group.timeline.unit) == (6, "months")
    assert group.timeline.start.date() == form.dates.start.date().toPyDate()


def test_the_dice_change_the_seed(page):
    seeds = {page.form.seed.seed()}
    for _ in range(3):
        page.form.seed.dice.click()
        seeds.add(page.form.seed.seed())
    assert len(seeds) > 1


def test_steps_are_as_drawn_and_a_number_when_simulated(page, image):
    steps, way = page.form.steps, page.form.events.way
    assert steps.text() == "as drawn"
    way.setCurrentIndex(SIMULATE)
    assert steps.value() == 1
    steps.setValue(4)
    way.setCurrentIndex(DRAW)
    assert steps.text() == "as drawn"
    way.setCurrentIndex(SIMULATE)
    assert steps.value() == 4


def test_simulated_events_come_to_the_map_to_be_edited_before_any_image(page, image, labels, backend, qtbot):
    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    source = page.form.events
    source.way.setCurrentIndex(SIMULATE)
    page.form.steps.setValue(2)
    source.preview.click()
    qtbot.waitUntil(lambda: source.way.currentIndex() == DRAW, timeout=10000)
    layer = source.bar.layer()
    assert layer.isEditable() and source.bar.totals() == (2, 2)
    assert {feature["event"] for feature in layer.getFeatures()} == {"create"}
    assert image.extent().contains(layer.extent())
    assert "synthesize" not in [method for method, _ in backend.asked]
    source.way.setCurrentIndex(SIMULATE)
    page.form.steps.setValue(3)
    source.preview.click()
    qtbot.waitUntil(lambda: source.way.currentIndex() == DRAW, timeout=10000)
    assert find_event_layers(QgsProject.instance()) == [layer] and source.bar.totals() == (3, 3)
    source.bar.undo.undo.click()
    source.bar.undo.undo.click()
    assert source.bar.totals() == (2, 2)


def preview(page, qtbot, steps=3):
    """The layer of simulated events."""
    source = page.form.events
    source.way.setCurrentIndex(SIMULATE)
    page.form.steps.setValue(steps)
    source.preview.click()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=10000)
    return source.bar.layer()


def test_events_are_simulated_with_the_classes_of_the_run(page, image, labels, backend, write_raster, tmp_path, qtbot):
    qtbot.waitUntil(lambda: page.form.labels.layer() is labels)
    preview(page, qtbot)
    assert "classes" not in backend.last("simulate")  # the labels name them
    unnamed = QgsRasterLayer(write_raster(tmp_path / "unnamed.tif", np.zeros((1, 8, 8), np.uint8)), "unnamed")
    page.form.labels.set_layer(QgsProject.instance().addMapLayer(unnamed))
    preview(page, qtbot)
    table = Path(backend.last("simulate")["classes"]).read_text().splitlines()
    assert table == ["index,name,colour", "0,background,#bebebe", "1,water,#4285c8", "4,building,#cc3c34"]


def test_without_labels_removal_is_simulated_on_the_image(page, image, backend, qtbot):
    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    layer = preview(page, qtbot)
    asked = backend.last("simulate")
    assert (asked["labels"], asked["instances"], asked["events"]) == (image.source(), "auto", ["remove"])
    assert [feature["to_class"] for feature in layer.getFeatures()] == [NULL] * 3  # not the class of an instance


@pytest.mark.parametrize("way", ["rectangle", "polygons"])
def test_only_simulated_events_that_would_be_drawn_are_shown(page, image, labels, window, way, qtbot):
    """Those of the three steps lie beside each other, 10 m apart."""
    qtbot.waitUntil(lambda: page.form.labels.layer() is labels)
    place = QgsRectangle(500012, 4999980, 500017.5, 5000000)  # of the second step; it ends where a pixel ends
    extent = page.form.extent
    if way == "rectangle":
        extent.show_rectangle(QgsReferencedRectangle(place, image.crs()))
    else:
        area = QgsVectorLayer("Polygon?crs=EPSG:32633", "area", "memory")
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromRect(place))
        area.dataProvider().addFeature(feature)
        extent.show_polygons(QgsProject.instance().addMapLayer(area))
    layer = preview(page, qtbot)
    assert [feature["step"] for feature in layer.getFeatures()] == [2]
    assert window.iface.messageBar().currentItem().text().startswith("1 event simulated in the area.")


def test_simulated_events_of_which_none_would_be_drawn_are_said_and_not_shown(page, image, labels, window, qtbot):
    qtbot.waitUntil(lambda: page.form.labels.layer() is labels)
    nothing = QgsRectangle(500150, 4999850, 500160, 4999860)
    page.form.extent.show_rectangle(QgsReferencedRectangle(nothing, image.crs()))
    assert preview(page, qtbot) is None and page.form.events.way.currentIndex() == SIMULATE
    text = window.iface.messageBar().currentItem().text()
    assert text.startswith("None of the 3 events that were simulated lies in the area.")
    assert find_event_layers(QgsProject.instance()) == []


def test_drawn_events_survive_a_simulation(page, image, labels, qtbot):
    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    drawn = draw(page, 1)
    page.form.events.way.setCurrentIndex(SIMULATE)
    page.form.events.preview.click()
    qtbot.waitUntil(lambda: page.form.events.way.currentIndex() == DRAW, timeout=10000)
    assert page.form.events.bar.layer() is not drawn
    assert drawn.featureCount() == 1


@pytest.mark.parametrize("saved", [False, True])
def test_simulated_events_that_were_edited_survive_another_simulation(page, image, labels, qtbot, saved):
    def simulate():
        page.form.events.way.setCurrentIndex(SIMULATE)
        page.form.events.preview.click()
        qtbot.waitUntil(lambda: page.form.events.way.currentIndex() == DRAW, timeout=10000)
        return page.form.events.bar.layer()

    qtbot.waitUntil(lambda: page.form.image.layer() is image)
    edited = simulate()
    assert not saved or edited.commitChanges()
    assert simulate() is edited  # nobody's work is in it
    draw(page, 1)
    events = edited.featureCount()
    assert not saved or edited.commitChanges()
    assert simulate() is not edited
    assert edited.featureCount() == events > 1


def test_polygons_of_another_layer_go_with_their_mapping(page, image, backend, qtbot):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=kind:string", "plans", "memory")
    QgsProject.instance().addMapLayer(layer)
    form = page.form
    form.events.way.setCurrentIndex(LAYER)
    form.events.mapping.set_layer(layer)
    assert "has no polygons" in form.problem()
    layer.startEditing()
    add_polygon(layer, "water")
    qtbot.waitUntil(lambda: form.problem() == "")
    mapping = form.events.mapping
    mapping.event.setCurrentIndex(mapping.event.findText("Edit"))
    mapping.to_class.setCurrentIndex(mapping.to_class.findText("from field kind"))
    page.bar.run.click()
    qtbot.waitUntil(lambda: bool(series_groups(QgsProject.instance())), timeout=10000)
    assert events_in(backend.last("synthesize")) == [("edit", "water", 1)]
    layer.rollBack()


def add_polygon(layer, kind):
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500020, 4999960, 500030, 4999970)))
    feature["kind"] = kind
    layer.addFeature(feature)


def break_off(page, backend, window, qtbot):
    """Run until the backend breaks off; the button that goes on."""
    draw(page, 1, 2)
    backend.breaks_off = True
    qtbot.waitUntil(page.bar.run.isEnabled)
    page.bar.run.click()
    bar = window.iface.messageBar()
    qtbot.waitUntil(lambda: bar.findChild(QPushButton, "changen2_go_on") is not None, timeout=10000)
    return bar.findChild(QPushButton, "changen2_go_on")


def run_held(page, backend, qtbot):
    """Begin a run that stays in the middle."""
    backend.may_finish.clear()
    qtbot.waitUntil(page.bar.run.isEnabled)
    before = len(backend.asked_for("synthesize"))
    page.bar.run.click()
    qtbot.waitUntil(lambda: len(backend.asked_for("synthesize")) > before, timeout=10000)


def test_an_interrupted_run_keeps_its_steps_and_goes_on(page, image, backend, window, qtbot):
    go_on = break_off(page, backend, window, qtbot)
    text = window.iface.messageBar().currentItem().text()
    assert text == "The disk is full. Free some space. The finished part is kept."
    first = backend.last("synthesize")
    go_on.click()
    qtbot.waitUntil(lambda: bool(series_groups(QgsProject.instance())), timeout=10000)
    second = backend.last("synthesize")
    assert second["resume"] is True
    assert {key for key in first if first[key] != second[key]} == {"resume"}


def test_an_interrupted_run_goes_on_without_the_layers_that_it_was_begun_with(page, image, backend, window, qtbot):
    go_on = break_off(page, backend, window, qtbot)
    QgsProject.instance().clear()
    go_on.click()
    qtbot.waitUntil(lambda: bool(series_groups(QgsProject.instance())), timeout=10000)
    assert backend.last("synthesize")["resume"] is True


def test_an_interrupted_run_goes_on_only_when_no_other_is_in_progress(page, image, backend, window, qtbot):
    go_on = break_off(page, backend, window, qtbot)
    run_held(page, backend, qtbot)
    go_on.click()
    bar = window.iface.messageBar()
    assert bar.currentItem().text() == "Wait until this run is finished, or cancel it."
    backend.may_finish.set()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=10000)
    assert len(series_groups(QgsProject.instance())) == 1
    go_on.click()
    qtbot.waitUntil(lambda: len(series_groups(QgsProject.instance())) == 2, timeout=10000)
    assert [params.get("resume") for params in backend.asked_for("synthesize")] == [False, False, True]


def test_a_run_that_ends_in_another_project_is_added_only_if_wanted(page, image, backend, window, qtbot):
    draw(page, 1, 2)
    run_held(page, backend, qtbot)
    other = QgsProject.instance()
    other.clear()
    backend.may_finish.set()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=10000)
    assert series_groups(other) == [] and other.mapLayers() == {}
    bar = window.iface.messageBar()
    folder = backend.last("synthesize")["out_dir"]
    assert bar.currentItem().text() == "The run that was begun in another project is finished."
    add = bar.findChild(QPushButton, "changen2_add")
    assert folder in add.toolTip()
    add.click()
    (group,) = series_groups(other)
    assert group.folder == folder and group.name in bar.currentItem().text()
    assert len(bar.items()) == 1


def test_events_are_not_simulated_for_no_image(page, image, labels, backend, window, qtbot):
    qtbot.waitUntil(lambda: page.form.labels.layer() is labels)
    page.form.image.set_layer(None)
    page.form.events.way.setCurrentIndex(SIMULATE)
    page.form.events.preview.click()
    assert window.iface.messageBar().currentItem().text() == "Choose the image that changes."
    assert not page.bar.running


@pytest.mark.parametrize("gone", ["project", "image"])
def test_simulated_events_without_their_image_are_not_shown(page, image, labels, backend, window, gone, qtbot):
    qtbot.waitUntil(lambda: page.form.labels.layer() is labels)
    page.form.events.way.setCurrentIndex(SIMULATE)
    backend.may_finish.clear()
    page.form.events.preview.click()
    qtbot.waitUntil(lambda: bool(backend.asked_for("simulate")), timeout=10000)
    if gone == "project":
        QgsProject.instance().clear()
    else:
        QgsProject.instance().removeMapLayer(image)
    backend.may_finish.set()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=10000)
    assert "no longer in the project" in window.iface.messageBar().currentItem().text()
    assert find_event_layers(QgsProject.instance()) == []


def test_a_finished_series_says_what_happened_and_offers_detection_on_it(page, dock, image, window, qtbot):
    draw(page, 1, 2)
    qtbot.waitUntil(page.bar.run.isEnabled)
    page.bar.run.click()
    qtbot.waitUntil(lambda: bool(series_groups(QgsProject.instance())), timeout=10000)
    text = window.iface.messageBar().currentItem().text()
    assert "2 steps, 2 created" in text and "Play" in text
    qtbot.waitUntil(page.results.isVisible)
    page.results.detect.click()
    assert dock.pages.currentWidget() is dock.detect
    before, after = dock.detect.form.before.layer(), dock.detect.form.after.layer()
    assert before is not after
    assert gdal.Open(after.source()).ReadAsArray()[0, 15, 10] == 230


def test_results_are_not_taken_for_images_to_change(page, image, qtbot):
    draw(page, 1)
    qtbot.waitUntil(page.bar.run.isEnabled)
    page.bar.run.click()
    qtbot.waitUntil(lambda: bool(series_groups(QgsProject.instance())), timeout=10000)
    page.form.image.set_layer(None)
    page.form.choose_layers(None)
    assert page.form.image.layer() is image
