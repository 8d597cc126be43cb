"""Maps of classes as files for the backend, as their layers lie but not as they look."""

import numpy as np
from osgeo import gdal
from qgis.core import QgsCoordinateReferenceSystem, QgsRasterLayer, QgsRasterRange

from changen2_qgis.layer_nodata import has_own_nodata
from changen2_qgis.processing.event_files import raster_path
from changen2_qgis.processing.run_folder import RunFolder


def test_a_class_that_is_hidden_as_nodata_is_handed_over_in_another_crs_too(qgis_app, tmp_path, write_raster):
    layer = QgsRasterLayer(write_raster(tmp_path / "labels.tif", np.ones((1, 30, 40), np.uint8)), "labels")
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(1, 1)])
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32634"))
    assert has_own_nodata(layer)
    path = raster_path(layer, RunFolder(tmp_path / "run", overwrite=False), "labels")
    assert path.endswith(".vrt") and QgsRasterLayer(path, "copy").crs() == layer.crs()
    assert gdal.Open(path).GetRasterBand(1).GetNoDataValue() is None
