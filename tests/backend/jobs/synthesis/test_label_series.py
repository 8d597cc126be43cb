"""Label rasters as they come: other types, other grids, floats with gaps."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from changen2.errors import InputError
from changen2.gpcm.classes import OPEN_EARTH_MAP, ClassTable
from changen2.gpcm.labels import NODATA, Box
from changen2.jobs.synthesis.label_series import GREY, LabelSource, own_classes
from changen2.raster.grid import Grid
from changen2.raster.vectors import class_tags
from changen2.scenes.sample import write_sample


def written(path: Path, values: np.ndarray, transform: Affine, crs: str = "EPSG:32633", **profile: object) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
        crs=crs, transform=transform, **profile,
    ) as target:  # fmt: skip
        target.write(values, 1)
    return path


def test_labels_on_another_grid_are_taken_by_nearest_neighbour(tmp_path: Path) -> None:
    values = np.arange(9, dtype=np.uint8).reshape(3, 3)
    path = written(tmp_path / "l.tif", values, Affine(4, 0, 1000, 0, -4, 2000))
    grid = Grid(rasterio.crs.CRS.from_epsg(32633), Affine(1, 0, 998, 0, -1, 2000), 16, 12)
    with LabelSource(path, grid) as source:
        assert source.is_warped
        seen = source.read(Box(0, 0, 12, 16))
    assert np.array_equal(seen[:, 2:14], np.kron(values, np.ones((4, 4), np.uint8)))
    assert (seen[:, :2] == NODATA).all() and (seen[:, 14:] == NODATA).all()


@pytest.mark.parametrize("left", [179.968, -180.032])
def test_labels_may_count_degrees_from_the_other_side(tmp_path: Path, left: float) -> None:
    values = np.random.default_rng(1).integers(0, 9, (64, 64), np.uint8)
    path = written(tmp_path / "l.tif", values, Affine(0.001, 0, left, 0, -0.001, 10), "EPSG:4326")
    other = Affine(0.001, 0, -179.968 - 0.064 if left > 0 else 179.968, 0, -0.001, 10)
    with LabelSource(path, Grid(rasterio.crs.CRS.from_epsg(4326), other, 64, 64)) as source:
        assert np.array_equal(source.read(Box(0, 0, 64, 64)), values)


def test_floats_with_gaps(tmp_path: Path) -> None:
    values = np.array([[1, np.nan], [8, 2]], np.float32)
    path = written(tmp_path / "l.tif", values, Affine(1, 0, 10, 0, -1, 20), nodata=np.nan)
    with LabelSource(path) as source:
        assert source.read(Box(0, 0, 2, 2)).tolist() == [[1, NODATA], [8, 2]]


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int8", -1), ("int8", -128), ("int16", -1), ("int32", -9999), ("uint8", 7), ("int8", None)]
)
def test_labels_of_any_integer_type_with_its_nodata_value(tmp_path: Path, dtype: str, nodata: int | None, warped: bool):
    values = np.array([[1, 8], [0, 2]], dtype)
    if nodata is not None:
        values[1, 0] = nodata
    path = written(tmp_path / "l.tif", values, Affine(1, 0, 10, 0, -1, 20), nodata=nodata)
    grid = Grid(rasterio.crs.CRS.from_epsg(32633), Affine(0.5, 0, 10, 0, -0.5, 20), 4, 4) if warped else None
    expected = np.array([[1, 8], [0 if nodata is None else NODATA, 2]])
    with LabelSource(path, grid) as source:
        seen = source.read(Box(0, 0, *source.shape))
    assert np.array_equal(seen, np.kron(expected, np.ones((2, 2))) if warped else expected)


@pytest.mark.parametrize("nodata", [None, 0])
def test_a_warped_mask_knows_nothing_outside(tmp_path: Path, nodata: int | None) -> None:
    values = np.array([[0, 255], [255, 0]], np.uint8)
    path = written(tmp_path / "m.tif", values, Affine(2, 0, 10, 0, -2, 20), nodata=nodata)
    grid = Grid(rasterio.crs.CRS.from_epsg(32633), Affine(1, 0, 9, 0, -1, 20), 6, 4)
    with LabelSource(path, grid, may_be_mask=True) as source:
        seen = source.read(Box(0, 0, 4, 6))
    assert np.array_equal(seen[:, 1:5], np.kron([[0, 8], [8, 0]], np.ones((2, 2))))
    assert (seen[:, [0, 5]] == NODATA).all()


@pytest.mark.parametrize("warped", [False, True])
def test_a_class_that_is_the_nodata_value_is_known(tmp_path: Path, warped: bool) -> None:
    """As of a raster whose background was declared nodata; what a warp adds around it is not known."""
    path = written(tmp_path / "l.tif", np.array([[0, 8], [1, 255]], np.uint8), Affine(2, 0, 10, 0, -2, 20), nodata=0)
    grid = Grid(rasterio.crs.CRS.from_epsg(32633), Affine(2, 0, 8, 0, -2, 20), 3, 2) if warped else None
    with LabelSource(path, grid, may_be_mask=True) as source:
        seen = source.read(Box(0, 0, *source.shape))
        assert seen[:, -2:].tolist() == [[0, 8], [1, NODATA]] and (seen[:, :-2] == NODATA).all()
        assert "taken for unknown" in source.notes[0] and "holds 255" in source.notes[1]
    with LabelSource(path, classes=ClassTable({1: "a", 8: "b"}, {})) as source:
        assert source.read(Box(0, 0, 1, 2)).tolist() == [[NODATA, 8]] and not source.notes


def test_a_negative_value_that_is_not_nodata_is_no_class(tmp_path: Path) -> None:
    path = written(tmp_path / "l.tif", np.array([[1, -1]], np.int8), Affine(1, 0, 10, 0, -1, 20))
    with LabelSource(path) as source, pytest.raises(InputError, match="holds -1, which is no class"):
        source.read(Box(0, 0, 1, 2))


def test_the_samples_labels_bring_their_classes(tmp_path: Path) -> None:
    paths = write_sample(tmp_path, size=128)
    with LabelSource(paths["labels_before"]) as source:
        assert source.classes.names[4] == "building"
        assert source.classes.colours[1] == (66, 133, 200)
        assert source.read(Box(0, 0, 128, 128)).max() <= 5


def test_classes_have_the_colours_of_their_raster_or_those_that_go_with_their_names(tmp_path: Path) -> None:
    names = class_tags({1: "Building", 3: "road", 4: "marsh"})
    own = {1: (1, 2, 3, 255), 3: (4, 5, 6, 255), 4: (7, 8, 9, 255)}
    for colours, expected in (
        (own, [(1, 2, 3), (4, 5, 6), (7, 8, 9)]),
        ({}, [OPEN_EARTH_MAP.colours[8], OPEN_EARTH_MAP.colours[4], GREY]),
    ):
        path = written(tmp_path / "l.tif", np.ones((3, 3), np.uint8), Affine(1, 0, 10, 0, -1, 20))
        with rasterio.open(path, "r+") as target:
            target.update_tags(**names)
            if colours:
                target.write_colormap(1, colours)
        with rasterio.open(path) as dataset:
            found = own_classes(dataset)
        assert found is not None and [found.colours[index] for index in (1, 3, 4)] == expected


@pytest.mark.parametrize(("name", "unknown_counts", "wanted"), [
    ("background", False, 0), ("unknown", True, 0), ("unknown", False, NODATA),
])  # fmt: skip
def test_a_nodata_value_of_0_is_a_class_that_has_a_name(tmp_path: Path, name: str, unknown_counts: bool, wanted: int):
    values = np.array([[0, 8], [8, 8]], np.uint8)
    path = written(tmp_path / "l.tif", values, Affine(1, 0, 10, 0, -1, 20), nodata=0)
    table = ClassTable(names={0: name, 8: "building"}, colours={0: (0, 0, 0), 8: (255, 0, 0)})
    with LabelSource(path, None, table, unknown_counts=unknown_counts) as source:
        assert source.read(Box(0, 0, 2, 2))[0, 0] == wanted
