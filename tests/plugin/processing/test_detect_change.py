"""The algorithm with the real worker: contract, places, polygons, failure, cancel, and its place in models."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.analysis import QgsNativeAlgorithms
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsProcessing,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)

from changen2_qgis.errors import BackendError, InputError
from changen2_qgis.known_models import KnownModels
from changen2_qgis.processing.detect_change import DetectChange, parse_bands, parse_metres
from changen2_qgis.run_folders import WORK_FOLDER
from changen2_qgis.settings import Settings
from changen2_qgis.styles import first_value_at

# The lowest threshold: something is always found, whatever the model thinks of a simulated scene.
SENSITIVE = {"THRESHOLD": 0.01, "THREADS": 1}


def pixels(path):
    return gdal.Open(str(path)).ReadAsArray()


def grid(path):
    dataset = gdal.Open(str(path))
    return dataset.RasterXSize, dataset.RasterYSize, dataset.GetGeoTransform(), dataset.GetProjection()


@pytest.fixture(scope="module")
def whole(provider, scene, tmp_path_factory):
    """One run over the whole scene, for all tests that only look at its results."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("changen2:detectchange")
    folder = tmp_path_factory.mktemp("whole") / "run"
    parameters = {"BEFORE": scene["before"], "AFTER": scene["after"], "OUTPUT_FOLDER": str(folder), **SENSITIVE}
    results, succeeded = algorithm.run(parameters, QgsProcessingContext(), QgsProcessingFeedback())
    assert succeeded
    return results


def test_the_contract_names_parameters_and_outputs(provider):
    algorithm = provider.algorithm("detectchange")
    parameters = [definition.name() for definition in algorithm.parameterDefinitions()]
    for name in [
        "BEFORE",
        "AFTER",
        "EXTENT",
        "AOI",
        "BANDS_BEFORE",
        "BANDS_AFTER",
        "MODEL",
        "DEVICE",
        "THRESHOLD",
        "MIN_AREA",
        "GSD",
        "OUTPUT_FOLDER",
        "COREGISTER",
    ]:
        assert name in parameters
    outputs = {definition.name(): definition.type() for definition in algorithm.outputDefinitions()}
    assert outputs["PROBABILITY"] == outputs["CHANGE"] == "outputRaster"
    assert outputs["POLYGONS"] == "outputVector"


def test_outputs_have_the_grid_of_before(whole, scene):
    assert grid(whole["PROBABILITY"]) == grid(scene["before"])
    assert grid(whole["CHANGE"]) == grid(scene["before"])
    assert set(np.unique(pixels(whole["CHANGE"]))) <= {0, 1, 255}


def test_polygons_are_counted_and_have_areas(whole):
    dataset = ogr.Open(whole["POLYGONS"])
    layer = dataset.GetLayerByName("change")
    areas = [feature.GetField("area_m2") for feature in layer]
    assert len(areas) == whole["POLYGON_COUNT"] > 0
    assert sum(areas) == pytest.approx(whole["CHANGE_AREA"], rel=1e-6)


@pytest.mark.parametrize(
    ("given", "next_step"),
    [({"MODEL": "nobody"}, "Models page of the Changen2 dock"), ({"DEVICE": "cuda:99"}, "Choose auto, or a device")],
)
def test_what_to_do_about_a_refusal_is_to_be_done_in_qgis(run, scene, tmp_path, given, next_step):
    made = run(
        "detectchange",
        {"BEFORE": scene["before"], "AFTER": scene["after"], "OUTPUT_FOLDER": str(tmp_path / "run"), **given},
    )
    assert not made.succeeded
    assert next_step in made.error and "`" not in made.error


def test_the_log_tells_what_aligning_undid(run, tmp_path, write_raster):
    ground = np.kron(np.random.default_rng(5).integers(40, 220, (24, 24)), np.ones((8, 8))).astype(np.uint8)
    before = write_raster(tmp_path / "b.tif", np.stack([ground] * 3))
    after = write_raster(tmp_path / "a.tif", np.stack([np.roll(ground, (3, -2), (0, 1))] * 3))
    given = {"BEFORE": before, "AFTER": after, "COREGISTER": True, "OUTPUT_FOLDER": str(tmp_path / "run"), **SENSITIVE}
    made = run("detectchange", given)
    assert made.succeeded, made.error
    assert "The second image lay −2.0 columns and 3.0 rows off, 1.80 m; undone." in made.feedback.infos


def test_the_manifest_names_the_inputs(whole, scene):
    manifest = json.loads(Path(whole["MANIFEST"]).read_text())
    assert scene["before"] in json.dumps(manifest)


def test_an_extent_in_another_crs_cuts_the_same_pixels(run, scene, whole, tmp_path):
    before = QgsRasterLayer(scene["before"])
    extent = before.extent()
    inner = QgsRectangle(extent.xMinimum() + 20, extent.yMinimum() + 30, extent.xMinimum() + 80, extent.yMinimum() + 75)
    degrees = QgsCoordinateReferenceSystem("EPSG:4326")
    to_degrees = QgsCoordinateTransform(before.crs(), degrees, QgsProject.instance())
    given = QgsReferencedRectangle(to_degrees.transformBoundingBox(inner), degrees)
    made = run(
        "detectchange",
        {"BEFORE": before, "AFTER": scene["after"], "EXTENT": given, "OUTPUT_FOLDER": str(tmp_path / "r"), **SENSITIVE},
    )
    assert made.succeeded, made.error
    width, height, transform, _ = grid(made.results["PROBABILITY"])
    column = round((transform[0] - extent.xMinimum()) / transform[1])
    row = round((extent.yMaximum() - transform[3]) / -transform[5])
    covered = QgsRasterLayer(made.results["PROBABILITY"]).extent()
    assert covered.contains(inner.buffered(-1.0)) and inner.buffered(5.0).contains(covered)
    part = pixels(whole["PROBABILITY"])[row : row + height, column : column + width]
    np.testing.assert_array_equal(pixels(made.results["PROBABILITY"]), part)


def test_polygons_to_look_in_may_be_unsaved(run, scene, tmp_path):
    before = QgsRasterLayer(scene["before"])
    extent = before.extent()
    layer = QgsVectorLayer(f"Polygon?crs={before.crs().authid()}", "places", "memory")
    layer.startEditing()
    feature = QgsFeature(layer.fields())
    centre = extent.center()
    inner = QgsRectangle(centre.x() - 20, centre.y() - 20, centre.x() + 20, centre.y() + 20)
    feature.setGeometry(QgsGeometry.fromRect(inner))
    layer.addFeature(feature)
    parameters = {"BEFORE": before, "AFTER": scene["after"], "AOI": layer, "OUTPUT_FOLDER": str(tmp_path / "r")}
    made = run("detectchange", {**parameters, **SENSITIVE})
    layer.rollBack()
    assert made.succeeded, made.error
    covered = QgsRasterLayer(made.results["PROBABILITY"]).extent()
    assert covered.contains(inner) and inner.buffered(2.0).contains(covered)
    assert (tmp_path / "r" / "inputs" / "aoi.gpkg").exists()


@pytest.fixture
def two_places(scene):
    """A layer of the project with a polygon in the left and one in the right half of the scene."""
    before = QgsRasterLayer(scene["before"])
    layer = QgsVectorLayer(f"Polygon?crs={before.crs().authid()}", "places", "memory")
    centre = before.extent().center()
    for left in (centre.x() - 30, centre.x() + 10):
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, centre.y() - 10, left + 20, centre.y() + 10)))
        layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    yield layer
    QgsProject.instance().removeMapLayer(layer)


@pytest.mark.parametrize(("selected_only", "count"), [(True, 1), (False, 2)])
def test_the_polygons_to_look_in_may_be_the_selected_ones(run, scene, two_places, tmp_path, selected_only, count):
    two_places.selectByIds([2])
    parameters = {
        "BEFORE": scene["before"],
        "AFTER": scene["after"],
        "AOI": QgsProcessingFeatureSourceDefinition(two_places.id(), selected_only),
        "OUTPUT_FOLDER": str(tmp_path / "r"),
    }
    made = run("detectchange", {**parameters, **SENSITIVE})
    assert made.succeeded, made.error
    looked_in = ogr.Open(str(tmp_path / "r" / "inputs" / "aoi.gpkg"))
    assert looked_in[0].GetFeatureCount() == count


def test_extent_and_polygons_together_are_refused(run, scene, tmp_path):
    layer = QgsVectorLayer("Polygon?crs=EPSG:4326", "places", "memory")
    made = run(
        "detectchange",
        {
            "BEFORE": scene["before"],
            "AFTER": scene["after"],
            "AOI": layer,
            "EXTENT": "0,1,0,1 [EPSG:4326]",
            "OUTPUT_FOLDER": str(tmp_path / "r"),
        },
    )
    assert not made.succeeded and "Leave one of them out" in made.error


def test_rasters_without_crs_are_cut_where_they_are_drawn(run, scene, tmp_path):
    plain = {}
    for date in ("before", "after"):
        plain[date] = str(tmp_path / f"{date}.png")
        gdal.Translate(plain[date], scene[date], format="PNG")
        Path(plain[date] + ".aux.xml").unlink(missing_ok=True)
    extent = QgsRectangle(32, -96, 128, -48)  # as drawn in QGIS, y up: columns 32–128, rows 48–96
    made = run(
        "detectchange",
        {
            "BEFORE": plain["before"],
            "AFTER": plain["after"],
            "EXTENT": extent,
            "OUTPUT_FOLDER": str(tmp_path / "r"),
            **SENSITIVE,
        },
    )
    assert made.succeeded, made.error
    probability = gdal.Open(made.results["PROBABILITY"])
    assert (probability.RasterXSize, probability.RasterYSize) == (96, 48)
    shown = {details.name: source for source, details in made.context.layersToLoadOnCompletion().items()}
    polygons = QgsVectorLayer(shown["Changed places"], "polygons", "ogr")
    raster = QgsRasterLayer(made.results["PROBABILITY"])
    assert polygons.featureCount() == made.results["POLYGON_COUNT"] > 0
    assert raster.extent().buffered(0.1).contains(polygons.extent())


@pytest.fixture
def virtual(scene):
    """The id of a layer of the project: the first band of the image after, as the raster calculator makes it unsaved.

    Not the layer, see `to_be_written`.
    """
    source = QgsRasterLayer(scene["after"])
    extent = source.extent()
    layer = QgsRasterLayer(
        f"?crs={source.crs().authid()}&extent={extent.xMinimum()},{extent.yMinimum()},{extent.xMaximum()},"
        f'{extent.yMaximum()}&width={source.width()}&height={source.height()}&formula="r@1"'
        f"&r:uri={scene['after']}&r:provider=gdal",
        "virtual",
        "virtualraster",
    )
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    yield layer.id()
    QgsProject.instance().removeMapLayer(layer.id())


def test_a_virtual_raster_works_like_any_other(run, scene, virtual, whole, tmp_path):
    folder = tmp_path / "r"
    made = run("detectchange", {"BEFORE": scene["before"], "AFTER": virtual, "OUTPUT_FOLDER": str(folder), **SENSITIVE})
    assert made.succeeded, made.error
    assert grid(made.results["CHANGE"]) == grid(whole["CHANGE"])
    assert (folder / "inputs" / "after.tif").exists()
    assert any("“virtual”" in info for info in made.feedback.infos)


def test_nodata_given_in_qgis_is_not_looked_at(run, scene, tmp_path):
    path = str(tmp_path / "grey.tif")
    gdal.Translate(path, scene["before"], bandList=[1])
    value = int(np.bincount(pixels(path).ravel()).argmax())
    before = QgsRasterLayer(path)
    before.dataProvider().setUserNoDataValue(1, [QgsRasterRange(value, value)])
    made = run(
        "detectchange",
        {"BEFORE": before, "AFTER": scene["before"], "OUTPUT_FOLDER": str(tmp_path / "r"), **SENSITIVE},
    )
    assert made.succeeded, made.error
    np.testing.assert_array_equal(pixels(made.results["PROBABILITY"]) == 0, pixels(path) == value)


@pytest.mark.parametrize(("turned", "bands"), [("BEFORE", "3,2,1"), ("AFTER", [3, 2, 1])])
def test_each_date_has_bands_of_its_own(run, scene, whole, tmp_path, turned, bands):
    given = {"BEFORE": scene["before"], "AFTER": scene["after"]}
    turn = {turned: str(tmp_path / "turned.tif"), f"BANDS_{turned}": bands}
    gdal.Translate(turn[turned], given[turned], bandList=[3, 2, 1])
    other = "BANDS_AFTER" if turned == "BEFORE" else "BANDS_BEFORE"
    folder = str(tmp_path / "r")
    made = run("detectchange", {**given, **turn, other: [1, 2, 3], "OUTPUT_FOLDER": folder, **SENSITIVE})
    assert made.succeeded, made.error
    np.testing.assert_array_equal(pixels(made.results["PROBABILITY"]), pixels(whole["PROBABILITY"]))


def test_a_band_that_is_not_there_is_refused_with_the_next_step_and_nothing_left(run, scene, tmp_path):
    folder = tmp_path / "r"
    parameters = {"BEFORE": scene["before"], "AFTER": scene["after"], "BANDS_BEFORE": "9", "OUTPUT_FOLDER": str(folder)}
    made = run("detectchange", parameters)
    assert not made.succeeded and "9" in made.error
    assert not folder.exists()


def test_a_refusal_names_the_layer_and_not_the_file_that_was_written_of_it(run, scene, virtual, tmp_path):
    parameters = {"BEFORE": scene["before"], "AFTER": virtual, "BANDS_AFTER": "9", "OUTPUT_FOLDER": str(tmp_path / "r")}
    made = run("detectchange", parameters)
    assert not made.succeeded
    assert "“virtual”" in made.error and str(tmp_path) not in made.error


def test_a_folder_with_results_is_refused_unless_overwritten(run, scene, tmp_path):
    (tmp_path / "change.tif").write_text("precious")
    parameters = {"BEFORE": scene["before"], "AFTER": scene["after"], "OUTPUT_FOLDER": str(tmp_path), **SENSITIVE}
    refused = run("detectchange", parameters)
    assert not refused.succeeded and (tmp_path / "change.tif").read_text() == "precious"
    assert run("detectchange", {**parameters, "OVERWRITE": True}).succeeded


def test_without_a_folder_the_results_go_beside_the_project(run, scene, tmp_path):
    project = QgsProject.instance()
    project.write(str(tmp_path / "town.qgz"))
    made = run("detectchange", {"BEFORE": scene["before"], "AFTER": scene["after"], **SENSITIVE})
    project.clear()
    assert made.succeeded, made.error
    assert Path(made.results["OUTPUT_FOLDER"]).parent.parent == tmp_path


def test_cancel_stops_the_job_and_keeps_the_worker_and_what_it_can_go_on_from(
    run, provider, scene, whole, tmp_path, real_backend
):
    worker = real_backend.hello().pid
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("changen2:detectchange")
    listening = CancelsAt(("Reading", "Looking"))
    parameters = {
        "BEFORE": scene["before"],
        "AFTER": scene["after"],
        "OUTPUT_FOLDER": str(tmp_path / "r"),
        **SENSITIVE,
    }
    _, succeeded = algorithm.run(parameters, QgsProcessingContext(), listening, catchExceptions=True)
    assert not succeeded and listening.isCanceled()
    assert not list((tmp_path / "r").glob("change*"))
    assert real_backend.hello().pid == worker
    resumed = run("detectchange", {**parameters, "RESUME": True})
    assert resumed.succeeded, resumed.error
    np.testing.assert_array_equal(pixels(resumed.results["PROBABILITY"]), pixels(whole["PROBABILITY"]))


def test_a_failed_run_removes_the_inputs_that_were_written_for_it(run, scene, tmp_path):
    parameters = {"BEFORE": scene["before"], "AFTER": scene["after"], "OUTPUT_FOLDER": str(tmp_path / "r")}
    places = QgsVectorLayer("Polygon?crs=EPSG:4326", "places", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(100, -40, 101, -39)))  # far from the scene
    places.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayer(places)
    made = run("detectchange", {**parameters, "AOI": places.id()})
    QgsProject.instance().removeMapLayer(places)
    assert not made.succeeded and "outside" in made.error
    assert not (tmp_path / "r").exists()


class BreakingOff:
    """A backend that breaks off when the first block is finished, and notes what the inputs were."""

    last_hello = object()

    def __init__(self):
        self.asked, self.states = [], []
        self.settings, self.known_models = Settings(), KnownModels()

    def request(self, method, params, callbacks):
        self.asked.append(params)
        self.states.append([Path(params[name]).stat().st_mtime_ns for name in ("before", "after", "aoi")])
        work = Path(params["out_dir"]) / WORK_FOLDER
        work.mkdir(exist_ok=True)
        (work / "journal.jsonl").write_text('{"run": 1}\n{"i": 0, "j": 0}\n')
        raise BackendError("The disk is full.")


@pytest.fixture
def to_be_written(qgis_app, tmp_path, write_raster):
    """Ids of layers that are all written for a run: an image given a CRS in QGIS, one that is no file, and polygons.

    Not the layers: QGIS never frees the traceback of a failed algorithm, nor what the frames of its callers hold.
    """
    source = QgsRasterLayer(write_raster(tmp_path / "a.tif", np.ones((1, 64, 64), np.uint8)), "a")
    extent, crs = source.extent(), QgsCoordinateReferenceSystem("EPSG:32634")
    source.setCrs(crs)
    virtual = QgsRasterLayer(
        f"?crs={crs.authid()}&extent={extent.xMinimum()},{extent.yMinimum()},{extent.xMaximum()},{extent.yMaximum()}"
        f'&width=64&height=64&formula="r@1"&r:uri={source.source()}&r:provider=gdal',
        "virtual",
        "virtualraster",
    )
    places = QgsVectorLayer(f"Polygon?crs={crs.authid()}", "places", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(extent))
    places.dataProvider().addFeature(feature)
    ids = {"BEFORE": source.id(), "AFTER": virtual.id(), "AOI": places.id()}
    QgsProject.instance().addMapLayers([source, virtual, places])
    yield ids
    QgsProject.instance().removeMapLayers(list(ids.values()))


def test_an_unfinished_run_keeps_the_inputs_that_were_written_for_it_and_goes_on_with_them(
    settings, to_be_written, tmp_path
):
    backend, folder = BreakingOff(), tmp_path / "r"
    for resume in (False, True):
        context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
        context.setProject(QgsProject.instance())
        parameters = {**to_be_written, "OUTPUT_FOLDER": str(folder), "RESUME": resume}
        _, succeeded = DetectChange(backend).create().run(parameters, context, feedback, catchExceptions=True)
        assert not succeeded and "The disk is full." in feedback.textLog()
        assert {entry.name for entry in (folder / "inputs").iterdir()} >= {"aoi.gpkg", "before.vrt", "after.tif"}
    first, second = backend.asked
    assert {name for name in first if first[name] != second[name]} == {"resume"}
    assert backend.states[0] == backend.states[1], "the backend goes on with the very same files only"


@pytest.mark.parametrize("other", ["AOI", "selection", "AFTER", "nodata"])
def test_an_unfinished_run_is_not_gone_on_with_by_other_layers(settings, to_be_written, tmp_path, other):
    before, after, places = map(QgsProject.instance().mapLayer, to_be_written.values())
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(before.extent().buffered(-5)))
    places.dataProvider().addFeature(feature)
    given = {**to_be_written, "OUTPUT_FOLDER": str(tmp_path / "r")}
    backend, states = BreakingOff(), []
    for resume in (False, True):
        feedback, context = QgsProcessingFeedback(), QgsProcessingContext()
        context.setProject(QgsProject.instance())
        DetectChange(backend).create().run({**given, "RESUME": resume}, context, feedback, catchExceptions=True)
        states.append({file: file.stat().st_mtime_ns for file in (tmp_path / "r" / "inputs").iterdir()})
        if other == "AOI":
            places.dataProvider().changeGeometryValues({1: QgsGeometry.fromRect(before.extent().buffered(-9))})
        elif other == "selection":
            places.selectByIds([2])
            given["AOI"] = QgsProcessingFeatureSourceDefinition(places.id(), True)
        elif other == "AFTER":
            after.setDataSource(after.source().replace("r@1", "r@1 * 2"), "virtual", "virtualraster")
        else:
            before.dataProvider().setUserNoDataValue(1, [QgsRasterRange(1, 1)])
    name = {"AFTER": "after “virtual”", "nodata": "before “a”"}.get(other, "aoi “places”")
    assert f"differs from this one in: {name}" in feedback.textLog()
    assert len(backend.asked) == 1 and states[0] == states[1], "the unfinished run can still be gone on with"


class CancelsAt(QgsProcessingFeedback):
    """Cancels when the algorithm says a text that begins so."""

    def __init__(self, beginnings):
        super().__init__(False)
        self.beginnings = beginnings

    def setProgressText(self, text):
        if text.startswith(self.beginnings):
            self.cancel()


def test_a_worker_killed_in_the_middle_is_told_and_replaced(run, scene, tmp_path, real_backend):
    killed = real_backend.hello().pid
    folder = tmp_path / "r"

    def kill(text):
        if text.startswith(("Reading", "Looking")) and real_backend.pid == killed:
            os.kill(killed, signal.SIGKILL)

    parameters = {"BEFORE": scene["before"], "AFTER": scene["after"], "OUTPUT_FOLDER": str(folder), **SENSITIVE}
    made = run("detectchange", parameters, kill)
    assert not made.succeeded
    assert "stopped unexpectedly" in made.error and "Run it again" in made.error
    again = run("detectchange", {**parameters, "OVERWRITE": True})
    assert again.succeeded, again.error
    assert real_backend.pid not in (None, killed)


def test_progress_rises_to_the_end_and_names_the_stages(run, scene, tmp_path):
    made = run(
        "detectchange",
        {"BEFORE": scene["before"], "AFTER": scene["after"], "OUTPUT_FOLDER": str(tmp_path / "r"), **SENSITIVE},
    )
    assert made.feedback.percents == sorted(made.feedback.percents) and made.feedback.percents[-1] == 100
    assert any(text.startswith("Looking for change: ") for text in made.feedback.texts)


def test_results_are_loaded_styled_by_the_toolbox(run, scene, tmp_path):
    made = run(
        "detectchange",
        {"BEFORE": scene["before"], "AFTER": scene["after"], "OUTPUT_FOLDER": str(tmp_path / "r"), **SENSITIVE},
    )
    to_load = {
        details.outputName: (source, details) for source, details in made.context.layersToLoadOnCompletion().items()
    }
    assert {"PROBABILITY", "CHANGE", "POLYGONS"} <= set(to_load)
    source, details = to_load["PROBABILITY"]
    layer = QgsRasterLayer(source, details.name)
    details.postProcessor().postProcessLayer(layer, made.context, made.feedback)
    assert layer.renderer().type() == "singlebandpseudocolor"
    assert layer.renderer().classificationMin() == first_value_at(SENSITIVE["THRESHOLD"])
    source, details = to_load["POLYGONS"]
    layer = QgsVectorLayer(source, details.name)
    details.postProcessor().postProcessLayer(layer, made.context, made.feedback)
    assert layer.renderer().type() == "categorizedSymbol" and layer.labelsEnabled()
    assert {path.name for path in (tmp_path / "r").glob("*.qml")} == {"change_probability.qml", "change.qml"}


def test_the_toolbox_keeps_the_licence_of_the_weights_with_the_layers(run, scene, tmp_path):
    folder = tmp_path / "r"
    made = run(
        "detectchange",
        {"BEFORE": scene["before"], "AFTER": scene["after"], "OUTPUT_FOLDER": str(folder), **SENSITIVE},
    )
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf8"))
    manifest["model"].update(licence="CC-BY-NC-SA-4.0", noncommercial=True)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf8")
    for source, details in made.context.layersToLoadOnCompletion().items():
        layer = (QgsVectorLayer if details.outputName == "POLYGONS" else QgsRasterLayer)(source, details.name)
        details.postProcessor().postProcessLayer(layer, made.context, made.feedback)
        assert layer.metadata().licenses() == ["CC-BY-NC-SA-4.0"]


def test_it_runs_on_a_pool_thread_as_the_dock_runs_it(provider, scene, tmp_path, qtbot):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("changen2:detectchange")
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
    parameters = {
        "BEFORE": QgsRasterLayer(scene["before"], "before"),
        "AFTER": QgsRasterLayer(scene["after"], "after"),
        "OUTPUT_FOLDER": str(tmp_path / "r"),
        **SENSITIVE,
    }
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
    with qtbot.waitSignal(task.executed, timeout=120_000) as executed:
        QgsApplication.taskManager().addTask(task)
    succeeded, results = executed.args
    assert succeeded and Path(results["POLYGONS"]).exists()


@pytest.fixture
def native_algorithms():
    """QGIS's own algorithms, which the bare application of the tests does not have."""
    registry = QgsApplication.processingRegistry()
    if registry.providerById("native") is None:
        registry.addProvider(QgsNativeAlgorithms(registry))


def test_its_outputs_feed_other_algorithms_in_a_model(provider, native_algorithms, scene, tmp_path):
    model = QgsProcessingModelAlgorithm("centres of change", "tests")
    for name in ("BEFORE", "AFTER"):
        model.addModelParameter(QgsProcessingParameterRasterLayer(name, name), QgsProcessingModelParameter(name))
    source = QgsProcessingModelChildParameterSource
    detect = QgsProcessingModelChildAlgorithm("changen2:detectchange")
    detect.setChildId("detect")
    for name in ("BEFORE", "AFTER"):
        detect.addParameterSources(name, [source.fromModelParameter(name)])
    for name, value in {"OUTPUT_FOLDER": str(tmp_path / "r"), **SENSITIVE}.items():
        detect.addParameterSources(name, [source.fromStaticValue(value)])
    model.addChildAlgorithm(detect)
    centres = QgsProcessingModelChildAlgorithm("native:centroids")
    centres.setChildId("centres")
    centres.addParameterSources("INPUT", [source.fromChildOutput("detect", "POLYGONS")])
    output = QgsProcessingModelOutput("CENTRES")
    output.setChildId("centres")
    output.setChildOutputName("OUTPUT")
    centres.setModelOutputs({"CENTRES": output})
    model.addChildAlgorithm(centres)
    feedback = QgsProcessingFeedback()
    parameters = {"BEFORE": scene["before"], "AFTER": scene["after"], "centres:CENTRES": str(tmp_path / "centres.gpkg")}
    results, succeeded = model.run(parameters, QgsProcessingContext(), feedback)
    assert succeeded, feedback.textLog()
    points = QgsVectorLayer(str(tmp_path / "centres.gpkg"), "centres", "ogr")
    assert points.featureCount() == results["CHILD_RESULTS"]["detect"]["POLYGON_COUNT"] > 0


@pytest.fixture
def estimate(real_backend, tmp_path):
    """A function that gives the backend's estimate for parameters, and what is said beside it."""

    def ask(parameters):
        algorithm = DetectChange(real_backend).create()
        request, notes = algorithm.estimate_request(parameters, QgsProcessingContext(), tmp_path / "estimate")
        return real_backend.request("estimate", request), notes

    return ask


def test_the_estimate_takes_the_same_parameters(provider, scene, estimate):
    before, after = QgsRasterLayer(scene["before"]), QgsRasterLayer(scene["after"])
    found, notes = estimate({"BEFORE": before, "AFTER": after, "GSD": "auto"})
    assert found["tiles"] >= 1 and found["width"] == before.width() and notes == []


def test_layers_with_a_crs_from_qgis_or_without_a_file_have_an_estimate(provider, scene, virtual, estimate):
    after = QgsRasterLayer(scene["after"])
    after.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    before = QgsProject.instance().mapLayer(virtual)
    before.setCrs(after.crs())
    found, notes = estimate({"BEFORE": before, "AFTER": after})
    assert found["width"] == before.width() and found["tiles"] >= 1
    assert [note for note in notes if "is written to a file" in note] == notes != []


def test_web_maps_are_rendered_at_the_pixel_size_of_the_model_where_that_is_given(provider, estimate):
    source = "type=xyz&zmin=0&zmax=18&url=http://127.0.0.1:9/{z}/{x}/{y}.png"  # nothing is fetched
    before, after = (QgsRasterLayer(source, name, "wms") for name in ("old", "new"))
    extent = QgsReferencedRectangle(QgsRectangle(0, -15000, 30000, 15000), before.crs())
    parameters = {"BEFORE": before, "AFTER": after, "EXTENT": extent}
    with pytest.raises(InputError, match="coarser resolution"):
        estimate({**parameters, "GSD": "1"})
    found, notes = estimate({**parameters, "GSD": "10"})
    assert found["width"] == pytest.approx(3000, rel=0.01) and len(notes) == 2
    found, _ = estimate({**parameters, "GSD": "10", "RENDER_RESOLUTION": 20})
    assert found["width"] == pytest.approx(1500, rel=0.01)


@pytest.mark.parametrize(
    ("given", "bands"),
    [(None, None), ("", None), ("4,3,2", [4, 3, 2]), ("4;3;2", [4, 3, 2]), ([4, 3], [4, 3]), (1, [1])],
)
def test_bands_are_read_in_every_form_that_processing_has(given, bands):
    assert parse_bands(given) == bands


@pytest.mark.parametrize("text", ["0", "-1", "near", "inf", "nan"])
def test_a_pixel_size_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="pixel size"):
        parse_metres(text)


def test_a_pixel_size_may_have_a_unit():
    assert parse_metres("0,5 m") == parse_metres("0.5") == 0.5


def test_polygon_type_of_aoi(provider):
    aoi = provider.algorithm("detectchange").parameterDefinition("AOI")
    assert aoi.dataTypes() == [QgsProcessing.SourceType.TypeVectorPolygon]
