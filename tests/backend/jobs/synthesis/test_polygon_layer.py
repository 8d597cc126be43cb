"""Drawn polygons with spikes, and beside lines: what encloses nothing is left out, and what is left was said."""

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

from changen2.errors import InputError
from changen2.gpcm.classes import OPEN_EARTH_MAP
from changen2.gpcm.labels import Box
from changen2.jobs.synthesis.events import read_events
from changen2.jobs.synthesis.given_instances import NumberedPolygons
from changen2.jobs.synthesis.polygon_layer import read_polygons
from changen2.raster.grid import Grid

GRID = Grid(None, Affine.identity(), 32, 24)
SQUARE = [(4, 4), (12, 4), (12, 12), (4, 12)]
SPIKED = [*SQUARE[:2], (12, 8), (28, 20), (12, 8), *SQUARE[2:]]


def burnt(path):
    return NumberedPolygons(str(path), GRID).read(Box(0, 0, 24, 32)) > 0


@pytest.fixture
def layer(tmp_path):
    def write(shape):
        path = tmp_path / f"{shape.geom_type}-{shape.length:.0f}.geojson"
        pyogrio.raw.write(
            path, np.array([shapely.to_wkb(shape)]), field_data=[], fields=[], geometry_type="Unknown", crs="EPSG:32633"
        )
        return path

    return write


@pytest.mark.parametrize(
    "shape",
    [
        shapely.Polygon(SPIKED),
        shapely.MultiPolygon([shapely.Polygon(SPIKED), shapely.Polygon([(14, 2), (30, 2), (14, 2)])]),
        shapely.GeometryCollection(
            [shapely.Polygon(SQUARE), shapely.MultiLineString([[(12, 8), (28, 20)], [(1, 1), (30, 1)]])]
        ),
    ],
    ids=["spike", "collapsed part", "line beside"],
)
def test_only_what_encloses_an_area_is_burnt(layer, shape):
    assert np.array_equal(burnt(layer(shape)), burnt(layer(shapely.Polygon(SQUARE))))
    (found,), _, repairs = read_polygons(layer(shape), GRID)
    assert found.equals(shapely.Polygon(SQUARE))
    assert "features 1" in repairs[0]


def test_what_is_sound_stays_as_it_was_drawn(layer):
    shape = shapely.MultiPolygon([shapely.Polygon(SQUARE), shapely.box(20, 3, 22.5, 4)])
    (found,), _, repairs = read_polygons(layer(shape), GRID)
    assert found == shape and not repairs


FAR = {
    "past the poles": shapely.box(500, 95, 600, 120),
    "the other side": shapely.box(-100, -91, -90, -89),
    "another ocean": shapely.box(-170, -40, -160, -30),
    "nowhere": shapely.box(1e30, 1e30, 2e30, 2e30),
}


@pytest.mark.parametrize("far", FAR.values(), ids=FAR)
def test_a_feature_beyond_the_rasters_coordinate_system_lies_outside_it(tmp_path, far):
    grid = Grid(rasterio.crs.CRS.from_epsg(32633), Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000), 400, 300)
    near = shapely.transform(
        shapely.box(500_020, 5_199_880, 500_060, 5_199_960),
        Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform,
        interleaved=False,
    )
    path = tmp_path / "events.gpkg"
    pyogrio.raw.write(
        path, np.array([shapely.to_wkb(shape) for shape in (far, near)]), fields=["event", "to_class"],
        field_data=[np.array(["create"] * 2, object), np.array(["building"] * 2, object)], geometry_type="Polygon",
        crs="EPSG:4326",
    )  # fmt: skip
    (event,), said = read_events(path, grid, OPEN_EARTH_MAP)
    assert shapely.box(40, 80, 120, 240).buffer(1).contains(event.geometry) and event.geometry.area > 12_000
    assert said == ["1 of 2 polygons lie outside the raster and were left out."]
    instances = NumberedPolygons(str(path), grid).read(Box(0, 0, 300, 400))
    assert instances[160, 80] and not instances[20, 300]


@pytest.mark.parametrize("shape", [shapely.Polygon([(2, 2), (9, 9), (2, 2)]), shapely.LineString([(2, 2), (9, 9)])])
def test_a_feature_that_encloses_nothing_is_refused(layer, shape):
    with pytest.raises(InputError, match=f"Feature 1 is .*{shape.geom_type}.* encloses no area"):
        read_polygons(layer(shape), GRID)


def test_instances_keep_their_numbers_where_only_those_near_the_raster_are_read(tmp_path):
    near = shapely.Polygon([(2, 2), (10, 10), (10, 2), (2, 10)])  # a bow-tie
    far = [shapely.box(x, 0, x + 5, 5) for x in range(1000, 1600, 10)]
    path = tmp_path / "instances.gpkg"
    shapes = [*far[:40], near, *far[40:], shapely.box(14, 2, 18, 6)]
    pyogrio.raw.write(path, shapely.to_wkb(shapes), [], [], geometry_type="Polygon", crs="EPSG:32633")
    found = NumberedPolygons(str(path), GRID)
    assert len(found._geometries) == 2 and found.notes == ["Invalid polygons were repaired (features 41)."]
    assert set(np.unique(found.read(Box(0, 0, 24, 32)))) == {0, 41, 62}
