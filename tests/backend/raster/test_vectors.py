"""Polygons of change: the classes that they name are those that changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._env import get_gdal_config
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.windows import Window
from shapely.geometry import box

from changen2.raster import outlines, under
from changen2.raster.gdal import gdal_environment
from changen2.raster.grid import Grid
from changen2.raster.vectors import ChangePolygon, Classes, change_polygons, write_polygons

NAMES = {1: "water", 2: "land", 4: "building"}


def _write(path: Path, values: NDArray[np.integer]) -> Path:
    profile = {"driver": "GTiff", "height": 40, "width": 40, "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 500_000, 0, -1, 5_000_000)) as target:
        target.write(values.astype(np.uint8), 1)
    return path


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, Path, Path, Path]:
    """A generous square of change on land, in whose middle stands a new building and in whose corner a pond went."""
    change, before, after = np.zeros((40, 40)), np.full((40, 40), 2), np.full((40, 40), 2)
    change[5:35, 5:35] = 1
    after[15:25, 15:25] = 4
    before[5:9, 5:9] = 1
    layers = {"change": change, "probability": change * 200 + 20, "before": before, "after": after}
    return tuple(_write(tmp_path / f"{name}.tif", values) for name, values in layers.items())


def test_a_polygon_names_its_most_frequent_transition(maps: tuple[Path, Path, Path, Path]) -> None:
    change, probability, before, after = maps
    (polygon,) = change_polygons(change, probability, classes=Classes(before, after, (NAMES, NAMES)))
    assert (polygon.from_class, polygon.to_class) == ("land", "building")
    assert polygon.area_px == 900 and polygon.mean_probability == pytest.approx(219 / 254)


def test_without_any_transition_it_names_what_is_there(maps: tuple[Path, Path, Path, Path]) -> None:
    change, probability, _, after = maps
    (polygon,) = change_polygons(change, probability, classes=Classes(after, after, (NAMES, NAMES)))
    assert (polygon.from_class, polygon.to_class) == ("land", "land")


def test_grades_of_change_are_the_most_frequent_ones(maps: tuple[Path, Path, Path, Path]) -> None:
    change, probability, before, after = maps
    grades = {2: "no damage", 4: "destroyed"}
    (polygon,) = change_polygons(change, probability, classes=Classes(before, after, (NAMES, grades)))
    assert (polygon.from_class, polygon.to_class) == ("land", "no damage")


def test_classes_of_change_are_those_that_mean_one(maps: tuple[Path, Path, Path, Path]) -> None:
    change, probability, before, after = maps
    for unchanged, said in (((0, 2), "destroyed"), ((0, 2, 4), None)):
        classes = Classes(before, after, (NAMES, {2: "no damage", 4: "destroyed"}), unchanged)
        (polygon,) = change_polygons(change, probability, classes=classes)
        assert (polygon.from_class, polygon.to_class) == ("land", said)


def test_polygons_of_any_shape_are_measured_by_their_pixels(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    changed, values = random.random((40, 40)) < 0.3, random.integers(1, 256, (40, 40))
    classes = random.integers(0, 3, (2, 40, 40))
    layers = {"change": changed, "probability": values, "before": classes[0], "after": classes[1]}
    change, probability, before, after = (_write(tmp_path / f"{k}.tif", v) for k, v in layers.items())
    found = list(change_polygons(change, probability, classes=Classes(before, after, ({}, {7: "unlike the other"}))))
    for polygon in found:
        inside = geometry_mask([polygon.geometry], (40, 40), Affine(1, 0, 500_000, 0, -1, 5_000_000), invert=True)
        assert polygon.area_px == inside.sum()
        assert polygon.mean_probability == pytest.approx((values[inside] - 1).mean() / 254)
        modes = [str(np.bincount(dated[inside]).argmax()) for dated in classes]
        assert [polygon.from_class, polygon.to_class] == modes
    assert sum(polygon.area_px for polygon in found) == changed.sum()


def test_a_row_of_blocks_stays_in_the_cache_however_wide_the_raster(tmp_path: Path) -> None:
    """GDAL reads row by row there; where a row of blocks did not fit, each would be unpacked again for every row."""
    path, width = tmp_path / "wide.tif", 140_000
    profile = {"driver": "GTiff", "height": 512, "width": width, "count": 1, "dtype": "uint8", "tiled": True}
    with rasterio.open(path, "w", **profile, blockxsize=512, blockysize=512, sparse_ok=True) as target:
        target.write(np.ones((20, 10), np.uint8), 1, window=Window(139_000, 400, 10, 20))
    held: list[int] = []
    with gdal_environment():
        usual = get_gdal_config("GDAL_CACHEMAX")
        assert usual < 512 * width
        (polygon,) = change_polygons(path, path, on_polygon=lambda _: held.append(get_gdal_config("GDAL_CACHEMAX")))
        assert held[0] >= 512 * width and get_gdal_config("GDAL_CACHEMAX") == usual
    assert polygon.geometry.bounds == (139_000, 400, 139_010, 420)


def test_a_model_without_classes_names_none(maps: tuple[Path, Path, Path, Path]) -> None:
    (polygon,) = change_polygons(*maps[:2])
    assert (polygon.from_class, polygon.to_class) == (None, None)
    assert list(change_polygons(*maps[:2], min_area=2000)) == []


@pytest.mark.parametrize("kept", [[3, 4, 12], [4, 12], [12]])
def test_a_polygon_of_just_the_smallest_area_is_kept(write_raster: Callable[..., Path], kept: list[int]) -> None:
    change = np.zeros((1, 20, 20), np.uint8)
    change[0, 1, 1:4] = change[0, 5:7, 5:7] = change[0, 10:13, 10:14] = 1  # 3, 4 and 12 pixels
    path = write_raster("change.tif", change, crs=None, nodata=255)
    probability = write_raster("probability.tif", change * 200 + 1, crs=None, nodata=0)
    found = change_polygons(path, probability, min_area=kept[0])
    assert sorted(polygon.area_px for polygon in found) == kept


def test_one_can_cancel_while_a_large_map_is_traced(
    maps: tuple[Path, Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlines, "HERE", 0)
    asked: list[int] = []
    assert len(list(change_polygons(*maps[:2], on_polygon=asked.append))) == 1
    assert asked[0] == 0, "before the first polygon"


def test_one_can_cancel_while_a_large_polygon_is_measured(
    maps: tuple[Path, Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under, "CHUNK", 10)
    asked: list[int] = []
    (polygon,) = change_polygons(*maps[:2], on_polygon=asked.append)
    assert set(asked) == {1} and len(asked) >= 9
    assert polygon.mean_probability == pytest.approx(219 / 254)


@pytest.mark.parametrize("count", [0, 1, 6, 7])
def test_what_is_written_in_batches_is_what_is_written_at_once(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(CRS.from_epsg(32633), Affine.identity(), 40, 40)
    classes = [None, None, None, "house"]  # the first batch tells none
    polygons = [
        ChangePolygon(box(at, 0, at + 1, 2), 2.0 + at, at, 0.5, *(classes * 2)[at : at + 2]) for at in range(count)
    ]
    write_polygons(tmp_path / "once.gpkg", polygons, grid)
    monkeypatch.setattr("changen2.raster.vectors.BATCH", 3)
    asked: list[int] = []
    write_polygons(tmp_path / "batches.gpkg", polygons, grid, lambda: asked.append(1))
    assert len(asked) == max(1, -(-count // 3))
    about, found = zip(*(_content(tmp_path / f"{name}.gpkg") for name in ("once", "batches")), strict=True)
    assert about[0] == about[1] and found[0] == found[1] and len(found[0]) == count


def _content(path: Path) -> tuple[dict[str, str], list[tuple[object, ...]]]:
    info = pyogrio.read_info(path, layer="change", force_total_bounds=True)
    _, fids, shapes, columns = pyogrio.raw.read(path, return_fids=True)
    told = {name: str(info[name]) for name in ("crs", "geometry_type", "fields", "dtypes", "total_bounds")}
    return told, [tuple(map(str, row)) for row in zip(fids, shapes, *columns, strict=True)]
