"""What a user says to be no data on a layer's Transparency page reaches the backend."""

import math

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsProcessingFeedback, QgsRasterLayer, QgsRasterRange, QgsRectangle

from changen2_qgis.errors import InputError
from changen2_qgis.layer_nodata import clone, has_own_nodata
from changen2_qgis.raster_pair import RasterPair

BANDS, HEIGHT, WIDTH = 3, 30, 40


@pytest.fixture
def pixels():
    return np.random.default_rng(3).integers(0, 12, (BANDS, HEIGHT, WIDTH), dtype=np.uint8)


@pytest.fixture
def plain(tmp_path, write_raster, pixels):
    return QgsRasterLayer(write_raster(tmp_path / "plain.tif", pixels), "plain")


def with_nodata(path, own, *named):
    """A layer whose user has named values in all bands, and uses the file's value or not."""
    layer = QgsRasterLayer(path, "collar")
    for band in range(1, layer.bandCount() + 1):
        layer.dataProvider().setUserNoDataValue(band, [QgsRasterRange(value, value) for value in named])
        if layer.dataProvider().sourceHasNoDataValue(band):
            layer.dataProvider().setUseSourceNoDataValue(band, own)
    return layer


def handed_over(layer, other, folder):
    """The file that the backend gets of a layer, as a run makes it, on copies."""
    pair = RasterPair(clone(layer), clone(other))
    return pair.files(QgsRectangle(), folder, lambda: 1.0, 100, QgsProcessingFeedback())["before"]


def unknown(path):
    """Where each band means nothing, by the band's nodata value alone."""
    dataset = gdal.Open(path)
    bands = [dataset.GetRasterBand(number) for number in range(1, BANDS + 1)]
    return np.stack([band.ReadAsArray() == band.GetNoDataValue() for band in bands])


@pytest.mark.parametrize("nodata", [None, 7])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("named", [(), (0,), (7,), (300,), (0, 300)])
def test_nodata_is_what_qgis_shows(tmp_path, write_raster, pixels, plain, nodata, own, named):
    layer = with_nodata(write_raster(tmp_path / "collar.tif", pixels, nodata=nodata), own, *named)
    path = handed_over(layer, plain, tmp_path / "in")
    block = [layer.dataProvider().block(band, layer.extent(), WIDTH, HEIGHT) for band in range(1, BANDS + 1)]
    shown = np.array([[[b.isNoData(row, col) for col in range(WIDTH)] for row in range(HEIGHT)] for b in block])
    np.testing.assert_array_equal(unknown(path), shown)
    np.testing.assert_array_equal(gdal.Open(path).ReadAsArray()[~shown], pixels[~shown])
    assert has_own_nodata(layer) == (path != layer.source())


def test_a_value_is_told_as_the_file_stores_it(tmp_path, write_raster, pixels, plain):
    path = write_raster(tmp_path / "scaled.tif", pixels)
    dataset = gdal.Open(path, gdal.GA_Update)
    for number in range(1, BANDS + 1):
        dataset.GetRasterBand(number).SetScale(0.0001)
        dataset.GetRasterBand(number).SetOffset(-0.1)
    dataset = None
    layer = with_nodata(path, True, 5 * 0.0001 - 0.1)
    np.testing.assert_array_equal(unknown(handed_over(layer, plain, tmp_path / "in")), pixels == 5)


def test_not_a_number_needs_no_value(tmp_path, plain):
    path = str(tmp_path / "heights.tif")
    gdal.Translate(path, plain.source(), outputType=gdal.GDT_Float32, noData=math.nan)
    layer = with_nodata(path, True, 5)
    assert unknown(handed_over(layer, plain, tmp_path / "in")).any()
    assert not has_own_nodata(with_nodata(path, False))


@pytest.mark.parametrize("named", [(0, 5), ()])
def test_what_no_file_can_say_is_refused(plain, tmp_path, named):
    layer = with_nodata(plain.source(), True, *named)
    if not named:
        layer.dataProvider().setUserNoDataValue(2, [QgsRasterRange(0, 0)])
    with pytest.raises(InputError, match="several nodata values"):
        handed_over(layer, plain, tmp_path / "in")


def test_a_run_on_a_copy_of_a_broken_layer_is_refused_as_such(plain):
    with pytest.raises(InputError, match="broken"):
        RasterPair(clone(QgsRasterLayer("/nowhere/at.tif", "gone")), plain)
