"""Accuracy and areas from labelled points: on the map they were drawn on, on a later one, and over latitudes."""

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine

from changen2.errors import InputError
from changen2.jobs.evaluate import evaluate

SHAPE = (300, 400)
UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000)


@pytest.fixture
def place(tmp_path):
    """Write points at rows and columns: ``place(rows, columns, field=values, ...)`` returns the path."""

    def write(rows, columns, transform=UTM, crs="EPSG:32633", **fields):
        points = shapely.points(*(transform @ (np.asarray(columns) + 0.5, np.asarray(rows) + 0.5)))
        columns = [np.asarray(values) for values in fields.values()]
        pyogrio.raw.write(
            tmp_path / "points.gpkg", shapely.to_wkb(points), field_data=columns, fields=list(fields),
            geometry_type="Point", crs=crs, nan_as_null=True,
        )  # fmt: skip
        return tmp_path / "points.gpkg"

    return write


@pytest.fixture
def population():
    """A probability of change, the truth, and points drawn on the map at 0.3: 200 on no change, 200 on change."""
    rng = np.random.default_rng(8)
    probability = rng.random(SHAPE) ** 5
    true = rng.random(SHAPE) < probability
    drawn_on = probability >= 0.3
    chosen = [rng.choice(np.flatnonzero(drawn_on == stratum), 200, False) for stratum in (0, 1)]
    return probability, true, drawn_on, np.divmod(np.concatenate(chosen), SHAPE[1])


def test_points_adjust_the_area(population, place, write_raster):
    _, true, drawn_on, there = population
    path = write_raster("map.tif", drawn_on[None].astype(np.uint8))
    found = evaluate(path, None, points=place(*there, reference=true[there].astype(int)))["area_adjusted"]
    assert found["points"] == 400 and found["area_unit"] == "m2" and not found["strata_differ"]
    changed = found["area"][1]
    assert changed["low"] < true.sum() * 0.25 < changed["high"]
    assert abs(drawn_on.sum() * 0.25 - true.sum() * 0.25) > changed["high"] - changed["value"], "the map alone is wrong"
    assert sum(area["value"] for area in found["area"]) == pytest.approx(300 * 400 * 0.25, rel=2e-3)


def test_points_count_as_they_were_drawn_after_the_threshold_moved(population, place, write_raster):
    probability, true, drawn_on, there = population
    said = probability >= 0.6
    moved = write_raster("moved.tif", said[None].astype(np.uint8))
    fields = {"reference": true[there].astype(int), "map": drawn_on[there].astype(int)}
    sizes = np.where(drawn_on[there], drawn_on.sum(), (~drawn_on).sum())
    found = evaluate(moved, None, points=place(*there, **fields, stratum_pixels=sizes))["area_adjusted"]
    assert found["strata_differ"] and found["points"] == 400
    truth = {
        "overall": (said == true).mean(),
        "users": true[said].mean(),
        "producers": said[true].mean(),
        "area": true.sum() * 0.25,
    }
    for name, value in truth.items():
        assert found[name][-1]["low"] < value < found[name][-1]["high"], name
    # What the points say of the truth does not depend on the map that is assessed.
    before = write_raster("before.tif", drawn_on[None].astype(np.uint8))
    again = evaluate(before, None, points=place(*there, **fields, stratum_pixels=sizes))["area_adjusted"]
    assert again["area"] == found["area"] and not again["strata_differ"]
    plain = evaluate(before, None, points=place(*there, reference=fields["reference"]))["area_adjusted"]
    assert again == plain, "the sizes that were stored are those of the map"


def test_strata_of_unknown_size_that_differ_from_the_map_are_refused(population, place, write_raster):
    probability, true, drawn_on, there = population
    points = place(*there, reference=true[there].astype(int), map=drawn_on[there].astype(int))
    assert evaluate(write_raster("same.tif", drawn_on[None].astype(np.uint8)), None, points=points)
    with pytest.raises(InputError, match="no longer says") as caught:
        evaluate(write_raster("moved.tif", (probability >= 0.6)[None].astype(np.uint8)), None, points=points)
    assert "threshold back" in caught.value.hint and "draw and label a new one" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"map": [0, 0, 0, 1, 1, np.nan], "stratum_pixels": [9, 9, 9, 5, 5, np.nan]}, "have no stratum"),
        ({"map": [0, 0, 0, 1, 1, 1], "stratum_pixels": [9, 9, 8, 5, 5, 5]}, "one number of pixels"),
        ({"map": [0, 0, 0, 0, 0, 1], "stratum_pixels": [9, 9, 9, 9, 9, 5]}, "lie in stratum 1"),
        ({"map": [0, 0, 0, 1, 1, 1], "stratum_pixels": [9, 9, 9, 2, 2, 2]}, "3 points .* in stratum 1, which has 2"),
        ({"map": list("aaabbb"), "stratum_pixels": [9, 9, 9, 5, 5, 5]}, "not by a number"),
        ({"reference": [0, 0, 0, 0, 1, 2]}, "allowed are 0 and 1"),
        ({"reference": ["no"] * 6}, "allowed are 0 and 1"),
        ({"reference": [0.0, 0, 0, 0, 0, np.nan]}, "lie on the map's change"),
        ({"reference": [np.nan] * 6, "map": [np.nan] * 6, "stratum_pixels": [np.nan] * 6}, "None of the 6 points"),
    ],
)
def test_bad_samples_are_refused(place, write_raster, fields, said):
    values = np.zeros((1, 10, 10), np.uint8)
    values[:, 5:] = 1
    points = place([0, 1, 2, 3, 6, 7], [1, 2, 3, 4, 5, 6], **{"reference": [0, 0, 0, 0, 1, 1], **fields})
    with pytest.raises(InputError, match=said):
        evaluate(write_raster("map.tif", values), None, points=points)


def test_labels_that_are_all_alike_tell_no_interval_and_that_is_said(place, write_raster):
    """25 points of 50 pixels of 0.25 m²: that other pixels are like them is likely, not known."""
    values = np.zeros((1, 10, 10), np.uint8)
    values[:, 5:] = 1
    rows, columns = np.divmod(np.r_[:25, 50:75], 10)
    reference = (rows >= 5).astype(int)
    reference[-1] = 0
    found = evaluate(write_raster("map.tif", values), None, points=place(rows, columns, reference=reference))
    adjusted = found["area_adjusted"]
    assert adjusted["area"][1]["low"] is adjusted["overall"][0]["high"] is None
    assert 0 < adjusted["users"][1]["low"] < adjusted["users"][1]["value"] < 1
    (told,) = adjusted["unseen"]
    assert "None of 25 labelled points on the map's no change" in told and "up to 2 m² of change" in told
    assert found["warnings"] == [f"{place(rows, columns, reference=reference)}: {told}"]


@pytest.mark.parametrize("told", [True, False], ids=["with its size", "by the map alone"])
@pytest.mark.parametrize("changed", [0, 1])
def test_a_stratum_may_have_a_single_pixel_or_none(place, write_raster, changed, told):
    values = np.zeros((1, 10, 10), np.uint8)
    values[0, :changed, 3] = 1
    rows, columns = np.array([0, 2, 4, 6]), np.full(4, 3)
    fields = {"map": values[0, rows, columns], "stratum_pixels": np.where(values[0, rows, columns], 1, 100 - changed)}
    points = place(rows, columns, reference=[1, 0, 1, 0], **(fields if told else {}))
    area = evaluate(write_raster("map.tif", values), None, points=points)["area_adjusted"]["area"][1]
    share = changed / 100 + (1 - changed / 100) * (1 / 3 if changed else 1 / 2)
    assert area["value"] == pytest.approx(25 * share, rel=2e-3) and area["low"] < area["value"] < area["high"]


def test_a_pixel_that_is_labelled_twice_counts_once(population, place, write_raster):
    """The second time by another person, who has not seen all of them yet."""
    _, true, drawn_on, there = population
    path = write_raster("map.tif", drawn_on[None].astype(np.uint8))
    rows, columns = there
    reference = true[there].astype(float)
    alone = evaluate(path, None, points=place(rows, columns, reference=reference))
    second = np.where(np.arange(400) < 30, reference, np.nan)
    design = {
        "map": drawn_on[there].astype(int),
        "stratum_pixels": np.where(drawn_on, drawn_on.sum(), (~drawn_on).sum())[there],
    }
    twice = {name: np.tile(column, 2) for name, column in design.items()}
    for labels in (np.r_[reference, second], np.r_[second, reference]):
        found = evaluate(path, None, points=place(np.tile(rows, 2), np.tile(columns, 2), reference=labels, **twice))
        assert found["area_adjusted"] == alone["area_adjusted"]
        assert len(found["warnings"]) == 1 and "30 labelled points" in found["warnings"][0]
    second[:3] = 1 - second[:3]
    points = place(np.tile(rows, 2), np.tile(columns, 2), reference=np.r_[reference, second])
    with pytest.raises(InputError, match=r"both change and no change .* in 3 pixels") as caught:
        evaluate(path, None, points=points)
    assert caught.value.code == "bad_value" and caught.value.hint


@pytest.mark.parametrize("fields", [{}, {"map": [], "stratum_pixels": []}])
def test_a_layer_without_points_is_refused(place, write_raster, fields):
    points = place([], [], **{name: np.zeros(0) for name in ("reference", *fields)})
    with pytest.raises(InputError, match="holds no point") as caught:
        evaluate(write_raster("map.tif", np.zeros((1, 10, 10), np.uint8)), None, points=points)
    assert caught.value.code == "bad_value" and caught.value.hint


def test_features_without_a_point_are_left_out_with_their_fields(tmp_path, place, write_raster):
    values = np.zeros((1, 10, 10), np.uint8)
    values[:, 5:] = 1
    path = write_raster("map.tif", values)
    rows, fields = np.array([0, 1, 2, 6, 7, 8]), {"reference": np.array([0, 1, 0, 1, 1, 0])}
    fields |= {"map": np.repeat([0, 1], 3), "stratum_pixels": np.repeat(50, 6)}
    expected = evaluate(path, None, points=place(rows, rows, **fields))
    _, _, wkb, columns = pyogrio.raw.read(tmp_path / "points.gpkg")
    with_holes = np.array([None, shapely.to_wkb(shapely.Point()), *wkb], object)
    pyogrio.raw.write(
        tmp_path / "holes.gpkg", with_holes, geometry_type="Point", crs="EPSG:32633",
        field_data=[np.array([1, 0, *column]) for column in columns], fields=list(fields),
    )  # fmt: skip
    assert evaluate(path, None, points=tmp_path / "holes.gpkg") == expected


@pytest.mark.parametrize("wrong", [0, 1, 2, 4])
def test_whatever_interval_is_not_known_it_is_said_why(place, write_raster, wrong):
    """Both labels in each stratum, and the map, which was changed since, right at all of the points, some or none."""
    values = np.zeros((1, 10, 10), np.uint8)
    values[:, :, 5:] = 1
    path, there = write_raster("map.tif", values), ([1, 1, 6, 6], [1, 8, 1, 8])
    true = values[0][there] ^ (np.arange(4) < wrong)
    points = place(*there, reference=true.astype(int), map=[0, 0, 1, 1], stratum_pixels=[50] * 4)
    found = evaluate(path, None, points=points)
    adjusted = found["area_adjusted"]
    estimates = [each for name in ("overall", "users", "producers", "area") for each in adjusted[name] if each]
    assert bool(adjusted["unseen"]) == any(each["low"] is None for each in estimates)
    assert all(any(reason in warning for warning in found["warnings"]) for reason in adjusted["unseen"])


def test_a_point_that_has_no_place_in_the_maps_crs_is_not_on_the_map(place, write_raster):
    values = np.zeros((1, 10, 10), np.uint8)
    values[:, 5:] = 1
    rows, columns = [0, 1, 6, 7, 95], [0, 1, 2, 3, 0]
    degrees = Affine(1, 0, 20, 0, 1, -0.5)
    transform = Affine(111_319, 0, 2_226_000, 0, 111_319, 0)
    path = write_raster("mercator.tif", values, transform=transform, crs="EPSG:3395")
    points = place(rows, columns, degrees, "EPSG:4326", reference=[0, 0, 1, 1, 1])
    assert evaluate(path, None, points=points)["area_adjusted"]["points"] == 4


def test_a_field_of_words_is_somebody_elses(place, write_raster):
    values = np.zeros((1, 10, 10), np.uint8)
    values[:, 5:] = 1
    points = place([0, 1, 6, 7], [1, 2, 3, 4], reference=[0, 0, 1, 1], map=list("abcd"))
    assert evaluate(write_raster("map.tif", values), None, points=points)["area_adjusted"]["points"] == 4


def test_points_beside_the_map_stand_for_what_is_there(population, place, write_raster):
    """Of a sample over more than the map shows, only what lies on the map is told."""
    _, true, drawn_on, there = population
    sizes = np.where(drawn_on[there], drawn_on.sum(), (~drawn_on).sum())
    values = drawn_on[None].astype(np.uint8)
    values[:, :100] = 255
    points = place(*there, reference=true[there].astype(int), map=drawn_on[there].astype(int), stratum_pixels=sizes)
    found = evaluate(write_raster("part.tif", values, nodata=255), None, points=points)["area_adjusted"]
    assert found["points"] == (there[0] >= 100).sum()
    assert found["area"][1]["low"] < true[100:].sum() * 0.25 < found["area"][1]["high"]


@pytest.mark.parametrize("stratum", [0, 1])
def test_a_stratum_of_which_no_point_is_left_is_missed(population, place, write_raster, stratum):
    """What is left would be taken for the whole map; on its own part of it, it tells what it did."""
    _, true, drawn_on, there = population
    sizes = np.where(drawn_on[there], drawn_on.sum(), (~drawn_on).sum())
    fields = {"reference": true[there].astype(int), "map": drawn_on[there].astype(int), "stratum_pixels": sizes}
    left = drawn_on[there] == stratum
    points = place(*(axis[left] for axis in there), **{name: values[left] for name, values in fields.items()})
    with pytest.raises(InputError, match=f"have {sizes[left][0]:,} pixels .* the map has 120,000") as caught:
        evaluate(write_raster("map.tif", drawn_on[None].astype(np.uint8)), None, points=points)
    assert caught.value.code == "bad_value" and caught.value.hint
    values = np.where(drawn_on == stratum, stratum, 255)[None].astype(np.uint8)
    found = evaluate(write_raster("part.tif", values, nodata=255), None, points=points)["area_adjusted"]
    assert not found["strata_differ"] and found["points"] == left.sum()
    assert found["area"][1]["low"] < true[drawn_on == stratum].sum() * 0.25 < found["area"][1]["high"]


def test_areas_of_a_map_in_degrees_are_summed_row_by_row(place, write_raster):
    """From the equator to 80° north: the centre's pixels are much smaller than the mean, and change is in the south."""
    transform = Affine(0.1, 0, 10, 0, -0.1, 80)
    values = np.zeros((1, 800, 20), np.uint8)
    values[:, 600:] = 1
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.integers(0, 600, 50), rng.integers(600, 800, 50)])
    columns = rng.integers(0, 20, 100)
    reference = (rows >= 600).astype(int)
    reference[[0, -1]] ^= 1
    points = place(rows, columns, transform, "EPSG:4326", reference=reference)
    path = write_raster("map.tif", values, transform=transform, crs="EPSG:4326")
    found = evaluate(path, None, points=points)["area_adjusted"]
    # Zones of two degrees of the sphere of the same area as the ellipsoid, to half a percent.
    zone = 2 * np.pi * 6_371_007.2**2 * 2 / 360
    no_change, change = (zone * (np.sin(np.radians(top)) - np.sin(np.radians(low))) for top, low in ((80, 20), (20, 0)))
    assert sum(area["value"] for area in found["area"]) == pytest.approx(no_change + change, rel=5e-3)
    assert found["area"][1]["low"] <= change * 1.005 and found["area"][1]["high"] >= change * 0.995


def test_what_lies_beside_the_ellipsoid_has_no_area_and_leaves_the_rest_in_metres(place, write_raster, monkeypatch):
    """The earth as a disc, whose edge crosses the last column that holds anything."""
    monkeypatch.setattr("changen2.jobs.evaluation.labelled_points.SIDE", 64)
    crs, transform = "+proj=ortho +lat_0=0 +lon_0=0 +ellps=WGS84", Affine(1e5, 0, 0, 0, -1e5, 3.2e6)
    values = np.zeros((1, 64, 128), np.uint8)
    values[:, 32:] = 1
    values[:, :, 64:] = 255
    path = write_raster("disc.tif", values, transform=transform, crs=crs, nodata=255)
    rows, columns = [3, 9, 20, 28, 35, 40, 52, 60], [5, 30, 40, 63, 8, 20, 50, 63]
    reference = np.array([0, 1, 0, 0, 1, 0, 1, 0])
    found = [
        evaluate(path, None, points=place(rows, columns, transform, crs, reference=labels))["area_adjusted"]
        for labels in (reference, np.where(np.array(columns) == 63, 1 - reference, reference))
    ]
    assert found[0]["area_unit"] == "m2" and 1e13 < found[0]["area"][1]["value"] < 1e14
    assert found[0]["area"] == found[1]["area"], "what is said of a pixel without area changes no area"


def test_known_strata_tell_the_area_of_a_map_that_says_no_change_any_more(population, place, write_raster):
    _, true, drawn_on, there = population
    fields = {"reference": true[there].astype(int), "map": drawn_on[there].astype(int)}
    points = place(*there, **fields, stratum_pixels=np.where(drawn_on[there], drawn_on.sum(), (~drawn_on).sum()))
    found = [
        evaluate(write_raster("map.tif", values[None].astype(np.uint8)), None, points=points)["area_adjusted"]
        for values in (drawn_on, drawn_on & False)
    ]
    assert found[0]["area"] == found[1]["area"] and found[1]["users"][1] is None
    assert found[1]["matrix"][1] == [0, 0]
