"""The settings of an earlier run, back in the forms, and the same run asked for again."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas

from changen2_qgis.events.layer import find_event_layers
from changen2_qgis.inputs import polygons_path
from changen2_qgis.pages.detect_form import DetectForm
from changen2_qgis.pages.run_settings import fill_detect_form, fill_synthesize_form
from changen2_qgis.pages.synthesize_form import SynthesizeForm
from changen2_qgis.run_folders import read_run
from changen2_qgis.series_results import add_series_group
from changen2_qgis.worker_client import Hello

DETECTORS = [{"name": name, "task": "detect", "installed": True, "threshold": 0.5} for name in ("tiny", "big")]
GENERATORS = [
    {
        "name": name,
        "task": "synthesize",
        "installed": True,
        "label_guidance": 5.0,
        "classes": [{"index": 1, "name": "building", "color": "#d00"}],
    }
    for name in ("tiny", "large")
]
HELLO = Hello(1, "0.1.0", 1, "2.13.0", ({"name": "cpu", "label": "CPU"},), (*DETECTORS, *GENERATORS))


@pytest.fixture
def project(qgis_new_project, tmp_path, settings):
    project = QgsProject.instance()
    assert project.write(str(tmp_path / "town.qgz"))
    return project


@pytest.fixture
def canvas(project, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    return canvas


@pytest.fixture
def detect_form(canvas, qtbot):
    form = DetectForm(canvas)
    qtbot.addWidget(form)
    form.set_backend(HELLO)
    yield form
    form.extent.remove()


@pytest.fixture
def synthesize_form(canvas, qtbot):
    form = SynthesizeForm(canvas)
    qtbot.addWidget(form)
    form.set_backend(HELLO)
    yield form
    form.extent.remove()
    form.events.bar.remove()


@pytest.fixture
def detection(tmp_path, write_raster):
    """A run folder with these parameters."""

    def write(crs=32633, summary=None, **parameters):
        folder = tmp_path / "2026-11-22 09-30 detect north to south"
        folder.mkdir()
        inputs = {}
        for date in ("before", "after"):
            path = write_raster(tmp_path / f"{date}.tif", np.ones((4, 40, 60), np.uint8), crs)
            inputs[date] = {"path": path, "bands": [4, 3, 2]}
        manifest = {"job": "detect", "began": "2026-11-22T09:30:00+00:00", "inputs": inputs, "parameters": parameters}
        manifest["summary"] = summary or {}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return read_run(folder)

    return write


@pytest.fixture
def synthesis(tmp_path, write_series):
    """A synthesis run with these parameters more."""

    def write(crs=32633, **parameters):
        folder = Path(write_series(tmp_path / "run", crs=crs))
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["parameters"].update(parameters)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return read_run(folder)

    return write


def test_a_detection_comes_back_whole(detect_form, detection, tmp_path):
    run = detection(
        model="big", device="cpu", threshold=0.33, min_area=25.0, coregister=True, gsd=0.8, bounds=None, aoi=None
    )
    assert fill_detect_form(detect_form, run) == []
    parameters = detect_form.parameters()
    assert parameters["BEFORE"].source() == str(tmp_path / "before.tif")
    assert parameters["AFTER"].source() == str(tmp_path / "after.tif")
    del parameters["BEFORE"], parameters["AFTER"]
    assert parameters == {
        "MODEL": "big",
        "DEVICE": "cpu",
        "THRESHOLD": 0.33,
        "MIN_AREA": 25.0,
        "COREGISTER": True,
        "BANDS_BEFORE": [4, 3, 2],
        "BANDS_AFTER": [4, 3, 2],
        "GSD": "0.8",
    }


def test_an_image_in_an_archive_comes_back(detect_form, detection, tmp_path):
    run = detection(model="tiny")
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        archive.write(tmp_path / "before.tif", "before.tif")
    manifest = json.loads((run.folder / "manifest.json").read_text())
    source = manifest["inputs"]["before"]["path"] = f"/vsizip/{tmp_path}/scenes.zip/before.tif"
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    assert fill_detect_form(detect_form, run) == []
    assert detect_form.before.layer().source() == source


def test_the_extent_of_a_run_comes_back(detect_form, detection):
    fill_detect_form(detect_form, detection(model="tiny", bounds=[500005, 4999985, 500015, 4999995]))
    extent = detect_form.parameters()["EXTENT"]
    corners = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
    assert corners == (500005, 4999985, 500015, 4999995)
    assert extent.crs().authid() == "EPSG:32633"


def test_the_extent_of_an_image_without_crs_is_turned_up_again(detect_form, detection):
    fill_detect_form(detect_form, detection(crs=None, model="tiny", bounds=[10, 30, 20, 5]))  # in pixels, y down
    extent = detect_form.parameters()["EXTENT"]
    assert (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()) == (10, -30, 20, -5)


def test_the_polygons_of_an_image_without_crs_are_turned_up_again(detect_form, detection, tmp_path):
    drawn = QgsVectorLayer("Polygon", "drawn", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(10, -30, 20, -5)))
    drawn.dataProvider().addFeature(feature)
    run = detection(crs=None, model="tiny", aoi=str(tmp_path / "inputs" / "aoi.gpkg"))
    image = QgsRasterLayer(str(tmp_path / "before.tif"), "before")
    file = Path(polygons_path(drawn, drawn, image, tmp_path / "inputs"))
    assert fill_detect_form(detect_form, run) == []
    area = detect_form.extent.polygons.currentLayer()
    assert not area.crs().isValid() and area.featureCount() == 1
    assert area.extent() == QgsRectangle(10, -30, 20, -5)
    again = polygons_path(area, area, image, tmp_path / "again")
    assert QgsVectorLayer(again, "again", "ogr").extent() == QgsVectorLayer(str(file), "file", "ogr").extent()
    assert [entry.name for entry in file.parent.iterdir() if entry.suffix == ".gpkg"] == ["aoi.gpkg"]


@pytest.fixture
def moved(tmp_path):
    """A function that keeps a polygon with a run as its own copy, moves the run and gives it, and where the copy is."""

    def move(run, name, key):
        (run.folder / "inputs").mkdir()
        drawn = QgsVectorLayer("Polygon?crs=EPSG:32633&field=event:string", "drawn", "memory")
        feature = QgsFeature(drawn.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500002, 4999985, 500008, 4999995)))
        feature["event"] = "remove"
        drawn.dataProvider().addFeature(feature)
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.layerName = Path(name).stem
        path, context = str(run.folder / "inputs" / name), QgsProject.instance().transformContext()
        QgsVectorFileWriter.writeAsVectorFormatV3(drawn, path, context, options)
        manifest = json.loads((run.folder / "manifest.json").read_text())
        manifest["parameters"].update({key: path, "out_dir": str(run.folder)})
        (run.folder / "manifest.json").write_text(json.dumps(manifest))
        there = tmp_path / "elsewhere" / run.folder.name
        there.parent.mkdir()
        return read_run(Path(shutil.move(run.folder, there))), there / "inputs" / name

    return move


def test_the_polygons_of_a_run_that_was_moved_come_back(detect_form, detection, moved):
    run, path = moved(detection(model="tiny"), "aoi.gpkg", "aoi")
    assert fill_detect_form(detect_form, run) == []
    assert detect_form.extent.polygons.currentLayer().source() == str(path)


def test_the_events_of_a_run_that_was_moved_come_back_as_they_were_drawn(synthesize_form, synthesis, moved):
    run, _ = moved(synthesis(), "change_events.gpkg", "events")
    assert fill_synthesize_form(synthesize_form, run) == []
    assert [event["event"] for event in synthesize_form.events.bar.layer().getFeatures()] == ["remove"]


def test_what_is_gone_is_said_and_the_rest_is_chosen(detect_form, detection, tmp_path):
    run = detection(model="removed", threshold=0.4, aoi="/gone/area.gpkg")
    (tmp_path / "after.tif").unlink()
    missing = fill_detect_form(detect_form, run)
    assert [word for word in ("after.tif", "removed", "area.gpkg") if any(word in text for text in missing)] == [
        "after.tif",
        "removed",
        "area.gpkg",
    ]
    assert detect_form.before.layer() is not None and detect_form.after.layer() is None
    assert detect_form.parameters()["THRESHOLD"] == 0.4


def test_a_simulated_synthesis_comes_back(synthesize_form, synthesis, project, tmp_path):
    run = synthesis(
        simulate="create,remove", events=None, seed=123, steps=3, model="large", sampler="ddim", sampling_steps=8,
        init="exemplar", device="cpu",
    )  # fmt: skip
    from datetime import datetime

    add_series_group(project, str(run.folder), "Synthesis", datetime(2020, 5, 1), (3, "months"))
    assert fill_synthesize_form(synthesize_form, run) == []
    parameters = synthesize_form.parameters()
    assert parameters["IMAGE"].source() == str(tmp_path / "town.tif")
    expected = {
        "SIMULATE": ["remove"],  # without labels there is nothing to create
        "STEPS": 3,
        "MODEL": "large",
        "DEVICE": "cpu",
        "QUALITY": "fast",
        "SAMPLER": "ddim",
        "INIT": "exemplar",
        "SEED": 123,
        "START_DATE": "2020-05-01",
        "INTERVAL": 3,
        "INTERVAL_UNIT": "months",
    }
    assert {name: parameters[name] for name in expected} == expected


WITHOUT_CONTROL = {
    "object_classes": "road",
    "background": "land",
    "least": 0,
    "most": 1,
    "edit_probability": 0.01,
    "removal_probability": 0.5,
    "transitions": "/tables/transitions.csv",
    "classes": "/tables/classes.csv",
    "instances": "/towns/houses.gpkg",
    "sampling_steps": 2,
    "seed": 2**40,
    "exemplar_level": 0.4,
    "label_guidance": 2.0,
    "guidance_ratio": 0.5,
    "patches": True,
    "precision": "fp32",
    "batch_size": 3,
    "threads": 1,
}


@pytest.mark.parametrize("name", WITHOUT_CONTROL)
def test_what_a_synthesis_had_that_the_page_cannot_have_is_said(synthesize_form, synthesis, name):
    value = WITHOUT_CONTROL[name]
    (missing,) = fill_synthesize_form(synthesize_form, synthesis(simulate="remove", events=None, **{name: value}))
    assert f"{name.replace('_', ' ')} {value} (here " in missing and "toolbox" in missing


def test_all_that_a_synthesis_had_is_said_at_once(synthesize_form, synthesis):
    (missing,) = fill_synthesize_form(synthesize_form, synthesis(simulate="remove", events=None, **WITHOUT_CONTROL))
    assert missing.count("(here ") == len(WITHOUT_CONTROL)
    assert "sampling steps 2 (here 8)" in missing and "object classes road (here the usual)" in missing


def test_of_what_is_as_usual_nothing_is_said(synthesize_form, synthesis):
    usual = {"label_guidance": 5.0, "exemplar_level": 0.2, "guidance_ratio": 1.0, "patches": False, "least": 1}
    rules = {"most": 5, "edit_probability": 0.3, "removal_probability": 0.1, "background": "0", "instances": "auto"}
    run = synthesis(simulate="remove", events=None, transitions=None, precision="auto", threads=None, **usual, **rules)
    assert fill_synthesize_form(synthesize_form, run) == []


def test_the_threshold_of_a_run_that_was_given_none_is_the_one_that_it_used(detect_form, detection):
    detect_form.threshold.setValue(0.3)
    assert fill_detect_form(detect_form, detection(model="big", threshold=None, summary={"threshold": 0.55})) == []
    assert detect_form.threshold.value() == 0.55


def test_what_a_detection_had_that_the_page_cannot_have_is_said(detect_form, detection):
    given = {"tile_size": 256, "overlap": 0, "precision": "fp32", "threshold": 0.125, "min_area": 2.5, "gsd": 0.125}
    (missing,) = fill_detect_form(detect_form, detection(model="big", **given))
    assert [name for name, value in given.items() if f"{name.replace('_', ' ')} {value} (here " in missing] == [*given]


@pytest.mark.parametrize("crs", [32633, None])
def test_drawn_events_come_back_as_a_layer_to_edit(synthesize_form, synthesis, project, crs):
    run = synthesis(crs, events="/gone/events.gpkg", steps=None, seed=1)
    assert fill_synthesize_form(synthesize_form, run) == []
    (layer,) = find_event_layers(project)
    assert synthesize_form.parameters()["EVENTS"] == layer.id()
    assert sorted((f["event"], f["to_class"], f["step"]) for f in layer.getFeatures()) == [
        ("create", "building", 1),
        ("create", "building", 2),
        ("create", "building", 3),
    ]
    assert synthesize_form.image.layer().extent().contains(layer.extent())
    assert layer.isEditable()
    assert not str(layer.source()).startswith(str(run.folder))


def test_an_events_file_of_another_shape_does_not_stand_in_the_way(synthesize_form, synthesis, tmp_path):
    (tmp_path / "mine.gpkg").write_text("no events")
    assert fill_synthesize_form(synthesize_form, synthesis(events=str(tmp_path / "mine.gpkg"))) == []
    assert synthesize_form.events.bar.layer().featureCount() == 3


def test_events_that_are_gone_are_said_to_be_gone(synthesize_form, synthesis):
    run = synthesis(events="/gone/events.gpkg")
    (run.folder / "change_events.gpkg").unlink()
    (missing,) = fill_synthesize_form(synthesize_form, run)
    assert "events.gpkg" in missing and "draw them again" in missing


def test_the_run_itself_is_not_touched_by_running_again(synthesize_form, synthesis, project):
    run = synthesis(events="/gone/events.gpkg")
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    fill_synthesize_form(synthesize_form, run)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before
