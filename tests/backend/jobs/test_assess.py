"""The assessment of a change map: places found and reported in vain, the map of both, and points half labelled."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine

from changen2.errors import Cancelled, InputError
from changen2.jobs import assess
from changen2.jobs.runs.progress import Reporter
from changen2.protocol import EvaluateRequest, validate


def run(prediction, reference=None, out="", reporter=None, **options):
    given = {"prediction": str(prediction), "out_dir": str(out), **options}
    request = validate(EvaluateRequest, given | ({"reference": str(reference)} if reference else {}))
    return assess.run(request, reporter or Reporter())


@pytest.fixture
def known():
    """Three places: one across the border of two blocks, one that touches itself by a corner, one small."""
    label = np.zeros((1, 300, 2100), np.uint8)
    label[:, 100:140, 2030:2070] = 255
    label[:, 200:220, 10:30] = label[:, 220:240, 30:50] = 255
    label[:, 20:24, 20:24] = 255
    return label


@pytest.fixture
def reported(known):
    """The first found wholly, the second in a quarter, the third not; one place in vain, one beside a hit."""
    values = np.zeros_like(known)
    values[:, 95:140, 2030:2070] = 1
    values[:, 200:210, 10:30] = 1
    values[:, 250:260, 500:520] = 1
    values[:, :, 1500:1600] = 255
    return values


def test_a_map_in_an_archive_is_assessed_alike(known, reported, write_raster, tmp_path, zipped):
    paths = write_raster("map.tif", reported, nodata=255), write_raster("known.tif", known)
    plain, packed = run(*paths, tmp_path / "plain"), run(*map(zipped, paths), tmp_path / "packed")
    assert plain["summary"] == packed["summary"]


def test_places_are_told_apart(known, reported, write_raster, tmp_path):
    result = run(
        write_raster("map.tif", reported, nodata=255), write_raster("known.tif", known), tmp_path / "run/assessment"
    )
    summary = result["summary"]
    assert summary["places"] == {"known": 3, "found": 1, "found_in_part": 1, "reported": 3, "false": 1}
    objects = summary["objects"]
    assert (objects["found"], objects["right"]) == (1, 2)
    assert objects["recall_low"] < objects["recall"] < objects["recall_high"]
    assert summary["outcome_px"] == {
        "hit": 1600 + 200, "missed": 600 + 16, "false": 200 + 200, "right": 300 * 2000 - 1600 - 200 - 616 - 400
    }  # fmt: skip
    assert summary["outcome_m2"]["false"] == pytest.approx(100, rel=2e-3)
    assert summary["precision"] == pytest.approx(1800 / 2200)
    with rasterio.open(result["outputs"]["assessment"]) as written:
        values = written.read(1)
        assert written.nodata == 255 and written.tags()["CLASS_2"] == "Missed"
        assert written.colormap(1)[3][:3] == (213, 94, 0)
    assert [values[place] for place in ((120, 2050), (22, 22), (255, 510), (0, 0), (0, 1550))] == [1, 2, 3, 0, 255]
    manifest = json.loads((tmp_path / "run/assessment/assessment_manifest.json").read_text())
    assert manifest["summary"]["places"]["known"] == 3
    assert {name: (about["path"], about["width"]) for name, about in manifest["inputs"].items()} == {
        name: (str(tmp_path / f"{file}.tif"), 2100) for name, file in (("prediction", "map"), ("reference", "known"))
    }


def test_windows_beside_the_ellipsoid_leave_the_rest_in_metres(write_raster, tmp_path, monkeypatch):
    """The whole earth, of which the first windows show nothing."""
    monkeypatch.setattr("changen2.jobs.assess.STRIP", 8)
    transform = Affine(4e5, 0, -19.2e6, 0, -4e5, 9.6e6)
    columns, rows = np.meshgrid(np.arange(96) + 0.5, np.arange(48) + 0.5)
    on_earth = (columns / 48 - 1) ** 2 + (rows / 24 - 1) ** 2 < 0.85
    values = np.where(on_earth, 1, 255).astype(np.uint8)[None]
    path = write_raster("earth.tif", values, crs="ESRI:54009", transform=transform, nodata=255)
    areas = run(path, path, tmp_path / "out")["summary"]["outcome_m2"]
    assert areas["hit"] == pytest.approx(on_earth.sum() * 4e5**2, rel=0.05)


def test_small_places_are_not_counted(known, reported, write_raster, tmp_path):
    paths = write_raster("map.tif", reported, nodata=255), write_raster("known.tif", known)
    places = run(*paths, tmp_path / "out", min_area=10)["summary"]["places"]
    assert places["known"] == 2 and places["reported"] == 3


def test_polygons_are_known_change_too(known, write_raster, tmp_path):
    square = shapely.box(500_015, 5_199_930, 500_035, 5_199_950)
    pyogrio.raw.write(
        tmp_path / "known.gpkg", np.array([shapely.to_wkb(square)], dtype=object), field_data=[], fields=[],
        geometry_type="Polygon", crs="EPSG:32633",
    )  # fmt: skip
    values = np.zeros_like(known)
    values[:, 100:140, 30:70] = 1
    summary = run(write_raster("map.tif", values), tmp_path / "known.gpkg", tmp_path / "out")["summary"]
    assert summary["f1"] == 1 and summary["places"]["found"] == summary["places"]["known"] == 1


def test_a_map_without_change_is_said_to_have_none(known, write_raster, tmp_path):
    nothing = write_raster("map.tif", np.zeros_like(known))
    result = run(nothing, write_raster("known.tif", known), tmp_path / "out")
    assert result["summary"]["places"] == {"known": 3, "found": 0, "found_in_part": 0, "reported": 0, "false": 0}
    assert any("no change at all" in warning for warning in result["warnings"])


def test_results_that_are_there_are_kept_and_a_cancelled_run_leaves_nothing(known, write_raster, tmp_path):
    path = write_raster("map.tif", (known > 0).astype(np.uint8))
    with pytest.raises(Cancelled):
        run(path, path, tmp_path / "out", Reporter(lambda p: None, lambda: (tmp_path / "out").exists()))
    assert not (tmp_path / "out").exists()
    run(path, path, tmp_path / "out")
    with pytest.raises(InputError) as caught:
        run(path, path, tmp_path / "out")
    assert caught.value.code == "not_empty"
    assert run(path, path, tmp_path / "out", overwrite=True)["summary"]["f1"] == 1


def test_points_without_a_label_yet_are_left_out(known, write_raster, tmp_path):
    path = write_raster("map.tif", (known > 0).astype(np.uint8))
    columns, rows = np.array([2040, 2050, 2060, 300, 400, 500]), np.array([110, 120, 130, 5, 10, 290])
    labels = np.array([1, 1, np.nan, 0, 0, np.nan])
    points = shapely.points(500_000 + (columns + 0.5) * 0.5, 5_200_000 - (rows + 0.5) * 0.5)
    pyogrio.raw.write(
        tmp_path / "points.gpkg", shapely.to_wkb(points), field_data=[labels], fields=["reference"],
        geometry_type="Point", crs="EPSG:32633", nan_as_null=True,
    )  # fmt: skip
    found = run(path, points=str(tmp_path / "points.gpkg"))["summary"]["area_adjusted"]
    assert found["points"] == 4 and found["overall"][0]["value"] == 1


def test_areas_in_degrees_are_summed_row_by_row(write_raster, tmp_path):
    from affine import Affine

    north_of_the_equator = Affine(0.1, 0, 10, 0, -0.1, 80)
    values = np.zeros((1, 800, 20), np.uint8)
    values[:, 600:] = 1
    path = write_raster("map.tif", values, transform=north_of_the_equator, crs="EPSG:4326")
    areas = run(path, path, tmp_path / "out")["summary"]["outcome_m2"]
    # Two degrees of a sphere of the ellipsoid's area, to half a percent: a third of it lies south of 20°.
    zone = 2 * np.pi * 6_371_007.2**2 * 2 / 360
    assert areas["hit"] == pytest.approx(zone * np.sin(np.radians(20)), rel=5e-3)
    assert areas["right"] == pytest.approx(zone * (np.sin(np.radians(80)) - np.sin(np.radians(20))), rel=5e-3)


def test_classes_are_assessed_where_they_are_known(known, write_raster, tmp_path):
    (tmp_path / "run").mkdir()
    change = write_raster("run/change.tif", (known > 0).astype(np.uint8))
    maps = {}
    for date, value in {"before": 1, "after": 2}.items():
        write_raster(f"run/semantic_{date}.tif", known * 0 + value)
        maps[f"classes_{date}"] = str(write_raster(f"{date}.tif", known * 0 + value))
    summary = run(change, write_raster("known.tif", known), tmp_path / "out", **maps)["summary"]
    (row,) = summary["semantic"]["from_to"]
    assert (row["from"], row["to"], row["both"]) == ("1", "2", np.count_nonzero(known))


def test_a_calibration_is_kept_once_the_assessment_is_there(known, write_raster, tmp_path, models_folder):
    from changen2.models import store
    from changen2.models.registry import card_of

    store.write_model(card_of("tiny").model_copy(update={"name": "mine", "embedded": False, "calibration": {}}), {})
    truth = write_raster("known.tif", known)
    probability = write_raster("map.tif", np.where(known > 0, 180, 40).astype(np.uint8), nodata=0)
    with rasterio.open(probability, "r+") as dataset:
        dataset.set_band_description(1, "Change probability")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "assessment.tif").touch()
    for out, name in ((tmp_path / "full", "mine"), (tmp_path / "out", "tiny")):
        with pytest.raises(InputError):
            run(probability, truth, out, store=name)
        assert card_of("mine").model_dump()["calibration"] == {}
    assert not (tmp_path / "out").exists(), "the card of what is built in does not change, which is said at once"
    summary = run(probability, truth, tmp_path / "out", store="mine")["summary"]
    assert summary["stored"] == "mine"
    assert card_of("mine").model_dump()["calibration"] == summary["calibration"]


def test_an_assessment_stays_where_a_card_does_not_take_the_calibration(
    known, write_raster, tmp_path, models_folder, monkeypatch
):
    monkeypatch.setattr(assess, "amendable_card", lambda name: None)
    monkeypatch.setattr(assess, "calibration_to_keep", lambda name, scores, prediction, reference: {})
    path = write_raster("map.tif", (known > 0).astype(np.uint8))
    result = run(path, path, tmp_path / "out", store="gone")
    assert "stored" not in result["summary"] and (tmp_path / "out" / "assessment.tif").exists()
    assert any("could not be kept for gone" in warning for warning in result["warnings"])
