"""Fixtures of the plugin's tests: the plugin's settings, the real backend, small rasters."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, osr

ROOT = Path(__file__).resolve().parents[2]


def backend_python():
    """The interpreter that the real backend runs on, in the order that the plugin looks."""
    named = os.environ.get("CHANGEN2_PYTHON")
    return Path(named) if named else ROOT / ".venv" / "bin" / "python"


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


@pytest.fixture
def settings(qgis_app):
    """The plugin's settings, forgotten after the test."""
    from changen2_qgis.settings import Settings

    yield Settings()
    Settings().reset()


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
