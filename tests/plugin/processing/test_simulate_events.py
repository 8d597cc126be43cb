"""Change events with the real worker: contract, series, the same again by the same seed, drawn events, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import QgsFeature, QgsGeometry, QgsRasterLayer, QgsRectangle, QgsVectorLayer

BUILDING = 8


def pixels(path):
    return gdal.Open(str(path)).ReadAsArray()


def events_of(path):
    dataset = ogr.Open(path)
    return [
        (feature.GetField("event"), feature.GetField("to_class"), feature.GetField("step")) for feature in dataset[0]
    ]


@pytest.fixture
def labels(tmp_path, write_raster):
    """Rangeland with two buildings of 12 × 12 pixels."""
    values = np.full((1, 96, 128), 2, np.uint8)
    values[0, 10:22, 10:22] = values[0, 50:62, 80:92] = BUILDING
    return write_raster(tmp_path / "labels.tif", values)


def draw(raster, rows, crs="EPSG:32633"):
    """An unsaved layer of events; places in pixels, left, top, right, bottom."""
    layer = QgsVectorLayer(
        f"MultiPolygon?crs={crs}&field=event:string&field=to_class:string&field=step:integer", "drawn", "memory"
    )
    extent = QgsRasterLayer(raster).extent()
    size = QgsRasterLayer(raster).rasterUnitsPerPixelX()
    layer.startEditing()
    for (left, top, right, bottom), *values in rows:
        place = QgsRectangle(
            extent.xMinimum() + size * left,
            extent.yMaximum() - size * bottom,
            extent.xMinimum() + size * right,
            extent.yMaximum() - size * top,
        )
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(place))
        feature.setAttributes(values)
        layer.addFeature(feature)
    return layer


def test_the_contract_names_parameters_and_outputs(provider):
    algorithm = provider.algorithm("simulateevents")
    parameters = {definition.name() for definition in algorithm.parameterDefinitions()}
    assert {"LABELS", "IMAGE", "INSTANCES", "EVENTS", "SIMULATE", "STEPS", "SEED", "CLASSES"} <= parameters
    outputs = {definition.name(): definition.type() for definition in algorithm.outputDefinitions()}
    assert outputs["LABELS_OUT"] == outputs["CHANGE"] == "outputRaster"
    assert outputs["EVENTS_OUT"] == "outputVector"


def test_a_series_and_its_events(run, labels, tmp_path):
    folder = tmp_path / "r"
    made = run("simulateevents", {"LABELS": labels, "SIMULATE": ["remove"], "STEPS": 2, "OUTPUT_FOLDER": str(folder)})
    assert made.succeeded, made.error
    results = made.results
    assert Path(results["LABELS_OUT"]).name == "labels_t2.tif" and Path(results["CHANGE"]).name == "change_t1_t2.tif"
    told = events_of(results["EVENTS_OUT"])
    assert len(told) == results["EVENT_COUNT"] > 0
    assert {event for event, *_ in told} == {"remove"}
    gone = (pixels(labels) == BUILDING) & (pixels(results["LABELS_OUT"]) != BUILDING)
    first, second = (pixels(folder / f"change_t{step}_t{step + 1}.tif") == 1 for step in (0, 1))
    np.testing.assert_array_equal(gone, first | second)
    parameters = json.loads(Path(results["MANIFEST"]).read_text())["parameters"]
    assert (parameters["steps"], parameters["events"]) == (2, "remove")


def test_the_same_seed_gives_the_same_events_and_another_others(run, labels, tmp_path):
    told = [
        pixels(
            run(
                "simulateevents",
                {"LABELS": labels, "SIMULATE": "create", "SEED": seed, "OUTPUT_FOLDER": str(tmp_path / name)},
            ).results["LABELS_OUT"]
        )
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    np.testing.assert_array_equal(told[0], told[1])
    assert (told[0] != told[2]).any()


def test_drawn_events_happen_where_they_were_drawn_saved_or_not(run, labels, tmp_path):
    layer = draw(labels, [((40, 20, 60, 30), "create", "building", 1), ((10, 10, 22, 22), "remove", None, 2)])
    made = run("simulateevents", {"LABELS": labels, "EVENTS": layer, "OUTPUT_FOLDER": str(tmp_path / "r")})
    layer.rollBack()
    assert made.succeeded, made.error
    expected = pixels(labels).copy()
    expected[20:30, 40:60] = BUILDING
    expected[10:22, 10:22] = 0
    np.testing.assert_array_equal(pixels(made.results["LABELS_OUT"]), expected)


def test_labels_without_crs_take_events_where_they_are_drawn_and_give_them_back_there(run, tmp_path, write_raster):
    values = np.full((1, 64, 96), 2, np.uint8)
    path = write_raster(tmp_path / "plain.tif", values, crs=None)
    layer = draw(path, [((40, 8, 60, 20), "create", "building", 1)], crs="")
    made = run("simulateevents", {"LABELS": path, "EVENTS": layer, "OUTPUT_FOLDER": str(tmp_path / "r")})
    layer.rollBack()
    assert made.succeeded, made.error
    assert (pixels(made.results["LABELS_OUT"])[8:20, 40:60] == BUILDING).all()
    shown = {details.name: source for source, details in made.context.layersToLoadOnCompletion().items()}
    extent = QgsVectorLayer(shown["Events that happened"], "events", "ogr").extent()
    assert (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()) == (40, -20, 60, -8)


@pytest.mark.parametrize(("probability", "count"), [(0, 0), (1, 2)])
def test_without_labels_instances_of_the_image_are_removed(run, tmp_path, write_raster, probability, count):
    image = write_raster(tmp_path / "town.tif", np.random.default_rng(3).integers(60, 140, (3, 96, 128), np.uint8))
    houses = draw(image, [((10, 10, 22, 22), None, None, None), ((80, 50, 92, 62), None, None, None)])
    parameters = {"IMAGE": image, "INSTANCES": houses, "SIMULATE": ["remove"], "REMOVAL_PROBABILITY": probability}
    made = run("simulateevents", {**parameters, "OUTPUT_FOLDER": str(tmp_path / "r")})
    houses.rollBack()
    assert made.succeeded, made.error
    assert made.results["EVENT_COUNT"] == count == len(events_of(made.results["EVENTS_OUT"]))
    assert (pixels(made.results["CHANGE"]) == 1).sum() == count * 12 * 12


@pytest.mark.parametrize("bands", [None, [4]])
def test_without_instances_the_image_itself_shows_what_may_go(run, tmp_path, write_raster, bands):
    picture = np.full((4, 96, 128), 90, np.uint8)
    picture[[3] if bands else [0, 1, 2], 30:50, 30:50] = 220
    image = write_raster(tmp_path / "town.tif", picture)
    parameters = {"IMAGE": image, "REMOVAL_PROBABILITY": 1, "OUTPUT_FOLDER": str(tmp_path / "r"), "BANDS": bands}
    made = run("simulateevents", parameters)
    assert made.succeeded, made.error
    assert {event for event, *_ in events_of(made.results["EVENTS_OUT"])} == {"remove"}
    assert (pixels(made.results["CHANGE"]) == 1)[35:45, 35:45].all()


@pytest.mark.parametrize("given", [(), ("LABELS", "IMAGE"), ("LABELS", "INSTANCES")])
def test_it_is_either_labels_or_an_image_with_instances(run, labels, tmp_path, given):
    parameters = dict.fromkeys(given, labels)
    made = run("simulateevents", {**parameters, "OUTPUT_FOLDER": str(tmp_path / "r")})
    assert not made.succeeded and "labels" in made.error and not (tmp_path / "r").exists()


def test_the_toolbox_shows_classes_and_events_in_their_colours(run, labels, tmp_path):
    made = run("simulateevents", {"LABELS": labels, "OUTPUT_FOLDER": str(tmp_path / "r")})
    shown = {
        details.outputName: (source, details) for source, details in made.context.layersToLoadOnCompletion().items()
    }
    assert set(shown) == {"LABELS_OUT", "CHANGE", "EVENTS_OUT"}
    source, details = shown["LABELS_OUT"]
    layer = QgsRasterLayer(source, details.name)
    details.postProcessor().postProcessLayer(layer, made.context, made.feedback)
    assert "building" in [label for label, _ in layer.renderer().legendSymbologyItems()]


def test_a_class_that_is_not_there_is_refused_with_the_next_step_and_nothing_left(run, labels, tmp_path):
    layer = draw(labels, [((40, 20, 60, 30), "create", "castle", 1)])
    made = run("simulateevents", {"LABELS": labels, "EVENTS": layer, "OUTPUT_FOLDER": str(tmp_path / "r")})
    layer.rollBack()
    assert not made.succeeded and "castle" in made.error and "Use one of these" in made.error
    assert not (tmp_path / "r").exists()
