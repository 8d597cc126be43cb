"""Drawn polygons with spikes, and beside lines: what encloses nothing is left out, and what is left was said."""

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine

from changen2.errors import InputError
from changen2.gpcm.labels import Box
from changen2.jobs.given_instances import NumberedPolygons
from changen2.jobs.polygon_layer import read_polygons
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


@pytest.mark.parametrize("shape", [shapely.Polygon([(2, 2), (9, 9), (2, 2)]), shapely.LineString([(2, 2), (9, 9)])])
def test_a_feature_that_encloses_nothing_is_refused(layer, shape):
    with pytest.raises(InputError, match=f"Feature 1 is .*{shape.geom_type}.* encloses no area"):
        read_polygons(layer(shape), GRID)
