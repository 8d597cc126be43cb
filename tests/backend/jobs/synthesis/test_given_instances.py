"""Removal of instances that somebody brings along, as a raster or as polygons, from images without labels."""

import json
from itertools import pairwise

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import shapes
from shapely.geometry import shape

from changen2.errors import InputError
from changen2.jobs.simulate import simulate

TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000)
SHAPE = 600, 700
ALL = {"removal_probability": 1.0}


@pytest.fixture
def image(write_raster):
    return write_raster("image.tif", np.random.default_rng(0).integers(60, 140, (3, *SHAPE)).astype(np.uint8))


@pytest.fixture
def numbers():
    """Thirty huts, and a hall that lies on the corner of four blocks of the work."""
    values = np.zeros(SHAPE, np.int32)
    for number in range(30):
        top, left = 20 + 95 * (number // 6), 20 + 110 * (number % 6)
        values[top : top + 14, left : left + 25] = number + 1
    values[490:540, 480:560] = 1000
    return values


@pytest.fixture
def raster(write_raster, numbers):
    return write_raster("instances.tif", numbers[None])


def layer_of(numbers, path, crs="EPSG:32633"):
    """The instances as polygons, in the order of their numbers."""
    found = {int(value): shape(outline) for outline, value in shapes(numbers, numbers > 0, transform=TRANSFORM)}
    polygons = [found[number] for number in sorted(found)]
    if crs != "EPSG:32633":
        from pyproj import Transformer

        moved = Transformer.from_crs("EPSG:32633", crs, always_xy=True).transform
        polygons = [shapely.transform(polygon, moved, interleaved=False) for polygon in polygons]
    pyogrio.raw.write(
        path, geometry=shapely.to_wkb(np.array(polygons, dtype=object)), geometry_type="Polygon", crs=crs,
        driver="GPKG", fields=[], field_data=[],
    )  # fmt: skip
    return path


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def went(out):
    return read(out / "change_t0_t1.tif") == 1


def test_whole_instances_go_and_nothing_else(image, raster, numbers, tmp_path):
    result = simulate(image, tmp_path / "out", instances=raster, seed=3, removal_probability=0.5)
    gone = went(tmp_path / "out")
    chosen = set(np.unique(numbers[gone])) - {0}
    assert 5 < len(chosen) < 26
    assert np.array_equal(gone, np.isin(numbers, list(chosen)))
    assert result["summary"]["events"] == {"remove": len(chosen)}
    assert np.array_equal(read(tmp_path / "out" / "labels_t0.tif"), numbers > 0)


@pytest.mark.parametrize("as_polygons", [False, True])
def test_instances_in_an_archive(image, raster, numbers, tmp_path, zipped, as_polygons):
    given = layer_of(numbers, tmp_path / "layer.gpkg") if as_polygons else raster
    for name, instances in (("plain", given), ("packed", zipped(given))):
        simulate(image, tmp_path / name, instances=instances, seed=3, removal_probability=0.5)
        told = json.loads((tmp_path / name / "manifest.json").read_text())["inputs"]["instances"]
        assert told["path"] == str(instances) and ("features" if as_polygons else "dtypes") in told
    assert np.array_equal(went(tmp_path / "plain"), went(tmp_path / "packed"))


def test_what_lies_in_several_blocks_is_one_event(image, raster, numbers, tmp_path):
    simulate(image, tmp_path / "out", instances=raster, **ALL)
    assert np.array_equal(went(tmp_path / "out"), numbers > 0)
    meta, _, wkb, fields = pyogrio.raw.read(tmp_path / "out" / "change_events.gpkg")
    areas = fields[list(meta["fields"]).index("area_px")]
    assert len(areas) == 31 and areas.max() == 50 * 80
    hall = shapely.from_wkb(wkb)[areas.argmax()]
    assert hall.area == pytest.approx(50 * 80 * 0.25) and len(shapely.get_parts(hall)) == 1


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_polygons_are_the_instances_that_they_cover(image, numbers, tmp_path, crs):
    layer = layer_of(numbers, tmp_path / "huts.gpkg", crs)
    simulate(image, tmp_path / "out", instances=layer, **ALL)
    assert np.array_equal(went(tmp_path / "out"), numbers > 0)


def test_a_raster_on_another_grid_is_warped_and_that_is_said(image, write_raster, numbers, tmp_path):
    fine = write_raster(
        "fine.tif", np.kron(numbers, np.ones((2, 2), np.int32))[None], transform=TRANSFORM @ Affine.scale(0.5)
    )
    result = simulate(image, tmp_path / "out", instances=fine, **ALL)
    assert np.array_equal(went(tmp_path / "out"), numbers > 0)
    assert any("warped" in warning for warning in result["warnings"])


def test_each_instance_goes_once(image, raster, numbers, tmp_path):
    simulate(image, tmp_path / "out", instances=raster, steps=6, removal_probability=0.4)
    maps = [read(tmp_path / "out" / f"labels_t{step}.tif") for step in range(7)]
    for now, then in pairwise(maps):
        assert (then <= now).all()
    assert maps[-1].sum() < maps[0].sum() / 2


def test_instances_that_nobody_gave_are_those_of_the_image(write_raster, tmp_path):
    values = np.random.default_rng(5).integers(95, 105, (3, 200, 200)).astype(np.uint8)
    values[:, 40:70, 50:90] += 80
    image = write_raster("square.tif", values)
    result = simulate(image, tmp_path / "out", instances="auto", **ALL)
    gone = went(tmp_path / "out")
    assert gone[45:65, 55:85].all() and gone.sum() < 1.3 * 30 * 40
    assert any("regions of even colour" in warning for warning in result["warnings"])


def test_a_synthesis_removes_them_in_an_extent_as_everywhere(image, raster, numbers, flat, tmp_path):
    given = {"instances": raster, "removal_probability": 0.5, "seed": 3, "sampling_steps": 4}
    flat(image, tmp_path / "whole", **given)
    x, y = TRANSFORM @ (400, 420)
    flat(image, tmp_path / "part", bounds=(x, y - 100, x + 100, y), **given)
    whole, part = went(tmp_path / "whole"), went(tmp_path / "part")
    assert part.any() and np.array_equal(part, whole[420:620, 400:600])
    assert np.array_equal(whole, np.isin(numbers, np.unique(numbers[whole])))


def test_refusals(image, raster, write_raster, numbers, flat, tmp_path):
    out = tmp_path / "out"
    halves = write_raster("halves.tif", numbers[None] / np.float32(2))
    two = write_raster("two.tif", np.stack([numbers, numbers]))
    away = layer_of(numbers, tmp_path / "away.gpkg")
    far = write_raster("far.tif", np.zeros((3, 50, 50), np.uint8), transform=Affine.translation(400_000, 0) @ TRANSFORM)
    for arguments, message in (
        ((image, out, {"instances": halves}), r"halves.tif holds 0\.5, which is no number of an instance"),
        ((image, out, {"instances": two}), "has 2 bands"),
        ((far, out, {"instances": away}), "None of the 31 polygons"),
        ((far, out, {"instances": raster}), "do not overlap"),
        ((image, out, {"instances": tmp_path / "none.gpkg"}), "There is no file"),
        ((image, out, {"instances": raster, "events": "create"}), "only removal can be simulated"),
        ((image, out, {"instances": raster, "classes": tmp_path / "classes.csv"}), "instances have no classes"),
    ):
        path, folder, options = arguments
        with pytest.raises(InputError, match=message):
            simulate(path, folder, **options)
        assert not out.exists() or not list(out.iterdir())
    with pytest.raises(InputError, match="beside labels"):
        flat(image, out, instances=raster, labels=raster)
