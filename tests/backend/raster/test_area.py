"""Polygons of interest: on any coordinate system, from any layer, and what cannot be used is said."""

from dataclasses import replace

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from changen2.errors import InputError
from changen2.raster.area import Area, read_changes, read_polygons
from changen2.raster.grid import Grid

GRID = Grid(CRS.from_epsg(32633), Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000), 400, 300)


@pytest.fixture
def layer(tmp_path):
    def write(*polygons, crs="EPSG:4326"):
        path = tmp_path / "aoi.gpkg"
        geometry = np.array([shapely.to_wkb(polygon) for polygon in polygons], dtype=object)
        pyogrio.raw.write(path, geometry, field_data=[], fields=[], geometry_type="Polygon", crs=crs)
        return path

    return write


@pytest.mark.parametrize(
    "around", [shapely.box(-180, -90, 180, 90), shapely.box(-10, 35, 40, 70)], ids=["the world", "a continent"]
)
def test_what_reaches_beyond_the_rasters_coordinate_system_still_covers_it(layer, around):
    area = Area.choose(GRID, aoi=layer(around))
    assert area.window == GRID.window and area.mask(area.window).all()


def test_features_far_away_do_not_matter(layer):
    near = shapely.Polygon([(15.0005, 46.9533), (15.0015, 46.9533), (15.0005, 46.9527)])
    alone = Area.choose(GRID, aoi=layer(near)).mask(GRID.window)
    assert 0 < alone.mean() < 1
    assert (Area.choose(GRID, aoi=layer(near, shapely.box(-100, 20, -70, 50))).mask(GRID.window) == alone).all()


SITE = 'LOCAL_CS["site",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'


def test_local_coordinates_are_related_to_themselves_alone(layer):
    part = shapely.box(500_010, 5_199_900, 500_050, 5_199_960)
    there = Area.choose(replace(GRID, crs=CRS.from_string(SITE)), aoi=layer(part, crs=SITE))
    assert there.window == Area.choose(GRID, aoi=layer(part, crs="EPSG:32633")).window
    for crs, grid in (("EPSG:4326", there.grid), (SITE, GRID)):
        with pytest.raises(InputError, match=r"aoi\.gpkg .*cannot be related") as caught:
            Area.choose(grid, aoi=layer(part, crs=crs))
        assert caught.value.code == "no_overlap" and caught.value.hint


def test_a_spike_masks_no_pixel(layer):
    square = [(15.0003, 46.9532), (15.0008, 46.9532), (15.0008, 46.9529), (15.0003, 46.9529)]
    spiked = [*square[:2], (15.0008, 46.9530), (15.0020, 46.9528), (15.0008, 46.9530), *square[2:]]
    alone = Area.choose(GRID, aoi=layer(shapely.Polygon(square)))
    area = Area.choose(GRID, aoi=layer(shapely.Polygon(spiked)))
    assert area.window == alone.window
    assert alone.mask(GRID.window).any() and (area.mask(GRID.window) == alone.mask(GRID.window)).all()


def test_a_table_without_shapes_is_no_polygon_layer(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no polygon with an area") as caught:
        Area.choose(GRID, aoi=tmp_path / "table.csv")
    assert caught.value.code == "empty_extent"


@pytest.fixture
def reviewed(tmp_path):
    """Write four squares with a value each, by default in the field ``review``."""

    def write(marks, name="review", **others):
        shapes = [shapely.box(500_000 + 10 * place, 5_199_990, 500_005 + 10 * place, 5_199_995) for place in range(4)]
        path = tmp_path / "change.gpkg"
        pyogrio.raw.write(
            path, shapely.to_wkb(np.array(shapes, object)), field_data=[np.array(marks), *others.values()],
            fields=[name, *others], layer="change", geometry_type="Polygon", crs="EPSG:32633",
        )  # fmt: skip
        return path

    return write


def test_what_a_review_rejected_is_no_change_but_lies_in_an_area_of_interest(reviewed):
    path, notes = reviewed(np.array(["confirmed", "rejected", "unreviewed", None], object)), []
    everything = read_polygons(path, GRID)
    assert read_changes(path, GRID, notes) == [everything[0], *everything[2:]] and len(everything) == 4
    (said,) = notes
    assert "1 of 4" in said and "rejected" in said


@pytest.mark.parametrize(
    ("marks", "name"),
    [
        (["good", "rejected", "poor", "rejected"], "review"),
        ([1, 2, 3, 4], "review"),
        (["rejected"] * 4, "opinion"),
        (["unreviewed", "confirmed", "confirmed", ""], "review"),
    ],
)
def test_a_field_that_holds_no_marks_of_a_review_rejects_nothing(reviewed, marks, name):
    notes = []
    values = np.array(marks, object) if isinstance(marks[0], str) else np.array(marks)
    assert len(read_changes(reviewed(values, name), GRID, notes)) == 4 and not notes


def test_a_layer_of_which_all_was_rejected_is_refused(reviewed):
    with pytest.raises(InputError, match="All 4 polygons") as caught:
        read_changes(reviewed(np.array(["rejected"] * 4, object)), GRID, [])
    assert caught.value.code == "empty_extent"


@pytest.mark.parametrize(("steps", "told"), [([1, 2, 2, 3], "1 to 3"), ([2, np.nan, 1, 2], "1 to 2"), ([2] * 4, None)])
def test_events_of_several_steps_are_not_taken_for_one_change_in_silence(reviewed, steps, told):
    notes = []
    path = reviewed(np.array(["create"] * 4, object), "event", step=np.array(steps))
    assert len(read_changes(path, GRID, notes)) == 4
    assert bool(notes) == bool(told) and all(f"steps {told}: " in note for note in notes)


def test_steps_of_other_layers_say_nothing(reviewed):
    notes = []
    assert read_changes(reviewed(np.array([1, 2, 3, 4]), "step"), GRID, notes) and not notes
