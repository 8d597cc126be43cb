"""What of a raster is valid, on its own grid and warped to another, whatever way the file says it."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.shutil import copy as gdal_copy
from rasterio.warp import transform
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.raster.gdal import gdal_environment
from changen2.raster.grid import Grid
from changen2.raster.reading import AlignedRaster, check_overlap, choose_bands, open_raster, warp

UTM = Affine(1, 0, 500_000, 0, -1, 5_000_000)
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@pytest.fixture
def image():
    """Noise ``[3, 60, 80]`` whose left quarter is missing, and where it is there ``[60, 80]``."""
    values = np.random.default_rng(2).integers(60, 100, (3, 60, 80)).astype(np.uint8)
    there = np.ones((60, 80), bool)
    there[:, :20] = False
    return values, there


def virtual(path, sources):
    """A VRT of single-band files as ``gdalbuildvrt -separate`` makes it: each band keeps its type and nodata value."""
    with rasterio.open(sources[0]) as first:
        size = f'rasterXSize="{first.width}" rasterYSize="{first.height}"'
        place = f"<SRS>{first.crs.to_wkt()}</SRS><GeoTransform>{','.join(map(str, first.transform.to_gdal()))}"
    bands = ""
    for number, source in enumerate(sources, 1):
        with rasterio.open(source) as dataset:
            nodata, kind = dataset.nodata, {"uint8": "Byte", "uint16": "UInt16"}[dataset.dtypes[0]]
        bands += f'<VRTRasterBand dataType="{kind}" band="{number}">'
        bands += "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
        bands += f"<SimpleSource><SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        bands += "</VRTRasterBand>"
    path.write_text(f"<VRTDataset {size}>{place}</GeoTransform>{bands}</VRTDataset>")
    return path


def valid_on(path, grid, bands=None):
    """The valid mask of a raster on a grid ``[h, w]``."""
    with gdal_environment(), AlignedRaster(path, grid, bands) as raster:
        return raster.read(grid.window)[1]


def grids_of(path):
    """The raster's own grid; one that reaches beyond it by whole pixels; one of pixels half as large."""
    with open_raster(path) as dataset:
        own = Grid.of(dataset)
    wide = Grid(own.crs, own.transform @ Affine.translation(-9, -5), own.width + 20, own.height + 11)
    return own, wide, own.scaled(2)


def check(path, there, bands=None):
    own, wide, fine = grids_of(path)
    assert (valid_on(path, own, bands) == there).all()
    assert (valid_on(path, wide, bands) == np.pad(there, ((5, 6), (9, 11)))).all()
    # Between pixel centres, the interpolation may take half a pixel of the edge to either side.
    expected = there.repeat(2, axis=0).repeat(2, axis=1)
    assert np.count_nonzero(valid_on(path, fine, bands) != expected) <= 2 * 2 * 120


@pytest.mark.parametrize("nodata", [(0, 255, 0), (7, 7, 7), (0, 0, 9)])
def test_every_band_has_a_nodata_value_of_its_own(image, write_raster, tmp_path, nodata):
    values, there = image
    for band, value in zip(values, nodata, strict=True):
        band[~there] = value
    # One band is enough to know a pixel; what is nodata in one band says nothing in the others.
    values[:, 30, 40] = (nodata[0], 88, nodata[2])
    values[:, 31, 41] = (nodata[2], nodata[0], 88)
    files = [write_raster(f"{i}.tif", values[i : i + 1], nodata=nodata[i]) for i in range(3)]
    check(virtual(tmp_path / "bands.vrt", files), there)


def test_a_band_without_nodata_value_is_there_everywhere(image, write_raster, tmp_path):
    values, _ = image
    values[:, :, :20] = 0
    for order in ((None, 0, 0), (0, 0, None)):
        files = [write_raster(f"{i}.tif", values[i : i + 1], nodata=order[i]) for i in range(3)]
        path = virtual(tmp_path / f"{order[0]}.vrt", files)
        check(path, np.ones((60, 80), bool))


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize(("kind", "least", "most"), [
    ("uint8", 255, 255), ("uint8", 1, 255), ("uint16", 65535, 65535), ("uint16", 1, 255), ("int16", 1, 32767),
    ("uint32", 1, 1), ("float32", 255, 255), ("float32", 1e-3, 1), ("float64", 1, 65535),
])  # fmt: skip
def test_an_alpha_band_of_any_type_tells_what_is_there(image, tmp_path, kind, least, most, nodata):
    """Whatever its numbers: what is not 0 is there."""
    values, there = image
    alpha = np.random.default_rng(4).uniform(least, most, there.shape) * there
    path = tmp_path / "alpha.tif"
    profile = {"driver": "GTiff", "count": 4, "height": 60, "width": 80, "dtype": kind, "crs": "EPSG:32633"}
    place = Affine(0.5, 0, 5e5, 0, -0.5, 52e5)
    with rasterio.open(path, "w", **profile, nodata=nodata, transform=place) as dataset:
        dataset.colorinterp = (*RGB, ColorInterp.alpha)
        dataset.write(np.where(there, values, 0).astype(kind), (1, 2, 3))
        dataset.write(alpha.astype(kind), 4)
    check(path, there)


@pytest.mark.parametrize("nodata", [None, 70])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32"])
def test_a_mask_of_any_image_tells_what_is_there(image, write_raster, kind, nodata):
    """It alone: GDAL keeps it before a nodata value."""
    values, there = image
    values[:, 20:40, 30:50] = 70
    path = write_raster("masked.tif", values.astype(kind), nodata=nodata)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(there)
    check(path, there)


def test_bands_of_several_types_are_refused(image, write_raster, tmp_path):
    values, _ = image
    files = [write_raster("0.tif", values[:1].astype(np.uint16))]
    files += [write_raster(f"{i}.tif", values[i : i + 1]) for i in (1, 2)]
    path = virtual(tmp_path / "mixed.vrt", files)
    own = grids_of(path)[0]
    with pytest.raises(InputError, match="uint16, uint8") as caught:
        AlignedRaster(path, own)
    assert caught.value.code == "bad_band" and "gdal_translate -ot" in caught.value.hint
    assert valid_on(path, own, bands=(2,)).all()


@pytest.mark.parametrize("kind", ["complex_int16", "complex64", "complex128"])
def test_complex_numbers_are_refused_before_half_of_them_is_dropped(write_raster, kind):
    path = write_raster("radar.tif", np.full((1, 8, 8), 3 + 4j, np.complex64), dtype=kind)
    with pytest.raises(InputError, match=kind) as caught:
        open_raster(path)
    assert caught.value.code == "bad_band" and "amplitude" in caught.value.hint


@pytest.mark.parametrize("mosaic", [False, True])
def test_a_change_probability_is_no_image(pair, image, tmp_path, write_raster, difference, mosaic):
    path = difference(*pair, tmp_path / "run")["outputs"]["change_probability"]
    own = grids_of(path)[0]
    if mosaic:
        path = virtual(tmp_path / "mosaic.vrt", [path])
    with pytest.raises(InputError, match="result of a detection") as caught:
        AlignedRaster(path, own)
    assert caught.value.code == "bad_band" and caught.value.hint
    grey = virtual(tmp_path / "both.vrt", [path, write_raster("grey.tif", image[0][:1])])
    assert valid_on(grey, own, bands=(2,)).any(), "another band beside it is"


def test_a_virtual_raster_of_raw_bytes_is_an_image(image, tmp_path):
    (tmp_path / "grey.raw").write_bytes(image[0][0].tobytes())
    path = tmp_path / "grey.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="80" rasterYSize="60"><VRTRasterBand dataType="Byte" band="1" '
        'subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="1">grey.raw</SourceFilename>'
        "<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>80</LineOffset>"
        "</VRTRasterBand></VRTDataset>"
    )
    own = grids_of(path)[0]
    with gdal_environment(), AlignedRaster(path, own) as raster:
        np.testing.assert_array_equal(raster.read(own.window)[0][0], image[0][0])


def listing(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_lies_in_a_side_file_is_read_and_none_is_written(scene, tmp_path, write_raster, difference):
    """A CRS beside a PNG and nodata beside a GeoTIFF, as GDAL, QGIS and others keep what a format or they cannot."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    missing = scene[1].copy()
    missing[:, :, :50] = 0
    with rasterio.open(write_raster("before.tif", scene[0])) as dataset:
        gdal_copy(dataset, inputs / "before.png", driver="PNG", worldfile="YES")
    write_raster("inputs/after.tif", missing)
    band = '<PAMRasterBand band="{}"><NoDataValue>0</NoDataValue></PAMRasterBand>'
    side = "".join(band.format(i) for i in (1, 2, 3))
    (inputs / "after.tif.aux.xml").write_text(f"<PAMDataset>{side}</PAMDataset>")
    before = listing(inputs)
    assert "before.png.aux.xml" in before
    run = difference(inputs / "before.png", inputs / "after.tif", tmp_path / "run")
    assert listing(inputs) == before
    assert not [name for name in listing(tmp_path / "run") if name.endswith(".aux.xml")]
    assert run["summary"]["valid_px"] == 300 * 350 and run["summary"]["change_area_m2"] > 0
    with rasterio.open(run["outputs"]["change"]) as dataset:
        assert dataset.crs == "EPSG:32633"


def test_an_alpha_band_is_never_shown(write_raster):
    path = write_raster("three.tif", np.ones((3, 20, 30), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha)
    with open_raster(path) as dataset:
        assert choose_bands(dataset, None) == (1, 1, 1)


def test_what_is_nodata_has_no_say_in_the_stretch(write_raster):
    values = np.random.default_rng(3).integers(1000, 2000, (3, 60, 80)).astype(np.uint16)
    values[:, :, :40] = 0
    path = write_raster("margin.tif", values, nodata=0)
    with AlignedRaster(path, grids_of(path)[0]) as raster:
        expected = np.percentile(values[:, :, 40:].reshape(3, -1), (2, 98), axis=1)
        np.testing.assert_allclose([raster.stretch.low, raster.stretch.high], expected)


@pytest.mark.parametrize("cover", [140, 530, 600])
def test_a_finer_date_is_averaged_to_its_very_end(write_raster, cover):
    """Of a checkerboard with pixels five times finer any mean is 100, wherever the blocks of the warp end."""
    fine = np.where(np.indices((5 * cover, 5 * cover)).sum(0) % 2, 200, 0).astype(np.uint8)
    transform = Affine(0.1, 0, 500_000, 0, -0.1, 5_200_000)
    path = write_raster("fine.tif", fine[None].repeat(3, 0), transform=transform)
    grid = Grid(CRS.from_epsg(32633), transform @ Affine.scale(5), 600, 600)
    with AlignedRaster(path, grid) as raster:
        values, valid = raster.read(grid.window)
    assert valid.sum() == cover**2
    assert np.abs(values[:, :cover, :cover].astype(int) - 100).max() <= 1


def test_a_grid_may_have_its_middle_beside_the_globe(write_raster):
    grey = np.full((3, 60, 60), 100, np.uint8)
    path = write_raster("grey.tif", grey, transform=Affine(10_000, 0, 200_000, 0, -10_000, 5_500_000))
    grid = Grid(CRS.from_proj4("+proj=ortho +lat_0=47 +lon_0=15"), Affine(5e4, 0, -3e5, 0, -5e4, 3e5), 400, 12)
    with AlignedRaster(path, grid) as raster:
        values, valid = raster.read(grid.window)
    assert valid.any() and (values[:, valid] == 100).all()


MERCATOR = Grid(CRS.from_epsg(3832), Affine(10, 0, 3_337_585, 0, -10, -1_906_000), 400, 400)
"""Around Fiji at 180°, in a projection that knows no edge there."""


@pytest.mark.parametrize("left", [179.97, -180.03])
@pytest.mark.parametrize("turn", [0, 360])
def test_degrees_go_on_beyond_180(write_raster, left, turn):
    degrees = Affine(0.0001, 0, left, 0, -0.0001, -16.96)
    noise = np.random.default_rng(3).integers(60, 100, (3, 800, 600)).astype(np.uint8)
    path = write_raster("degrees.tif", noise, crs="EPSG:4326", transform=degrees)
    own = grids_of(path)[0]
    check_overlap(own, MERCATOR, path, "the other")
    check_overlap(MERCATOR, own, "the other", path)
    assert valid_on(path, MERCATOR).mean() > 0.99
    # The same ground in degrees that are counted the other way round.
    other = replace(own, transform=Affine.translation(turn if left < 0 else -turn, 0) @ own.transform)
    check_overlap(own, other, path, "the other")
    assert valid_on(path, other).all()
    with pytest.raises(InputError, match="do not overlap"):
        check_overlap(replace(own, transform=Affine.translation(3, 0) @ own.transform), MERCATOR, path, "the other")


def footprint(path, grid):
    with gdal_environment(), AlignedRaster(path, grid) as raster:
        return raster.footprint()


def test_the_footprint_is_what_a_raster_takes_of_the_grid(image, write_raster):
    path = write_raster("image.tif", image[0])
    own, wide, fine = grids_of(path)
    assert footprint(path, own) == Window(0, 0, 80, 60) and footprint(path, wide) == Window(9, 5, 80, 60)
    assert footprint(path, fine) == Window(0, 0, 160, 120) and footprint(path, own.scaled(0.3)) == Window(0, 0, 24, 18)
    assert footprint(path, own.shifted(-30.4, 20.6)) == Window(30, 0, 50, 39)
    # By less than half a pixel.
    assert footprint(path, own.shifted(79.7, 0)) is None


@pytest.mark.parametrize("left", [179.97, -180.03])
@pytest.mark.parametrize("turn", [-360, 0, 360])
def test_the_footprint_goes_on_beyond_180(write_raster, left, turn):
    degrees = Affine(0.0001, 0, left, 0, -0.0001, -16.96)
    path = write_raster("degrees.tif", np.ones((3, 800, 600), np.uint8), crs="EPSG:4326", transform=degrees)
    other = Affine.translation(turn, 0) @ degrees @ Affine.translation(100, 200)
    assert footprint(path, replace(grids_of(path)[0], transform=other)) == Window(0, 0, 500, 600)
    taken = footprint(path, MERCATOR)
    there = valid_on(path, MERCATOR)
    assert there[taken.toslices()].sum() == there.sum() > 0.95 * taken.width * taken.height


@pytest.mark.parametrize("west", [-180, 0])
@pytest.mark.parametrize(("crs", "lon", "lat"), [
    ("EPSG:28992", 5, 52), ("EPSG:5514", 15, 50), ("EPSG:3067", 26, 62), ("EPSG:6677", 139.7, 35.7),
    ("EPSG:2056", 8, 47), ("EPSG:2193", 174, -40), ("EPSG:3006", 16, 60), ("EPSG:26986", -71.7, 42.2),
    ("EPSG:31370", 4.4, 50.8), ("EPSG:32633", 15, 50), ("EPSG:3031", 45, -85),
])  # fmt: skip
def test_the_whole_earth_lies_under_every_place(write_raster, crs, lon, lat, west):
    """Though its box folds or bursts in most coordinate systems of a country."""
    degrees = Affine(1, 0, west, 0, -1, 90)
    columns, rows = np.meshgrid(np.arange(360), np.arange(180))
    path = write_raster("earth.tif", np.stack([columns, rows, rows]).astype(np.float32), crs="EPSG:4326",
                        transform=degrees)  # fmt: skip
    earth = grids_of(path)[0]
    (x,), (y,) = transform("EPSG:4326", crs, [lon], [lat])
    grid = Grid(CRS.from_string(crs), Affine(100, 0, x - 5000, 0, -100, y + 5000), 100, 100)
    check_overlap(earth, grid, path, "the place")
    check_overlap(grid, earth, "the place", path)
    assert footprint(path, grid) == grid.window and valid_on(path, grid).all()
    with open_raster(path) as dataset, warp(dataset, grid, Resampling.bilinear) as warped:
        column, row = warped.read((1, 2), window=Window(50, 50, 1, 1)).ravel()
    assert degrees @ (column + 0.5, row + 0.5) == pytest.approx((lon if lon > west else lon + 360, lat), abs=0.01)
    beside = Grid(earth.crs, Affine(0.01, 0, lon + 3, 0, -0.01, lat), 100, 100)
    with pytest.raises(InputError, match="do not overlap"):
        check_overlap(beside, grid, "beside", "the place")
