"""The model that closes the loop: it loads, and runs from events to an assessment."""

import json
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)

from changen2_qgis.processing.shipped_model import shipped_models

LOOP = "changen2:synthesizedetectassess"


class Draughtsman:
    """The real backend, but change is drawn without a generator: a square of it, bright as a roof."""

    def __init__(self, backend):
        self._backend = backend
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def request(self, method, params, callbacks=None):
        self.asked.append(method)
        if method != "synthesize":
            return self._backend.request(method, params, callbacks)
        folder = Path(params["out_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        changed = np.zeros((128, 128), np.uint8)
        changed[40:70, 50:80] = 1
        image = gdal.Open(params["image"])
        names = {"image_t1": np.where(changed, 235, image.ReadAsArray()), "change_t0_t1": changed[None]}
        for name in ("labels_t0", "labels_t1"):
            names[name] = changed[None]
        outputs = {name: _write(folder / f"{name}.tif", values, image) for name, values in names.items()}
        outputs["change_events"] = str(folder / "change_events.gpkg")
        ogr.GetDriverByName("GPKG").CreateDataSource(outputs["change_events"]).CreateLayer("change_events")
        outputs["manifest"] = str(folder / "manifest.json")
        Path(outputs["manifest"]).write_text(json.dumps({"job": "synthesize"}))
        summary = {"steps": 1, "changed_px": [900], "model": "none", "device": "cpu", "seconds": 0.1}
        return {"outputs": outputs, "summary": summary, "warnings": []}


def _write(path, values, like):
    bands, height, width = values.shape
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), width, height, bands, gdal.GDT_Byte)
    dataset.SetGeoTransform(like.GetGeoTransform())
    dataset.SetProjection(like.GetProjection())
    for band in range(bands):
        dataset.GetRasterBand(band + 1).WriteArray(values[band])
    dataset = None
    return str(path)


@pytest.fixture
def image(tmp_path, write_raster):
    pixels = np.random.default_rng(4).integers(60, 110, (3, 128, 128)).astype(np.uint8)
    return write_raster(tmp_path / "town.tif", pixels)


@pytest.fixture
def events(qgis_new_project):
    """One building, where the draughtsman draws too."""
    fields = "field=event:string&field=to_class:string&field=step:integer"
    layer = QgsVectorLayer(f"Polygon?crs=EPSG:32633&{fields}", "drawn", "memory")
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500025, 4999965, 500040, 4999980)))
    feature.setAttributes(["create", "building", 1])
    layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def run_with():
    """A function that runs the model with a backend: the results of its parts."""
    from changen2_qgis.processing.provider import Changen2Provider

    providers = []

    def run(backend, parameters):
        provider = Changen2Provider(backend)
        providers.append(provider)
        registry = QgsApplication.processingRegistry()
        registry.addProvider(provider)
        context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
        context.setProject(QgsProject.instance())
        results, succeeded = registry.createAlgorithmById(LOOP).run(parameters, context, feedback)
        assert succeeded, feedback.textLog()
        return results["CHILD_RESULTS"], context

    yield run
    for provider in providers:
        QgsApplication.processingRegistry().removeProvider(provider)


def test_from_events_to_an_assessment(run_with, real_backend, image, events, tmp_path):
    backend = Draughtsman(real_backend)
    parts, context = run_with(backend, {"IMAGE": image, "EVENTS": events, "FOLDER": str(tmp_path / "loop")})
    assert backend.asked == ["synthesize", "detect", "evaluate"]
    assert parts["assess"]["KNOWN"] == 1 and "known change" in parts["assess"]["WORDS"]
    assert {folder.name for folder in (tmp_path / "loop").iterdir()} == {"synthesized", "detected", "assessed"}
    manifest = json.loads(Path(parts["detect"]["MANIFEST"]).read_text(encoding="utf8"))
    assert manifest["inputs"]["after"]["path"] == str(tmp_path / "loop" / "synthesized" / "image_t1.tif")
    assert parts["assess"]["ASSESSMENT"] in context.layersToLoadOnCompletion()


def test_with_the_embedded_generator(run_with, real_backend, image, events, tmp_path):
    if not any(card["task"] == "synthesize" and card["installed"] for card in real_backend.hello().models):
        pytest.skip("no generator is installed")
    given = {"IMAGE": image, "EVENTS": events, "QUALITY": "fast", "FOLDER": str(tmp_path / "loop")}
    parts, _ = run_with(real_backend, given)
    change = gdal.Open(parts["synthesize"]["CHANGE"]).ReadAsArray()
    assert (change == 1).sum() == 30 * 30
    assert parts["assess"]["KNOWN"] == 1


def test_models_load_in_the_designer(provider):
    for path in shipped_models():
        model = QgsProcessingModelAlgorithm()
        assert model.fromFile(str(path))
        sound, problems = model.validate()
        assert sound, problems
        assert "/home/" not in path.read_text(encoding="utf8")
    assert len(shipped_models()) > 0
