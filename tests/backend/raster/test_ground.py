import math

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.windows import Window
from shapely import Polygon, box, segmentize, union_all
from shapely.affinity import scale, translate

from changen2.raster.grid import Grid
from changen2.raster.ground import area_m2, ground_sampling_distance, pixel_area_m2, pixel_size_m, row_areas_m2

ROWS = [((2, row), (3, row), (3, row + 1), (2, row + 1)) for row in range(3)]
"""Corners of the middle pixel of each row of a grid of 5 columns."""


def grid_at(epsg, lon, lat, pixel):
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    return Grid(CRS.from_epsg(epsg), Affine(pixel, 0, x, 0, -pixel, y), 10, 10)


def test_web_mercator_metres_shrink_with_latitude():
    assert ground_sampling_distance(grid_at(3857, 10, 60, 1.0)) == pytest.approx(math.cos(math.radians(60)), rel=4e-3)


def test_us_feet_are_metres():
    assert ground_sampling_distance(grid_at(2263, -74, 40.7, 1.0)) == pytest.approx(0.3048, rel=1e-3)


def test_degrees_are_metres():
    across, down = pixel_size_m(grid_at(4326, 0, 60, 0.001))
    assert across == pytest.approx(55.8, rel=1e-3)
    assert down == pytest.approx(111.4, rel=1e-3)


def test_grads_are_metres():
    in_degrees, in_grads = (
        pixel_size_m(grid_at(epsg, 2.5, 48, unit)) for epsg, unit in ((4326, 0.0009), (4807, 0.001))
    )
    assert in_grads == pytest.approx(in_degrees, rel=1e-3)


def test_without_crs_nothing_is_known():
    assert ground_sampling_distance(Grid(None, Affine.identity(), 10, 10)) is None
    assert area_m2(box(0, 0, 1, 1), None, 1) is None


# NTF (Paris) of 27572 and 4807 is in grads, from the meridian of Paris.
@pytest.mark.parametrize(
    ("utm", "epsg"), [(32633, 32633), (32633, 3857), (32633, 4326), (32633, 3035), (32631, 27572), (32631, 4807)]
)
def test_the_same_ground_has_the_same_area_in_every_crs(utm, epsg):
    to_crs = Transformer.from_crs(utm, epsg, always_xy=True)
    corners = [
        to_crs.transform(x, y) for x, y in ((5e5, 5.3e6), (5.001e5, 5.3e6), (5.001e5, 5.3001e6), (5e5, 5.3001e6))
    ]
    # The scale factor of UTM on its central meridian is 0.9996, so 100 m of grid are 100.04 m of ground.
    assert area_m2(Polygon(corners), CRS.from_epsg(epsg), 1e3) == pytest.approx(1e4 / 0.9996**2, rel=2e-4)


def test_the_rows_of_a_world_in_degrees_add_up_to_the_ellipsoid():
    world = Grid(CRS.from_epsg(4326), Affine(1, 0, -180, 0, -1, 90), 360, 180)
    areas = row_areas_m2(world)
    assert 360 * areas.sum() == pytest.approx(510_065_621_724_000, rel=1e-4)
    assert np.argmax(areas) in (89, 90) and areas[0] < areas[90] / 100


@pytest.mark.parametrize("turn", [0, 30])
@pytest.mark.parametrize("crs", ["+proj=sinu +R=6371007.181", "ESRI:54009", "EPSG:3035", "EPSG:32610", "EPSG:4326"])
@pytest.mark.parametrize(("lon", "lat"), [(-132.1, 48.7), (14, 45), (-60, -35)])
def test_pixels_measure_what_their_outlines_do(crs, lon, lat, turn):
    """Also where the axes of a projection do not meet at right angles on the ground."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    pixel = 0.004 if crs == "EPSG:4326" else 463.3
    grid = Grid(CRS.from_string(crs), Affine(pixel, 0, x, 0, -pixel, y) @ Affine.rotation(turn), 5, 3)
    outlines = [area_m2(Polygon([grid.transform @ (c, r) for c, r in corners]), grid.crs, pixel) for corners in ROWS]
    assert row_areas_m2(grid) == pytest.approx(outlines, rel=1e-3)
    assert pixel_area_m2(grid) == pytest.approx(outlines[1], rel=1e-3)
    assert ground_sampling_distance(grid) == pytest.approx(outlines[1] ** 0.5, rel=1e-3)


def test_the_rows_of_a_part_are_those_of_the_whole():
    whole = grid_at(3857, 10, 60, 1000.0)
    part = row_areas_m2(whole.crop(Window(0, 3, 10, 2)))
    assert part == pytest.approx(row_areas_m2(whole)[3:5], rel=1e-12)
    assert row_areas_m2(Grid(None, Affine.identity(), 10, 10)) is None


@pytest.mark.parametrize("crs", ["EPSG:3460", "EPSG:32760", "EPSG:32701", "EPSG:3832", "+proj=longlat +lon_wrap=180"])
@pytest.mark.parametrize("west", [-90, -50, 20])
def test_holes_are_measured_across_the_antimeridian_as_elsewhere(crs, west):
    """West of it, across it and east of it."""
    crs = CRS.from_string(crs)
    unit = 1e-5 if crs.is_geographic else 1
    x, y = Transformer.from_crs(4326, crs.to_wkt(), always_xy=True).transform(180, -17)
    shell, hole = (
        translate(scale(box(*bounds), unit, unit, origin=(0, 0)), x, y)
        for bounds in ((-100, -100, 100, 100), (west, -50, west + 60, 50))
    )
    whole, cut = (area_m2(shape, crs, 64) for shape in (shell, hole))
    assert area_m2(shell.difference(hole), crs, 64) == pytest.approx(whole - cut, rel=1e-9)


def test_polygons_with_holes_are_measured_with_their_edges_split():
    """Splitting ring by ring gives what splitting the polygon gives."""
    crs, frame = CRS.from_epsg(32633), box(2e5, 5e6, 8e5, 6e6).difference(box(4e5, 5.2e6, 6e5, 5.8e6))
    apart = box(1e5, 5e6, 1.5e5, 6e6)
    areas = [area_m2(shape, crs, 1e4) for shape in (frame, apart, union_all([frame, apart]))]
    dense = [area_m2(segmentize(shape, 1e4), crs, 1e9) for shape in (frame, apart)]
    assert areas[:2] == dense
    assert areas[2] == pytest.approx(sum(dense), rel=1e-12)
    assert areas[0] != area_m2(frame, crs, 1e9)
