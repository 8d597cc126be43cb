"""On Windows results that the project shows are not replaced, and that is said before the work."""

import sys

import numpy as np
import pytest
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer

from changen2_qgis.errors import InputError
from changen2_qgis.processing.detect_change import DetectChange
from changen2_qgis.processing.open_results import refuse_open_results


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")


@pytest.fixture
def raster(tmp_path, write_raster):
    """A function that adds a raster of this path to the project."""

    def add(path, name):
        path.parent.mkdir(parents=True, exist_ok=True)
        layer = QgsRasterLayer(write_raster(path, np.ones((1, 8, 8), np.uint8)), name)
        QgsProject.instance().addMapLayer(layer)

    return add


@pytest.fixture
def probability(tmp_path, write_raster):
    values = np.ones((1, 20, 30), np.uint8)
    values[0, 2:6, 3:7] = 200
    return write_raster(tmp_path / "change_probability.tif", values, nodata=0)


def test_open_results_are_named_before_anything_is_done(qgis_new_project, run, probability, tmp_path, monkeypatch):
    folder = tmp_path / "r"
    parameters = {"PROBABILITY": probability, "OUTPUT_FOLDER": str(folder)}
    made = run("vectorizechange", parameters)
    layers = [QgsRasterLayer(made.results["CHANGE"], "Yes or no"), QgsVectorLayer(made.results["POLYGONS"], "Places")]
    QgsProject.instance().addMapLayers(layers)
    assert run("vectorizechange", {**parameters, "OVERWRITE": True}).succeeded  # elsewhere than on Windows
    monkeypatch.setattr(sys, "platform", "win32")
    refused = run("vectorizechange", {**parameters, "OVERWRITE": True})
    assert (
        not refused.succeeded and "“Places”, “Yes or no”" in refused.error and "another output folder" in refused.error
    )
    QgsProject.instance().removeAllMapLayers()
    assert run("vectorizechange", {**parameters, "OVERWRITE": True}).succeeded


def test_a_detection_says_so_too(qgis_new_project, run, raster, tmp_path, write_raster, windows):
    image = write_raster(tmp_path / "image.tif", np.ones((3, 64, 64), np.uint8))
    raster(tmp_path / "r" / "change_probability.tif", "Probability")
    parameters = {"BEFORE": image, "AFTER": image, "OUTPUT_FOLDER": str(tmp_path / "r"), "OVERWRITE": True}
    refused = run("detectchange", parameters)
    assert not refused.succeeded and "“Probability”" in refused.error


def test_only_what_would_be_replaced_is_in_the_way(qgis_new_project, raster, tmp_path, windows):
    raster(tmp_path / "change.tif", "beside the folder")
    raster(tmp_path / "r" / "threshold 0.62" / "change.tif", "in a folder of its own")
    raster(tmp_path / "r" / "mine.tif", "something else")
    refuse_open_results(tmp_path / "r", DetectChange.results, QgsProject.instance())
    raster(tmp_path / "r" / "Change.tif", "the result")
    with pytest.raises(InputError, match="open file: “the result”") as caught:
        refuse_open_results(tmp_path / "r", DetectChange.results, QgsProject.instance())
    assert caught.value.code == "busy"


def test_without_a_project_nothing_is_in_the_way(tmp_path, windows):
    refuse_open_results(tmp_path, DetectChange.results, None)
