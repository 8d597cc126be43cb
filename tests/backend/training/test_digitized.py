"""Pairs cut out of two rasters: what is known, what changed, and what is held out."""

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.raster.gdal import gdal_environment
from changen2.raster.grid import Grid
from changen2.raster.reading import open_raster
from changen2.training import digitized
from changen2.training.digitized import read_digitized, split, tiles
from changen2.training.places import IGNORE


@pytest.fixture
def draw(tmp_path):
    """Write boxes, given in pixels (left, top, right, bottom) of the rasters in `write_raster`, as polygons."""

    def write(name, *boxes, **fields):
        shapes = [
            shapely.box(500_000 + left / 2, 5_200_000 - bottom / 2, 500_000 + right / 2, 5_200_000 - top / 2)
            for left, top, right, bottom in boxes
        ]
        path = tmp_path / name
        wkb = np.array([shapely.to_wkb(shape) for shape in shapes], object)
        columns = {"fields": [*fields], "field_data": [np.array(values, object) for values in fields.values()]}
        pyogrio.raw.write(path, wkb, **columns, geometry_type="Polygon", crs="EPSG:32633")
        return path

    return write


def test_labels_follow_the_polygons_and_what_was_looked_through(write_raster, draw):
    before = np.full((3, 128, 512), 90, np.uint8)
    before[:, :, :10] = 0
    after = before.copy()
    after[:, 40:60, 40:80] = 200
    paths = write_raster("a.tif", before, nodata=0), write_raster("b.tif", after)
    changes = draw("changes.gpkg", (40, 40, 80, 60), (150, 20, 190, 60), (400, 50, 420, 70))
    with gdal_environment():
        pairs = read_digitized(*paths, changes, 0.5, aoi=draw("aoi.gpkg", (0, 0, 512, 100)))
    first = pairs[0]
    assert first.before.image.shape == first.after.image.shape and first.after.image[50, 50, 0] == 200
    assert (first.change.label[40:60, 40:80] == 1).all() and first.change.label[39, 50] == 0
    assert (first.change.label[:, :10] == IGNORE).all(), "nodata is not known"
    assert (first.change.label[100:] == IGNORE).all(), "nor is what nobody looked at"
    held = [pair for pair in pairs if pair.before.held_out]
    assert sum(int((pair.change.label == 1).sum()) for pair in held) == 20 * 20
    assert all((pair.before.label == IGNORE).all() for pair in pairs)


def test_what_a_review_rejected_teaches_as_if_it_had_not_been_drawn(write_raster, draw):
    path = write_raster("a.tif", np.full((3, 128, 512), 90, np.uint8))
    boxes, marks = [(40, 40, 80, 60), (150, 20, 190, 60), (400, 50, 420, 70)], ["unreviewed", "rejected", "confirmed"]
    notes = []
    with gdal_environment():
        pairs = read_digitized(path, path, draw("all.gpkg", *boxes, review=marks), 0.5, notes=notes)
        alone = read_digitized(path, path, draw("kept.gpkg", boxes[0], boxes[2]), 0.5)
    labels = [[pair.change.label.tolist() for pair in found] for found in (pairs, alone)]
    assert labels[0] == labels[1] and "1 of 3" in notes[0]
    with gdal_environment(), pytest.raises(InputError, match="were rejected") as caught:
        read_digitized(path, path, draw("none.gpkg", *boxes, review=["rejected"] * 3), 0.5)
    assert caught.value.code == "empty_extent"


def test_one_end_is_held_out(write_raster):
    with open_raster(write_raster("a.tif", np.ones((1, 100, 1000), np.uint8))) as dataset:
        grid = Grid.of(dataset)
    boxes = [shapely.box(*grid.crop(Window(x, 40, 20, 20)).bounds()) for x in range(50, 950, 100)]
    learned, held = split(grid.window, boxes, grid)
    assert (learned.width, held.col_off, held.width, held.height) == (810, 810, 190, 100)
    with pytest.raises(InputError, match="1 of the changes lie"):
        split(grid.window, boxes[:1], grid)
    with pytest.raises(InputError, match="too close together"):
        split(grid.window, [boxes[0].buffer(1), boxes[0]], grid)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("height", "width"), [(384, 384), (384, 400)])
def test_what_leaves_too_little_across_one_side_is_cut_across_the_other(write_raster, height, width, turned):
    places = [(30, 30), (60, 100), (150, 200), (200, 60), (300, 300), (350, 150)]
    if turned:
        height, width, places = width, height, [place[::-1] for place in places]
    with open_raster(write_raster("a.tif", np.ones((1, height, width), np.uint8))) as dataset:
        grid = Grid.of(dataset)
    boxes = [shapely.box(*grid.crop(Window(left, top, 24, 24)).bounds()) for left, top in places]
    for parts in (split(grid.window, boxes, grid), split(grid.window, boxes[::-1], grid)):
        seen = np.zeros((height, width), int)
        for part in parts:
            assert min(part.width, part.height) >= 64
            seen[part.toslices()] += 1
        assert (seen == 1).all()
        held = [box.within(shapely.box(*grid.crop(parts[1]).bounds())) for box in boxes]
        assert 0 < sum(held) < len(boxes)


def test_tiles_cover_a_part_once():
    seen = np.zeros((700, 500), int)
    for tile in tiles(Window(0, 0, 500, 700)):
        seen[tile.row_off : tile.row_off + tile.height, tile.col_off : tile.col_off + tile.width] += 1
        assert min(tile.width, tile.height) >= 128 and max(tile.width, tile.height) <= 384
    assert (seen == 1).all()


def test_tiles_without_change_are_no_more_than_needed(write_raster, draw, monkeypatch):
    monkeypatch.setattr(digitized, "TILE", 32)
    path = write_raster("a.tif", np.ones((3, 320, 640), np.uint8))
    changes = draw("c.gpkg", (5, 5, 10, 10), (612, 5, 616, 10))
    with gdal_environment():
        pairs = read_digitized(path, path, changes, 0.5)
    changed = [bool((pair.change.label == 1).any()) for pair in pairs]
    assert (changed.count(True), changed.count(False)) == (2, 16)


def test_tiles_without_change_lie_in_what_was_looked_through_and_is_known(write_raster, draw, monkeypatch):
    monkeypatch.setattr(digitized, "TILE", 32)
    pixels = np.ones((3, 640, 1280), np.uint8)
    pixels[:, :64] = 0  # unknown
    path = write_raster("a.tif", pixels, nodata=0)
    changes = draw("c.gpkg", (5, 69, 10, 74), (1252, 69, 1256, 74))
    area = draw("aoi.gpkg", (0, 0, 192, 128), (1120, 0, 1280, 128))
    with gdal_environment():
        pairs = read_digitized(path, path, changes, 0.5, aoi=area)
    changed = [bool((pair.change.label == 1).any()) for pair in pairs]
    assert (changed.count(True), changed.count(False)) == (2, 16)
    assert all((pair.change.label != IGNORE).any() for pair in pairs)


def test_a_rotated_raster_is_refused(write_raster, draw):
    turned = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000) @ Affine.rotation(40)
    path = write_raster("a.tif", np.ones((3, 64, 64), np.uint8), transform=turned)
    with gdal_environment(), pytest.raises(InputError, match="rotated"):
        read_digitized(path, path, draw("c.gpkg", (5, 5, 10, 10)), 0.5)
