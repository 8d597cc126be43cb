"""Images and labels out of files, GeoTIFF among them as detection sees it."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from changen2.errors import InputError
from changen2.raster.grid import Grid
from changen2.raster.reading import FILL, AlignedRaster
from changen2.training.image_files import metres_per_pixel, read_rgb, read_values


def _write(path: Path, bands: np.ndarray, driver: str = "GTiff", **profile: object) -> Path:
    count, height, width = bands.shape
    with rasterio.open(path, "w", driver, width, height, count, dtype=bands.dtype, **profile) as dataset:
        dataset.write(bands)
    return path


def _as_detection_sees(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What is learned from, and where it is known, once it is found to be what detection sees."""
    image, known = read_rgb(path)
    with rasterio.open(path) as dataset:
        grid = Grid.of(dataset)
    with AlignedRaster(path, grid) as raster:
        seen, valid = raster.read(grid.window)
    np.testing.assert_array_equal(known, valid)
    np.testing.assert_array_equal(np.moveaxis(image, -1, 0)[:, known], seen[:, valid])
    return image, known


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_geotiff_looks_as_it_does_to_detection(tmp_path: Path, dtype: str, count: int) -> None:
    values = np.random.default_rng(count).integers(1, 250, (count, 20, 30)).astype(dtype)
    values[:, 5:8] = 0
    path = _write(tmp_path / "image.tif", values, nodata=0, crs="EPSG:32633", transform=Affine(2, 0, 0, 0, -2, 0))
    image, known = _as_detection_sees(path)
    assert (~known).sum() == 90 and (image[~known] == FILL).all()


def test_a_picture_is_read_as_it_is(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (6, 7, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "a.PNG")
    image, known = read_rgb(tmp_path / "a.PNG")
    np.testing.assert_array_equal(image, values)
    assert known.all() and metres_per_pixel(tmp_path / "a.PNG") is None


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_picture_of_16_bits_looks_as_it_does_to_detection(tmp_path: Path, count: int) -> None:
    """Sensors of 12 bits use the lowest sixteenth of the range: PIL would show three bands black and one white."""
    values = np.random.default_rng(count).integers(300, 3000, (count, 20, 30)).astype(np.uint16)
    if count in (2, 4):
        values[-1] = 65535
        values[-1, :2] = 0  # transparent
    path = _write(tmp_path / "image.png", values, "PNG")
    image, known = _as_detection_sees(path)
    assert image[known].min() == 0 and image[known].max() == 255 and 100 < image[known].mean() < 155
    assert (~known).sum() == (60 if count in (2, 4) else 0) and (image[~known] == FILL).all()


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGBA"])
def test_a_picture_of_8_bits_or_fewer_has_the_colours_that_it_shows(tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 7, 3), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    picture.save(tmp_path / "a.png")
    image, known = read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))
    assert known.all()


def test_zero_is_a_number_also_where_it_is_called_nodata(tmp_path: Path) -> None:
    """QGIS gives rasters of drawn polygons a nodata value of 0."""
    values = np.array([[[0, 3], [9, 0]]], np.int32)
    for nodata, known in ((0, [[True] * 2] * 2), (9, [[True, True], [False, True]])):
        found = read_values(_write(tmp_path / f"label_{nodata}.tif", values, nodata=nodata))
        np.testing.assert_array_equal(found[0], values[0])
        assert found[1].tolist() == known


@pytest.mark.parametrize("nodata", [None, 0, 9])
@pytest.mark.parametrize("by", ["mask", "alpha"])
def test_what_a_label_hides_is_not_known_whatever_is_nodata(tmp_path: Path, by: str, nodata: int | None) -> None:
    seen = np.array([[1, 0, 1], [0, 1, 1]], np.uint8) * 255
    label = np.array([[[0, 0, 3], [3, 0, 3]]], np.uint8)
    if by == "alpha":
        path = _write(tmp_path / "label.tif", np.concatenate([label, seen[None]]), nodata=nodata, alpha="yes")
    else:
        path = _write(tmp_path / "label.tif", label, nodata=nodata)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(seen)
    values, known = read_values(path)
    assert (values == label[0]).all() and (known == (seen > 0)).all()


def test_a_label_is_known_where_all_of_its_bands_are(tmp_path: Path) -> None:
    values = np.array([[[1, 9]], [[1, 1]], [[1, 1]]], np.uint8)
    assert read_values(_write(tmp_path / "label.tif", values, nodata=9))[1].tolist() == [[True, False]]


@pytest.mark.parametrize("mode", ["palette", "transparent palette", "bits", "L", "16 bits", "alpha"])
def test_a_picture_of_labels_holds_the_numbers_that_a_raster_reader_finds(tmp_path: Path, mode: str) -> None:
    numbers = np.random.default_rng(0).integers(0, 2 if mode == "bits" else 7, (5, 6), np.uint8)
    if mode == "16 bits":
        numbers = numbers.astype(np.uint16) * 300
    image = Image.fromarray(numbers.astype(bool) if mode == "bits" else numbers)
    if "palette" in mode:
        image.putpalette(list(range(255, 255 - 3 * 7, -1)))
    if mode == "alpha":
        image.putalpha(Image.fromarray(np.eye(5, 6, dtype=np.uint8)))
    image.save(tmp_path / "label.png", **({"transparency": 3} if mode == "transparent palette" else {}))
    values, known = read_values(tmp_path / "label.png")
    np.testing.assert_array_equal(values, numbers)
    assert known.all()


@pytest.mark.parametrize("name", ["label.jpg", "label.tif"])
def test_a_label_that_jpeg_has_blurred_is_refused(tmp_path: Path, name: str) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[13:29, 11:27] = 255
    if name.endswith(".jpg"):
        Image.fromarray(mask).save(tmp_path / name)
    else:
        _write(tmp_path / name, np.stack([mask] * 3), compress="JPEG", photometric="YCBCR")
    with pytest.raises(InputError, match="lossless") as caught:
        read_values(tmp_path / name)
    assert caught.value.code == "bad_value"


def test_metres_per_pixel_are_those_on_the_ground(tmp_path: Path) -> None:
    band = np.ones((1, 4, 4), np.uint8)
    metric = _write(tmp_path / "utm.tif", band, crs="EPSG:32633", transform=Affine(0.3, 0, 5e5, 0, -0.3, 5e6))
    degrees = _write(tmp_path / "deg.tif", band, crs="EPSG:4326", transform=Affine(1e-5, 0, 15, 0, -1e-5, 0))
    assert metres_per_pixel(metric) == pytest.approx(0.3, rel=1e-3)
    assert metres_per_pixel(degrees) == pytest.approx(1.11, rel=1e-2)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        plain = _write(tmp_path / "plain.tif", band)
    assert metres_per_pixel(plain) is None


@pytest.mark.parametrize("name", ["broken.tif", "broken.png"])
@pytest.mark.parametrize("read", [read_rgb, read_values])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, read: object) -> None:
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(InputError, match=name) as caught:
        read(tmp_path / name)
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("name", ["cut.tif", "cut.png"])
@pytest.mark.parametrize("read", [read_rgb, read_values])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, name: str, read: object) -> None:
    values = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
    path = tmp_path / name
    if name.endswith(".tif"):
        _write(path, values, crs="EPSG:32633", transform=Affine(2, 0, 0, 0, -2, 0))
    else:
        Image.fromarray(np.moveaxis(values, 0, -1)).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InputError, match=name) as caught:
        read(path)
    assert caught.value.code == "unreadable"
