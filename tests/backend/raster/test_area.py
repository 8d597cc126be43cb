"""Polygons of interest: on any coordinate system, from any layer, and what cannot be used is said."""

import warnings
from dataclasses import replace

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS

from changen2.errors import InputError
from changen2.raster.area import Area, read_changes, read_near, read_polygons
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
    alone = Area.choose(GRID, aoi=layer(near))
    assert 0 < alone.mask(GRID.window).mean() < 1
    area = Area.choose(GRID, aoi=layer(near, shapely.box(-100, 20, -70, 50)))
    assert area.window == alone.window and (area.mask(GRID.window) == alone.mask(GRID.window)).all()


def around(grid, crs, step=1.0):
    """Squares of a third of a grid on it and far around it, every one number of the file in its coordinates."""
    left, bottom, right, top = grid.bounds()
    width, height = right - left, top - bottom
    to_own = None if crs is None or grid.crs is None else Transformer.from_crs(grid.crs, crs, always_xy=True).transform
    for column in np.arange(-6, 7):
        for row in np.arange(-6, 7):
            x, y = left + column * width * step, bottom + row * height * step
            square = shapely.box(x, y, x + width / 3, y + height / 3)
            moved = shapely.transform(square, to_own, interleaved=False) if to_own else square
            if np.isfinite(shapely.get_coordinates(moved)).all():
                yield moved


def placed(epsg, x, y, pixel):
    return Grid(CRS.from_epsg(epsg), Affine(pixel, 0, x, 0, -pixel, y), 40, 30)


PLACES = {
    "one CRS": (GRID, "EPSG:32633", True),
    "degrees": (GRID, "EPSG:4326", True),
    "Mercator": (GRID, "EPSG:3857", True),
    "metres for degrees": (placed(4326, 15, 47, 1e-5), "EPSG:32633", True),
    "no CRS of the layer": (GRID, None, True),
    "another turn": (GRID, "EPSG:4326", False),
    "pixels": (Grid(None, Affine.identity(), 40, 30), "EPSG:32633", True),
    "at the antimeridian": (placed(32660, 833_980, 10_000, 1), "EPSG:4326", False),
    "at the pole": (placed(3413, -2_000, 1_500, 100), "EPSG:4326", False),
    "the world": (placed(4326, -180, 75, 5), "EPSG:32633", False),
}


@pytest.mark.parametrize("ending", [".gpkg", ".geojson", ".shp"])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_read_of_a_layer_is_what_lies_on_the_raster(tmp_path, place, ending, monkeypatch):
    (grid, crs, apart), path = PLACES[place], tmp_path / f"layer{ending}"
    if crs is None and ending == ".geojson":
        pytest.skip("GeoJSON always has a CRS")
    shapes = np.random.default_rng(0).permutation(np.array(list(around(grid, crs)), object))
    if place == "another turn":
        shapes[::2] = shapely.transform(shapes[::2], lambda x, y: (x + 360, y), interleaved=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.raw.write(path, shapely.to_wkb(shapes), [], [], geometry_type="Polygon", crs=crs)
    near, area = read_near(path, grid), Area.choose(grid, aoi=path)
    assert apart == (len(near.geometries) < near.count == len(shapes))
    assert list(near.numbers) == sorted(near.numbers)
    monkeypatch.setattr("changen2.raster.area._surroundings", lambda *_: None)
    whole, all_area = read_near(path, grid), Area.choose(grid, aoi=path)
    assert len(whole.geometries) == len(shapes)
    assert [whole.geometries[number - 1] for number in near.numbers] == near.geometries
    assert area.window == all_area.window and area.mask(grid.window).any()
    assert (area.mask(grid.window) == all_area.mask(grid.window)).all()


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


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 1000), count=st.integers(1, 5), factor=st.sampled_from([1, 0.7, 2.5]), south_up=st.booleans()
)
def test_windows_in_which_a_pixel_counts_are_met_and_few_others(seed, count, factor, south_up):
    grid = replace(GRID, transform=GRID.transform @ Affine(1, 0, 0, 0, -1, 300)) if south_up else GRID
    random = np.random.default_rng(seed)
    places = np.stack([random.uniform(500_000, 500_200, count), random.uniform(5_199_850, 5_200_000, count)], 1)
    shapes = list(shapely.buffer(shapely.points(places), random.uniform(0.05, 15, count)))
    area, other = Area(grid, grid.window, shapes), grid.scaled(factor)
    rows, columns = (np.linspace(0, length, 5).astype(int) for length in (other.height, other.width))
    spans = (np.stack([edges[:-1], edges[1:]], 1).astype(float) for edges in (rows, columns))
    met, inside = area.meets(other, *spans), area.mask(grid.window)
    centres = ((np.arange(length) + 0.5) * factor for length in inside.shape)
    at = [
        np.minimum(np.searchsorted(edges, centre) - 1, 3)
        for edges, centre in zip((rows, columns), centres, strict=True)
    ]
    counts = np.zeros((4, 4), bool)
    np.logical_or.at(counts, np.ix_(*at), inside)
    assert met[counts].all() and met.sum() <= counts.sum() + 4 * count
    assert area.is_empty() == (not counts.any())


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


def test_what_a_review_rejected_is_counted_wherever_it_lies(tmp_path):
    left, bottom, _, top = GRID.bounds()
    boxes = [shapely.box(left + step, bottom, left + step + 50, top) for step in (9_000, 10, 18_000)]
    path, notes = tmp_path / "change.gpkg", []
    pyogrio.raw.write(
        path, shapely.to_wkb(boxes), [np.array(["confirmed", "rejected", "confirmed"], object)], ["review"],
        layer="change", geometry_type="Polygon", crs="EPSG:32633",
    )  # fmt: skip
    assert read_changes(path, GRID, notes) == [boxes[0], boxes[2]]
    assert "1 of 3" in notes[0]


def test_a_layer_of_which_all_was_rejected_holds_no_change_and_that_is_told(reviewed):
    notes = []
    assert read_changes(reviewed(np.array(["rejected"] * 4, object)), GRID, notes) == []
    assert len(notes) == 1 and "4 of 4" in notes[0]


@pytest.mark.parametrize(("steps", "told"), [([1, 2, 2, 3], "1 to 3"), ([2, np.nan, 1, 2], "1 to 2"), ([2] * 4, None)])
def test_events_of_several_steps_are_not_taken_for_one_change_in_silence(reviewed, steps, told):
    notes = []
    path = reviewed(np.array(["create"] * 4, object), "event", step=np.array(steps))
    assert len(read_changes(path, GRID, notes)) == 4
    assert bool(notes) == bool(told) and all(f"steps {told}: " in note for note in notes)


def test_steps_of_other_layers_say_nothing(reviewed):
    notes = []
    assert read_changes(reviewed(np.array([1, 2, 3, 4]), "step"), GRID, notes) and not notes
