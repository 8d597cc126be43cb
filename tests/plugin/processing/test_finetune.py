"""Training on drawn changes, through the real worker: a model appears, and nothing where it cannot."""

import os
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsVectorLayer,
)

from changen2_qgis.errors import BackendError
from changen2_qgis.known_models import KnownModels
from changen2_qgis.processing.finetune import FinetuneDetector
from changen2_qgis.run_folders import WORK_FOLDER
from changen2_qgis.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def real_backend(qgis_app, tmp_path_factory):
    """A worker whose models' folder is the tests' own."""
    python = Path(os.environ.get("CHANGEN2_PYTHON", ROOT / ".venv" / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"no backend at {python}: run make setup")
    from changen2_qgis.backend import Backend

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHANGEN2_PYTHON", str(python))
        environment.setenv("CHANGEN2_MODELS", str(tmp_path_factory.mktemp("models")))
        backend = Backend()
        yield backend
        backend.stop()


@pytest.fixture
def images(tmp_path, write_raster):
    """Two dates of noise; dark squares appear at (20, 20) and (200, 40), 24 pixels a side."""
    before = np.random.default_rng(0).integers(90, 140, (3, 96, 256)).astype(np.uint8)
    after = before.copy()
    for column, row in ((20, 20), (200, 40)):
        after[:, row : row + 24, column : column + 24] = 30
    return {"BEFORE": write_raster(tmp_path / "a.tif", before), "AFTER": write_raster(tmp_path / "b.tif", after)}


@pytest.fixture
def changes(qgis_app):
    """The squares, drawn into a layer that is in no file, as rows of 0.5 m pixels from (500000, 5000000)."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "changes", "memory")
    for column, row in ((20, 20), (200, 40)):
        left, top = 500000 + column / 2, 5000000 - row / 2
        feature = QgsFeature()
        feature.setGeometry(
            QgsGeometry.fromWkt(
                f"POLYGON(({left} {top},{left + 12} {top},{left + 12} {top - 12},{left} {top - 12},{left} {top}))"
            )
        )
        layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    yield layer
    QgsProject.instance().removeMapLayer(layer)


def test_drawn_changes_become_a_model(run, real_backend, images, changes, tmp_path):
    parameters = {
        **images,
        "CHANGES": changes,
        "NAME": "dark-squares",
        "KIND": "dark squares",
        "STEPS": 1,
        "THREADS": 1,
    }
    made = run("finetune", {**parameters, "OUTPUT_FOLDER": str(tmp_path / "run")})
    assert made.succeeded, made.error
    assert made.results["MODEL_NAME"] == "dark-squares" and 0 <= made.results["HELD_OUT_F1"] <= 1
    assert "dark-squares" in real_backend.known_models.names("detect"), "lists have it without being asked to look"
    cards = {card["name"]: card for card in real_backend.request("models", {})["models"]}
    assert cards["dark-squares"]["classes"][1]["name"] == "dark squares"
    assert any("held out" in info and "also chose the step" in info for info in made.feedback.infos)
    again = run("finetune", {**parameters, "OUTPUT_FOLDER": str(tmp_path / "again")})
    assert not again.succeeded and "dark-squares" in again.error
    assert not (tmp_path / "again").exists()


def test_selected_changes_are_the_drawn_ones(run, images, changes, tmp_path):
    changes.selectByIds([1])
    parameters = {
        **images,
        "CHANGES": QgsProcessingFeatureSourceDefinition(changes.id(), True),
        "NAME": "one-square",
        "OUTPUT_FOLDER": str(tmp_path / "run"),
    }
    refused = run("finetune", parameters)
    changes.removeSelection()
    assert not refused.succeeded and "1 of the changes" in refused.error


class BreakingOff:
    """A backend that breaks off in the middle of a training."""

    last_hello = object()

    def __init__(self):
        self.asked, self.settings, self.known_models = [], Settings(), KnownModels()

    def request(self, method, params, callbacks):
        self.asked.append(params)
        work = Path(params["out_dir"]) / WORK_FOLDER
        work.mkdir(exist_ok=True)
        (work / "checkpoint.pt").write_bytes(b"weights")
        raise BackendError("The disk is full.")


def test_an_unfinished_training_keeps_its_checkpoint_and_the_changes_that_were_written_for_it(
    settings, images, changes, tmp_path
):
    backend, folder = BreakingOff(), tmp_path / "run"
    given = {**images, "CHANGES": changes, "NAME": "later", "OUTPUT_FOLDER": str(folder)}
    drawn, written = folder / "inputs" / "changes" / "aoi.gpkg", []
    for resume in (False, True):
        algorithm, feedback = FinetuneDetector(backend).create(), QgsProcessingFeedback()
        context = QgsProcessingContext()
        _, succeeded = algorithm.run({**given, "RESUME": resume}, context, feedback, catchExceptions=True)
        assert not succeeded and "The disk is full." in feedback.textLog()
        assert (folder / WORK_FOLDER / "checkpoint.pt").exists()
        written.append(drawn.stat().st_mtime_ns)
    first, second = backend.asked
    assert {name for name in first if first[name] != second[name]} == {"resume"}
    assert first["changes"] == str(drawn) and written[0] == written[1]


def test_nodata_given_in_qgis_reaches_the_training(settings, images, changes, tmp_path):
    layers = {name: QgsRasterLayer(path, name) for name, path in images.items()}
    for layer in layers.values():
        for band in (1, 2, 3):
            layer.dataProvider().setUserNoDataValue(band, [QgsRasterRange(30, 30)])
    given = {**layers, "CHANGES": changes, "NAME": "later", "OUTPUT_FOLDER": str(tmp_path / "run")}
    algorithm, feedback = FinetuneDetector(BreakingOff()).create(), QgsProcessingFeedback()
    job = algorithm.prepare_job(given, QgsProcessingContext(), feedback)
    files = job.pair.files(job.window, job.folder.inputs, lambda: 0.5, 100, feedback)
    bands = [band for path in files.values() for band in gdal.Info(path, format="json")["bands"]]
    assert [band["noDataValue"] for band in bands] == [30] * 6


def test_a_pixel_size_that_is_given_is_taken(run, real_backend, images, changes, tmp_path):
    parameters = {**images, "CHANGES": changes, "NAME": "finer", "GSD": 0.4, "STEPS": 1, "THREADS": 1}
    made = run("finetune", {**parameters, "OUTPUT_FOLDER": str(tmp_path / "run")})
    assert made.succeeded, made.error
    cards = {card["name"]: card for card in real_backend.request("models", {})["models"]}
    assert cards["finer"]["gsd_native"] == 0.4


def test_a_name_that_is_no_name_is_refused(run, images, changes, tmp_path):
    parameters = {**images, "CHANGES": changes, "NAME": "Dark squares!", "OUTPUT_FOLDER": str(tmp_path / "run")}
    refused = run("finetune", parameters)
    assert not refused.succeeded and "cannot be called" in refused.error
    assert not (tmp_path / "run").exists()


def test_a_calibration_is_kept_in_the_card_of_a_model_trained_here(run, real_backend, images, changes, tmp_path):
    parameters = {**images, "CHANGES": changes, "NAME": "calibrated", "STEPS": 1, "THREADS": 1}
    made = run("finetune", {**parameters, "OUTPUT_FOLDER": str(tmp_path / "run")})
    assert made.succeeded, made.error
    detected = run("detectchange", {**images, "MODEL": "calibrated", "OUTPUT_FOLDER": str(tmp_path / "detected")})
    assert detected.succeeded, detected.error
    given = {"PREDICTION": detected.results["PROBABILITY"], "REFERENCE": changes}
    refused = run("assessaccuracy", {**given, "STORE": "tiny", "OUTPUT_FOLDER": str(tmp_path / "refused")})
    assert not refused.succeeded and "not installed" in refused.error
    kept = run("assessaccuracy", {**given, "STORE": "calibrated", "OUTPUT_FOLDER": str(tmp_path / "assessed")})
    card = {card["name"]: card for card in real_backend.request("models", {})["models"]}["calibrated"]
    assert kept.succeeded, kept.error
    assert any("kept for “calibrated”" in info for info in kept.feedback.infos)
    assert f"{card['calibration']['ece']:.3f}" in Path(kept.results["REPORT"]).read_text(encoding="utf8")
