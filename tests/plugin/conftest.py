"""Fixtures of the plugin's tests: the plugin's settings, the real backend, small rasters."""

import contextlib
import gc
import inspect
import json
import os
import sys
from pathlib import Path
from types import FrameType, SimpleNamespace

import numpy as np
import pytest
from osgeo import gdal, ogr, osr
from qgis.core import QgsApplication
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtWidgets import QMainWindow

ROOT = Path(__file__).resolve().parents[2]


def backend_python():
    """The interpreter that the real backend runs on, in the order that the plugin looks."""
    named = os.environ.get("CHANGEN2_PYTHON")
    return Path(named) if named else ROOT / ".venv" / "bin" / "python"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item, nextitem):
    """Let go of a test's layers before QGIS ends, which of the last test it does before pytest forgets its fixtures."""
    item.funcargs.clear()
    if nextitem is None:
        # QGIS keeps the traceback of what an algorithm raises, and with it the frames of the test that called it.
        for frame in [each for each in gc.get_objects() if isinstance(each, FrameType)]:
            of_tests = Path(frame.f_code.co_filename).is_relative_to(ROOT / "tests")
            if of_tests and not frame.f_code.co_flags & inspect.CO_GENERATOR:  # fixtures have yet to clean up
                with contextlib.suppress(RuntimeError):  # this one is being executed
                    frame.clear()
        gc.collect()


@pytest.fixture(scope="session")
def real_backend(qgis_app):
    """The real worker, shared by all tests as all algorithms share it; stopped at the end."""
    python = backend_python()
    if not python.exists():
        pytest.skip(f"no backend at {python}: run make setup")
    os.environ["CHANGEN2_PYTHON"] = str(python)
    from changen2_qgis.backend import Backend

    backend = Backend()
    yield backend
    backend.stop()


@pytest.fixture(scope="module")
def provider(real_backend):
    """The provider, in QGIS's registry as the plugin puts it there."""
    from changen2_qgis.processing.provider import Changen2Provider

    provider = Changen2Provider(real_backend)
    QgsApplication.processingRegistry().addProvider(provider)
    yield provider
    QgsApplication.processingRegistry().removeProvider(provider)


@pytest.fixture
def settings(qgis_app):
    """The plugin's settings, as nobody has touched them; forgotten after the test."""
    from changen2_qgis.settings import Settings

    Settings().reset()
    yield Settings()
    Settings().reset()


@pytest.fixture
def make_iface(qgis_new_project, qtbot):
    """A function that makes what the pages need of QGIS's window, over a new project; more of it by name."""

    def make(**more):
        window = QMainWindow()
        qtbot.addWidget(window)
        canvas, bar = QgsMapCanvas(window), QgsMessageBar(window)
        return SimpleNamespace(
            mainWindow=lambda: window,
            mapCanvas=lambda: canvas,
            messageBar=lambda: bar,
            activeLayer=lambda: None,
            **more,
        )

    return make


@pytest.fixture
def window(make_iface):
    """A main window as far as the dock needs QGIS's, with its `iface`."""
    iface = make_iface()
    window = iface.mainWindow()
    window.iface = iface
    window.setCentralWidget(iface.mapCanvas())
    window.resize(1366, 768)
    window.show()
    return window


@pytest.fixture
def dock_height():
    """What QGIS leaves to a dock in a window of 1366 × 768 with its default toolbars."""
    return 637


@pytest.fixture
def write_raster():
    """A function that writes `[bands, rows, columns]` to a GeoTIFF and gives its path."""

    def write(path, pixels, crs=32633, origin=(500000.0, 5000000.0), pixel_size=0.5, nodata=None):
        bands, height, width = pixels.shape
        kind = gdal.GDT_UInt16 if pixels.dtype == np.uint16 else gdal.GDT_Byte
        dataset = gdal.GetDriverByName("GTiff").Create(str(path), width, height, bands, kind)
        if crs:
            dataset.SetGeoTransform((origin[0], pixel_size, 0, origin[1], 0, -pixel_size))
            reference = osr.SpatialReference()
            reference.ImportFromEPSG(crs)
            dataset.SetProjection(reference.ExportToWkt())
        for band in range(bands):
            dataset.GetRasterBand(band + 1).WriteArray(pixels[band])
            if nodata is not None:
                dataset.GetRasterBand(band + 1).SetNoDataValue(nodata)
        dataset = None
        return str(path)

    return write


@pytest.fixture
def stand_in(tmp_path):
    """A function that writes a script and gives the command that runs it, for processes that misbehave."""

    def write(script):
        path = tmp_path / "stand_in.py"
        path.write_text(script, encoding="utf8")
        return [sys.executable, str(path)]

    return write


@pytest.fixture
def write_series(write_raster):
    """A function that writes a synthesis run as the backend does: its input and a series with one square a step."""

    def write(folder, steps=3, crs=32633, dtype=np.uint8, size=(60, 80)):
        folder.mkdir(parents=True, exist_ok=True)
        height, width = size
        scale = 1 if dtype == np.uint8 else 40
        image = np.random.default_rng(5).integers(60, 140, (4, height, width)).astype(dtype) * dtype(scale)
        labels = np.zeros((height, width), np.uint8)
        given = write_raster(folder.parent / "town.tif", image, crs)
        outputs = {"labels_t0": _labels(write_raster, folder / "labels_t0.tif", labels, crs)}
        for step in range(1, steps + 1):
            square = np.s_[10:20, 20 * step - 15 : 20 * step - 5]
            image[:, square[0], square[1]] = np.array([230, 40, 30, 90], dtype)[:, None, None] * dtype(scale)
            labels[square] = 1
            change = np.zeros_like(labels)
            change[square] = 1
            outputs[f"image_t{step}"] = write_raster(folder / f"image_t{step}.tif", image, crs)
            outputs[f"labels_t{step}"] = _labels(write_raster, folder / f"labels_t{step}.tif", labels, crs)
            name = f"change_t{step - 1}_t{step}"
            outputs[name] = write_raster(folder / f"{name}.tif", change[None], crs, nodata=255)
        outputs["change_events"] = _events(folder / "change_events.gpkg", steps, crs)
        manifest = {
            "job": "synthesize",
            "began": "2026-11-23T10:05:00+00:00",
            "versions": {"changen2": "0.1.0"},
            "model": {"name": "tiny", "title": "Small generator", "sha256": "ab" * 32, "licence": "CC-BY-SA-4.0"},
            "inputs": {
                "image": {
                    "path": given,
                    "bands": [1, 2, 3],
                    "stretch": {"low": [0.0] * 3, "high": [255.0 * scale] * 3},
                }
            },
            "parameters": {"seed": 7, "steps": steps, "sampler": "dpmpp", "sampling_steps": 20, "model": "tiny"},
            "device": "cpu",
            "summary": {"steps": steps, "events": {"create": steps}, "seconds": 2.0},
            "warnings": [],
            "outputs": {key: Path(path).name for key, path in outputs.items()},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf8")
        return str(folder)

    return write


def _labels(write_raster, path, labels, crs):
    write_raster(path, labels[None], crs, nodata=255)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.SetMetadata({"CLASS_0": "ground", "CLASS_1": "building"})
    colours = gdal.ColorTable()
    colours.SetColorEntry(0, (200, 200, 200, 255))
    colours.SetColorEntry(1, (215, 38, 61, 255))
    dataset.GetRasterBand(1).SetColorTable(colours)
    return str(path)


def _events(path, steps, crs):
    """One square a step; in pixels (column, row), y down, where there is no CRS."""
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    reference = None
    if crs:
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(crs)
    layer = dataset.CreateLayer("change_events", reference, ogr.wkbMultiPolygon)
    for name, kind in (("event", ogr.OFTString), ("to_class", ogr.OFTString), ("step", ogr.OFTInteger)):
        layer.CreateField(ogr.FieldDefn(name, kind))
    for step in range(1, steps + 1):
        left, top, right, bottom = 20 * step - 15, 10, 20 * step - 5, 20
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        if crs:
            corners = [(500000 + 0.5 * x, 5000000 - 0.5 * y) for x, y in corners]
        feature = ogr.Feature(layer.GetLayerDefn())
        ring = ",".join(f"{x} {y}" for x, y in corners)
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"MULTIPOLYGON((({ring})))"))
        for name, value in (("event", "create"), ("to_class", "building"), ("step", step)):
            feature.SetField(name, value)
        layer.CreateFeature(feature)
    return str(path)
