"""The algorithm against a backend that answers as told: what it asks, names, keeps; and once with the real worker."""

import json
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from changen2_qgis.errors import BackendError
from changen2_qgis.known_models import KnownModels
from changen2_qgis.processing.synthesize_change import SynthesizeChange
from changen2_qgis.run_folders import WORK_FOLDER
from changen2_qgis.settings import Settings
from changen2_qgis.worker_client import Progress

SIDE = 64


class DrawingBackend:
    """Writes the files of a synthesis, all black, or fails once it has told of so many finished steps."""

    def __init__(self, fails_after=None):
        self.fails_after = fails_after
        self.asked = []
        self.last_hello = object()
        self.settings = Settings()
        self.known_models = KnownModels()

    def request(self, method, params, callbacks):
        self.asked.append((method, dict(params)))
        folder = Path(params["out_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        if self.fails_after is not None:
            if self.fails_after > 0:  # else it leaves nothing to go on from
                (folder / WORK_FOLDER).mkdir()
                lines = ["{}"] + [json.dumps({"step": step}) for step in range(1, self.fails_after + 1)]
                (folder / WORK_FOLDER / "journal.jsonl").write_text("\n".join(lines))
            self.fails_after = None
            raise BackendError("The disk is full.", "Free some space.")
        steps = params.get("steps", 1)
        for stage, done in (("simulate", 1), ("synthesize", 1), ("write", 1), ("synthesize", 2)):
            callbacks.progress(Progress(stage, done, 2, None))
        names = [f"image_t{step}" for step in range(1, steps + 1)] + [f"labels_t{step}" for step in range(steps + 1)]
        names += [f"change_t{step - 1}_t{step}" for step in range(1, steps + 1)]
        for name in names:
            dataset = gdal.GetDriverByName("GTiff").Create(str(folder / f"{name}.tif"), SIDE, SIDE, 1, gdal.GDT_Byte)
            dataset.SetGeoTransform((500000, 0.5, 0, 5000000, 0, -0.5))
            dataset = None
        outputs = {name: str(folder / f"{name}.tif") for name in names}
        outputs["change_events"] = str(folder / "change_events.gpkg")
        ogr.GetDriverByName("GPKG").CreateDataSource(outputs["change_events"]).CreateLayer("change_events")
        outputs["manifest"] = str(folder / "manifest.json")
        Path(outputs["manifest"]).write_text("{}")
        summary = {"steps": steps, "changed_px": [7] * steps, "model": "tiny", "device": "cpu", "seconds": 1.0}
        return {"outputs": outputs, "summary": summary, "warnings": ["The model sees other pixels."]}


class Listening(QgsProcessingFeedback):
    def __init__(self):
        super().__init__(False)
        self.texts, self.errors, self.warnings, self.percents = [], [], [], []
        self.progressChanged.connect(self.percents.append)

    def setProgressText(self, text):
        self.texts.append(text)

    def reportError(self, error, fatalError=False):
        self.errors.append(error)

    def pushWarning(self, warning):
        self.warnings.append(warning)


def synthesize(backend, parameters, invalid=QgsFeatureRequest.InvalidGeometryCheck.GeometryNoCheck):
    """Results, whether it succeeded, what it said, its context; `invalid`: what Processing does with such polygons."""
    algorithm = SynthesizeChange(backend).create()
    context, feedback = QgsProcessingContext(), Listening()
    context.setInvalidGeometryCheck(invalid)
    context.setProject(QgsProject.instance())
    acceptable, reason = algorithm.checkParameterValues(parameters, context)
    assert acceptable, reason
    results, succeeded = algorithm.run(parameters, context, feedback, catchExceptions=True)
    return results, succeeded, feedback, context


@pytest.fixture
def backend(qgis_app):
    return DrawingBackend()


@pytest.fixture
def image(tmp_path, write_raster):
    pixels = np.random.default_rng(2).integers(60, 140, (3, SIDE, SIDE)).astype(np.uint8)
    return write_raster(tmp_path / "town.tif", pixels)


@pytest.fixture
def drawn():
    """Two unsaved events in the middle of the image."""
    layer = QgsVectorLayer(
        "MultiPolygon?crs=EPSG:32633&field=event:string&field=to_class:string&field=step:integer", "drawn", "memory"
    )
    layer.startEditing()
    for left, step in ((500004, 1), (500016, 2)):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, 4999984, left + 8, 4999992)))
        feature.setAttributes(["create", "building", step])
        layer.addFeature(feature)
    yield layer
    layer.rollBack()


def features(path):
    dataset = ogr.Open(path)
    return [(f.GetField("event"), f.GetField("to_class"), f.GetField("step")) for f in dataset[0]]


def test_the_contract_names_parameters_and_outputs(backend):
    algorithm = SynthesizeChange(backend).create()
    parameters = {definition.name() for definition in algorithm.parameterDefinitions()}
    assert parameters >= {
        "IMAGE", "EVENTS", "LABELS", "SIMULATE", "STEPS", "MODEL", "SAMPLER", "QUALITY", "SAMPLING_STEPS", "INIT",
        "LABEL_GUIDANCE",
        "SEED", "EXTENT", "AOI", "BANDS", "DEVICE", "PATCHES", "RESUME", "START_DATE", "INTERVAL", "OUTPUT_FOLDER",
    }  # fmt: skip
    outputs = {definition.name(): definition.type() for definition in algorithm.outputDefinitions()}
    assert outputs["IMAGES"] == outputs["LABELS_OUT"] == outputs["CHANGE"] == "outputRaster"
    assert (outputs["EVENTS_OUT"], outputs["SERIES"]) == ("outputVector", "outputMultilayer")


def test_unsaved_events_travel_with_the_run(backend, image, drawn, tmp_path):
    folder = tmp_path / "r"
    parameters = {"IMAGE": image, "EVENTS": drawn, "STEPS": 2, "QUALITY": "fast", "OUTPUT_FOLDER": str(folder)}
    results, succeeded, feedback, _ = synthesize(backend, parameters)
    assert succeeded, feedback.errors
    ((method, asked),) = backend.asked
    assert (method, asked["image"], asked["steps"], asked["sampling_steps"]) == ("synthesize", image, 2, 8)
    assert "simulate" not in asked and "labels" not in asked
    assert asked["events"] == str(folder / "inputs" / "events.gpkg")
    assert features(asked["events"]) == [("create", "building", 1), ("create", "building", 2)]
    assert Path(results["IMAGES"]).name == "image_t2.tif" and Path(results["CHANGE"]).name == "change_t1_t2.tif"
    assert [Path(path).name for path in results["SERIES"]] == ["image_t1.tif", "image_t2.tif"]
    assert (results["STEP_COUNT"], results["CHANGED_PIXELS"]) == (2, 14)
    assert feedback.warnings == ["The model sees other pixels."]


@pytest.mark.parametrize("invalid", ["GeometrySkipInvalid", "GeometryAbortOnInvalid"])
def test_polygons_that_cross_themselves_are_left_to_the_backend_whatever_processing_does_with_such(
    backend, image, drawn, tmp_path, invalid
):
    crossed = QgsFeature(drawn.fields())
    ring = "500000 4999990, 500006 4999980, 500006 4999990, 500000 4999980, 500000 4999990"
    crossed.setGeometry(QgsGeometry.fromWkt(f"Polygon(({ring}))"))
    crossed.setAttributes(["remove", None, 1])
    drawn.addFeature(crossed)
    parameters = {"IMAGE": image, "EVENTS": drawn, "AOI": drawn, "OUTPUT_FOLDER": str(tmp_path / "r")}
    check = getattr(QgsFeatureRequest.InvalidGeometryCheck, invalid)
    _, succeeded, feedback, _ = synthesize(backend, parameters, check)
    assert succeeded, feedback.errors
    asked = backend.asked[0][1]
    assert len(features(asked["events"])) == QgsVectorLayer(asked["aoi"]).featureCount() == 3


def test_selected_polygons_with_other_fields(backend, image, tmp_path):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=kind:string&field=year:integer", "plans", "memory")
    rows = []
    for kind in ("house", "pond"):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500004, 4999984, 500012, 4999992)))
        feature.setAttributes([kind, 3])
        rows.append(feature)
    layer.dataProvider().addFeatures(rows)
    layer.selectByIds([2])
    QgsProject.instance().addMapLayer(layer)
    parameters = {
        "IMAGE": image,
        "EVENTS": QgsProcessingFeatureSourceDefinition(layer.id(), True),
        "EVENT_VALUE": "edit",
        "CLASS_FIELD": "kind",
        "STEP_FIELD": "year",
        "OUTPUT_FOLDER": str(tmp_path / "r"),
    }
    _, succeeded, feedback, _ = synthesize(backend, parameters)
    QgsProject.instance().removeMapLayer(layer)
    assert succeeded, feedback.errors
    asked = backend.asked[0][1]
    assert features(asked["events"]) == [("edit", "pond", 3)]
    assert not {"init", "label_guidance"} & set(asked)  # the model's card knows best


def test_a_field_that_the_events_lack_is_refused_with_those_that_there_are(backend, image, drawn, tmp_path):
    parameters = {"IMAGE": image, "EVENTS": drawn, "STEP_FIELD": "year", "OUTPUT_FOLDER": str(tmp_path / "r")}
    _, succeeded, feedback, _ = synthesize(backend, parameters)
    assert not succeeded and backend.asked == []
    (error,) = feedback.errors
    assert "no field 'year'" in error and "event, to_class, step" in error and "STEP_FIELD" in error
    assert not (tmp_path / "r").exists()


def test_kinds_to_simulate_labels_an_extent_and_finer_settings(backend, image, write_raster, tmp_path):
    labels = write_raster(tmp_path / "labels.tif", np.ones((1, SIDE, SIDE), np.uint8))
    parameters = {
        "IMAGE": image,
        "LABELS": labels,
        "SIMULATE": ["create", "edit"],
        "SEED": 11,
        "SAMPLER": "ddim",
        "SAMPLING_STEPS": 5,
        "INIT": "exemplar",
        "LABEL_GUIDANCE": 2.5,
        "BANDS": "3;2;1",
        "EXTENT": "500004,500020,4999980,4999990 [EPSG:32633]",
        "OUTPUT_FOLDER": str(tmp_path / "r"),
    }
    _, succeeded, feedback, _ = synthesize(backend, parameters)
    assert succeeded, feedback.errors
    asked = backend.asked[0][1]
    assert asked["simulate"] == ["create", "edit"] and asked["labels"] == labels
    assert (asked["seed"], asked["sampler"], asked["sampling_steps"], asked["init"]) == (11, "ddim", 5, "exemplar")
    assert asked["label_guidance"] == 2.5
    assert (asked["bands"], asked["bounds"]) == ([3, 2, 1], [500004, 4999980, 500020, 4999990])


def test_instances_are_a_raster_or_polygons(backend, image, drawn, write_raster, tmp_path):
    numbers = write_raster(tmp_path / "numbers.tif", np.ones((1, SIDE, SIDE), np.uint8))
    for name, layer in (("raster", numbers), ("polygons", drawn)):
        parameters = {"IMAGE": image, "INSTANCES": layer, "REMOVAL_PROBABILITY": 0.5}
        _, succeeded, feedback, _ = synthesize(backend, {**parameters, "OUTPUT_FOLDER": str(tmp_path / name)})
        assert succeeded, feedback.errors
    of_raster, of_polygons = (asked["instances"] for _, asked in backend.asked)
    assert of_raster == numbers and backend.asked[0][1]["removal_probability"] == 0.5
    dataset = ogr.Open(of_polygons)
    assert dataset[0].GetFeatureCount() == 2  # unsaved ones too


def test_drawn_and_simulated_events_together_are_refused_and_nothing_is_left(backend, image, drawn, tmp_path):
    folder = tmp_path / "r"
    parameters = {"IMAGE": image, "EVENTS": drawn, "SIMULATE": ["remove"], "OUTPUT_FOLDER": str(folder)}
    _, succeeded, feedback, _ = synthesize(backend, parameters)
    assert not succeeded and "Leave one of them out" in " ".join(feedback.errors)
    assert not folder.exists() and backend.asked == []


def test_a_run_with_a_finished_step_keeps_its_inputs_and_goes_on_with_them(image, drawn, tmp_path):
    backend, folder = DrawingBackend(fails_after=1), tmp_path / "r"
    parameters = {"IMAGE": image, "EVENTS": drawn, "STEPS": 2, "OUTPUT_FOLDER": str(folder)}
    _, succeeded, feedback, _ = synthesize(backend, parameters)
    assert not succeeded and "The disk is full. Free some space." in " ".join(feedback.errors)
    copy = folder / "inputs" / "events.gpkg"
    written = copy.stat().st_mtime_ns
    results, succeeded, feedback, _ = synthesize(backend, {**parameters, "RESUME": True})
    assert succeeded, feedback.errors
    assert copy.stat().st_mtime_ns == written and len(features(str(copy))) == 2
    first, second = (params for _, params in backend.asked)
    differing = {key for key in first if first[key] != second[key]}
    assert differing == {"resume"}
    assert Path(results["IMAGES"]).parent == folder


def test_a_run_does_not_go_on_with_events_that_were_drawn_on_meanwhile(image, drawn, tmp_path):
    backend, folder = DrawingBackend(fails_after=1), tmp_path / "r"
    parameters = {"IMAGE": image, "EVENTS": drawn, "STEPS": 2, "OUTPUT_FOLDER": str(folder)}
    synthesize(backend, parameters)
    written = {path: path.stat().st_mtime_ns for path in (folder / "inputs").iterdir()}
    for change in ({"EVENT_VALUE": "remove"}, {}):
        if not change:
            drawn.deleteFeature(next(drawn.getFeatures()).id())
        _, succeeded, feedback, _ = synthesize(backend, {**parameters, **change, "RESUME": True})
        assert not succeeded and "differs from this one in: events" in " ".join(feedback.errors)
    assert len(backend.asked) == 1
    assert written == {path: path.stat().st_mtime_ns for path in (folder / "inputs").iterdir()}


def test_a_run_that_fails_before_a_step_is_finished_leaves_nothing(image, drawn, tmp_path):
    folder = tmp_path / "r"
    parameters = {"IMAGE": image, "EVENTS": drawn, "OUTPUT_FOLDER": str(folder)}
    _, succeeded, *_ = synthesize(DrawingBackend(fails_after=0), parameters)
    assert not succeeded and not folder.exists()


def test_progress_rises_and_names_the_step_once_it_is_known(backend, image, drawn, tmp_path):
    *_, feedback, _ = synthesize(backend, {"IMAGE": image, "EVENTS": drawn, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert feedback.percents == sorted(feedback.percents) and feedback.percents[-1] == 100
    assert feedback.texts[-3:] == [
        "Drawing the change: 1 of 2",
        "Images written: 1 of 2",
        "Drawing the change of step 2 of 2: 2 of 2",
    ]


def test_dates_are_kept_with_the_run_and_given_to_the_layers(backend, image, drawn, tmp_path):
    folder = tmp_path / "r"
    dates = {"START_DATE": "2020-02-29", "INTERVAL": 6, "INTERVAL_UNIT": "months"}
    results, succeeded, feedback, context = synthesize(
        backend, {"IMAGE": image, "EVENTS": drawn, "STEPS": 2, "OUTPUT_FOLDER": str(folder), **dates}
    )
    assert succeeded, feedback.errors
    known = json.loads((folder / "dates.json").read_text())
    assert (known["start"][:10], known["amount"], known["unit"]) == ("2020-02-29", 6, "months")
    details = context.layersToLoadOnCompletion()[results["IMAGES"]]
    layer = QgsRasterLayer(results["IMAGES"], details.name)
    details.postProcessor().postProcessLayer(layer, context, feedback)
    properties = layer.temporalProperties()
    assert properties.isActive()
    assert properties.fixedTemporalRange().begin().toString("yyyy-MM-dd") == "2021-02-28"


def test_an_image_that_is_no_file_is_written_first(backend, image, drawn, tmp_path):
    source = QgsRasterLayer(image)
    extent = source.extent()
    virtual = QgsRasterLayer(
        f"?crs={source.crs().authid()}&extent={extent.xMinimum()},{extent.yMinimum()},{extent.xMaximum()},"
        f'{extent.yMaximum()}&width={SIDE}&height={SIDE}&formula="r@1"&r:uri={image}&r:provider=gdal',
        "virtual",
        "virtualraster",
    )
    parameters = {"IMAGE": virtual, "EVENTS": drawn, "OUTPUT_FOLDER": str(tmp_path / "r")}
    _, succeeded, feedback, _ = synthesize(backend, parameters)
    assert succeeded, feedback.errors
    written = backend.asked[0][1]["image"]
    assert written == str(tmp_path / "r" / "inputs" / "image.tif")
    np.testing.assert_array_equal(gdal.Open(written).ReadAsArray(), gdal.Open(image).ReadAsArray()[0])


def test_runs_that_wait_for_each_other_have_folders_of_their_own(backend, image, qgis_new_project, tmp_path):
    QgsProject.instance().write(str(tmp_path / "town.qgz"))
    parameters = {"IMAGE": image, "SIMULATE": ["remove"]}
    context, feedback = QgsProcessingContext(), Listening()
    context.setProject(QgsProject.instance())
    algorithms = [SynthesizeChange(backend).create() for _ in range(2)]
    assert all(algorithm.prepare(parameters, context, feedback) for algorithm in algorithms)
    first, second = (
        Path(algorithm.runPrepared(parameters, context, feedback)["OUTPUT_FOLDER"]) for algorithm in algorithms
    )
    assert first != second and first.parent == second.parent == tmp_path / "Changen2 runs"


def test_the_real_worker_draws_inside_the_change_only(run, real_backend, drawn, image, tmp_path):
    if not any(card["task"] == "synthesize" and card["installed"] for card in real_backend.hello().models):
        pytest.skip("no generator is installed")
    folder = tmp_path / "r"
    made = run(
        "synthesizechange",
        {"IMAGE": image, "EVENTS": drawn, "SAMPLING_STEPS": 2, "THREADS": 1, "OUTPUT_FOLDER": str(folder)},
    )
    assert made.succeeded, made.error
    before, after = (gdal.Open(str(path)).ReadAsArray() for path in (image, folder / "image_t1.tif"))
    change = gdal.Open(str(folder / "change_t0_t1.tif")).ReadAsArray() == 1
    assert change[16:32, 8:24].all() and change.sum() == 16 * 16
    assert ((before != after).any(axis=0) <= change).all() and (before != after)[:, change].mean() > 0.5


def test_it_is_registered(provider):
    assert QgsApplication.processingRegistry().algorithmById("changen2:synthesizechange") is not None
