import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine

from changen2.errors import Cancelled, InputError
from changen2.jobs.detection.origin import MODEL, SCALING
from changen2.jobs.evaluate import evaluate
from changen2.jobs.evaluation.compare import matched


@pytest.fixture
def truth():
    label = np.zeros((1, 300, 400), np.uint8)
    label[:, 100:160, 150:230] = 255
    return label


def test_a_map_against_itself_is_right(truth, write_raster):
    path = write_raster("label.png", truth)
    found = evaluate(path, path)
    assert found["f1"] == found["kappa"] == found["iou_low"] == 1 and found["pixels"] == 300 * 400


def test_a_reference_that_was_cut_short_is_named(truth, write_raster):
    path = write_raster("label.tif", np.random.default_rng(0).integers(0, 2, truth.shape, np.uint8))
    cut = write_raster("cut.tif", truth, compress=None)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut\.tif is broken") as caught:
        evaluate(path, cut)
    assert caught.value.code == "unreadable"


def test_a_detection_against_its_truth(pair, truth, tmp_path, write_raster, difference):
    outputs = difference(*pair, tmp_path / "run")["outputs"]
    label = write_raster("label.tif", truth)
    binary, stored = (evaluate(outputs[name], label) for name in ("change", "change_probability"))
    assert (binary.pop("taken_for"), stored.pop("taken_for")) == ("0/1 map", "change probability")
    assert binary == {key: value for key, value in stored.items() if key != "calibration"} and 0.8 < binary["f1"] < 1
    scores = {f"{name}{end}": 1 for name in ("precision", "recall", "f1") for end in ("", "_low", "_high")}
    assert binary["objects"] == {"known": 1, "found": 1, "reported": 1, "right": 1, **scores}
    curve = stored["calibration"]["reliability"]
    assert sum(part["pixels"] for part in curve) == 300 * 400
    assert stored["calibration"]["ece_scaled"] < stored["calibration"]["ece"]
    square = shapely.box(500_075, 5_199_920, 500_115, 5_199_950)
    pyogrio.raw.write(
        tmp_path / "truth.gpkg", np.array([shapely.to_wkb(square)], dtype=object), field_data=[], fields=[],
        geometry_type="Polygon", crs="EPSG:32633",
    )  # fmt: skip
    assert evaluate(outputs["change"], tmp_path / "truth.gpkg")["f1"] == pytest.approx(binary["f1"])


def test_nodata_is_left_out_and_a_reference_may_lie_on_another_grid(truth, write_raster):
    predicted = (truth > 0).astype(np.uint8)
    predicted[:, :50] = 255
    path = write_raster("p.tif", predicted, nodata=255)
    coarse = write_raster("r.tif", truth[:, ::2, ::2], transform=Affine(1, 0, 500_000, 0, -1, 5_200_000))
    found = evaluate(path, coarse)
    assert found["pixels"] == 250 * 400 and found["f1"] == 1


def test_folders_are_compared_by_name(truth, tmp_path, write_raster):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("one.png", "two.png"):
            write_raster(f"{folder}/{name}", truth)
    assert evaluate(tmp_path / "a", tmp_path / "b")["units"] == 2
    (tmp_path / "b/two.png").unlink()
    with pytest.raises(InputError) as caught:
        evaluate(tmp_path / "a", tmp_path / "b")
    assert "two.png" in caught.value.message


def test_of_folders_of_detections_the_change_maps_are_compared_alone(pair, tmp_path, difference):
    runs = [tmp_path / "run", tmp_path / "other"]
    made, other = (difference(*pair, run, threshold=threshold) for run, threshold in zip(runs, (0.3, 0.9), strict=True))
    said, change = made["outputs"]["change"], other["outputs"]["change"]
    assert evaluate(*runs) == evaluate(said, change) and evaluate(*runs)["taken_for"] == "0/1 map"
    assert evaluate(*runs)["precision"] < evaluate(made["outputs"]["change_probability"], change)["precision"] < 1
    for reference, points in ((None, "points.gpkg"), (change, None)):
        with pytest.raises(InputError, match="is a folder") as caught:
            evaluate(runs[0], reference, points=points)
        assert caught.value.code == "bad_value" and f"such as {said}" in caught.value.hint
    Path(change).unlink()
    Path(other["outputs"]["polygons"]).unlink()
    with pytest.raises(InputError, match=r"no reference for change\.tif"):
        evaluate(*runs)


def test_what_lies_in_archives_is_compared_alike(truth, tmp_path, write_raster, zipped):
    change = write_raster("change.tif", (np.roll(truth, 5) > 0).astype(np.uint8), nodata=255)
    classes = [write_raster(f"semantic_{date}.tif", truth // 200, nodata=255) for date in ("before", "after")]
    label = write_raster("label.tif", truth)
    points, polygons = tmp_path / "points.gpkg", tmp_path / "polygons.gpkg"
    square = shapely.box(500_075, 5_199_920, 500_115, 5_199_950)
    seen = [shapely.Point(500_000 + x, 5_199_900 + y) for x, y in ((90, 30), (95, 35), (10, 90), (12, 90))]
    for path, shapes in ((points, seen), (polygons, [square])):
        pyogrio.raw.write(
            path, shapely.to_wkb(np.array(shapes, dtype=object)), field_data=[np.arange(len(shapes)) % 2],
            fields=["reference"], geometry_type=shapes[0].geom_type, crs="EPSG:32633",
        )  # fmt: skip
    said = {"classes_before": classes[0], "classes_after": classes[1]}
    packed = {name: zipped(path) for name, path in said.items()}
    prediction = zipped(change, *classes)
    assert evaluate(prediction, zipped(label), **packed) == evaluate(change, label, **said)
    assert evaluate(prediction, zipped(polygons), points=zipped(points)) == evaluate(change, polygons, points=points)


def test_classes_are_compared_where_both_have_them(truth, tmp_path, write_raster):
    (tmp_path / "run").mkdir()
    change = write_raster("run/change.tif", (truth > 0).astype(np.uint8), nodata=255)
    before, after = np.full_like(truth, 2), np.full_like(truth, 4)
    write_raster("run/semantic_before.tif", before, nodata=255)
    write_raster("run/semantic_after.tif", after, nodata=255)
    after[:, 100:130] = 3  # half of the change became something else
    after[:, :, 150:160] = 255  # and some of it is not known
    said = {
        "classes_before": write_raster("true_before.tif", before, nodata=255),
        "classes_after": write_raster("true_after.tif", after, nodata=255),
    }
    found = evaluate(change, write_raster("label.tif", truth), **said)
    assert found["pixels"] == 300 * 400 and found["f1"] == 1, "as change all of it is known"
    semantic = found["semantic"]
    assert semantic["miou"] == 1 and 0 < semantic["sek"] < 1 and semantic["classes"]["2"]["f1"] == 1
    rows = {(row["from"], row["to"]): row for row in semantic["from_to"]}
    assert rows["2", "4"] == {"from": "2", "to": "4", "reference": 30 * 70, "prediction": 60 * 70, "both": 30 * 70}
    assert rows["2", "3"]["both"] == 0
    with pytest.raises(InputError, match="one date only"):
        evaluate(change, change, classes_before=said["classes_before"])
    (tmp_path / "run/semantic_after.tif").unlink()
    with pytest.raises(InputError, match="no class maps"):
        evaluate(change, change, **said)


def test_data_sets_are_compared_with_their_classes(truth, tmp_path, write_raster):
    for root in ("said", "so"):
        for layer, values in (("label", truth), ("semantic_A", truth * 0), ("semantic_B", truth // 255)):
            (tmp_path / root / layer).mkdir(parents=True)
            for name in ("one.png", "two.png"):
                write_raster(f"{root}/{layer}/{name}", values)
    found = evaluate(tmp_path / "said", tmp_path / "so")
    assert found["units"] == 2 and found["semantic"]["sek"] == pytest.approx(1) and found["objects"]["known"] == 2


def test_the_folders_of_a_data_set_are_listed_as_often_for_many_maps_as_for_few(tmp_path, monkeypatch):
    asked = []
    for name in ("iterdir", "glob"):
        plain = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda self, *given, of=plain: (asked.append(1), of(self, *given))[1])

    def listings(count):
        roots = [tmp_path / str(count) / root for root in ("said", "so")]
        for root in roots:
            for layer in ("label", "semantic_A", "semantic_B"):
                (root / layer).mkdir(parents=True)
                for number in range(count):
                    (root / layer / f"{number}.png").touch()
        asked.clear()
        assert len(list(matched(*roots, None, None))) == count
        return len(asked)

    assert listings(1) == listings(5)


def test_a_map_without_data_in_a_data_set_leaves_the_classes_of_the_others(truth, tmp_path, write_raster):
    def compared(name, nodata_too):
        for root in ("said", "so"):
            for layer, values in (("label", truth // 255), ("semantic_A", truth * 0), ("semantic_B", truth // 255)):
                folder = f"{name}/{root}/{layer}"
                (tmp_path / folder).mkdir(parents=True)
                write_raster(f"{folder}/two.tif", values, nodata=255)
                if nodata_too:
                    write_raster(f"{folder}/one.tif", np.full_like(values, 255), nodata=255)
        return evaluate(tmp_path / name / "said", tmp_path / name / "so")

    alone, both = compared("alone", False), compared("both", True)
    assert both["units"] == 2 and alone["semantic"] == both["semantic"] and alone["semantic"]["miou"] == 1


def test_classes_change_nothing_but_what_is_said_of_classes(truth, tmp_path, write_raster):
    (tmp_path / "run").mkdir()
    label = write_raster("label.tif", truth)
    probability = write_raster("run/probability.tif", np.where(np.roll(truth, 9) > 0, 230, 20).astype(np.uint8))
    with rasterio.open(probability, "r+") as dataset:
        dataset.set_band_description(1, "Change probability")
    known = np.full_like(truth, 3)
    for date in ("before", "after"):
        write_raster(f"run/semantic_{date}.tif", known, nodata=255)
    known[:, 90:130] = 255  # of half of the change nobody knows what it is
    true = write_raster("classes.tif", known, nodata=255)
    classed = evaluate(probability, label, classes_before=true, classes_after=true)
    assert classed.pop("semantic")["classes"]["3"]["pixels"] == 2 * 30 * 80
    assert classed == evaluate(probability, label)


def test_places_found_in_part_or_in_vain(truth, write_raster):
    said = np.zeros_like(truth)
    said[:, 100:120, 150:230] = 1  # a third of the place
    said[:, 10:14, 10:14] = 1
    places = evaluate(write_raster("p.tif", said), write_raster("r.tif", truth))["objects"]
    assert (places["known"], places["found"], places["reported"], places["right"]) == (1, 0, 2, 1)
    assert (places["precision"], places["recall"], places["f1"]) == (0.5, 0, 0)
    assert (places["precision_low"], places["precision_high"]) == (0, 1)


def test_small_places_may_be_left_out(truth, write_raster):
    said = (truth > 0).astype(np.uint8)
    said[:, 10:14, 10:14] = 1  # 4 m²
    paths = write_raster("p.tif", said), write_raster("r.tif", truth)
    assert evaluate(*paths)["objects"]["reported"] == 2
    places = evaluate(*paths, min_area=4.5)["objects"]
    assert (places["known"], places["reported"], places["right"]) == (1, 1, 1)


def test_scores_of_places_and_calibration_have_intervals_over_maps(tmp_path, write_raster):
    rng = np.random.default_rng(0)
    for folder in ("p", "r"):
        (tmp_path / folder).mkdir()
    for number in range(8):
        true = np.zeros((1, 64, 64), np.uint8)
        stored = rng.integers(1, 40, (1, 64, 64)).astype(np.uint8)
        for place in range(4):
            corner = np.s_[:, 4 + 12 * place : 12 + 12 * place, 10:20]
            true[corner] = 1
            stored[corner] = 230 if rng.random() < 0.6 else 60
        path = write_raster(f"p/{number}.tif", stored, nodata=0)
        with rasterio.open(path, "r+") as dataset:
            dataset.set_band_description(1, "Change probability")
        write_raster(f"r/{number}.tif", true)
    found = evaluate(tmp_path / "p", tmp_path / "r")
    places, calibrated = found["objects"], found["calibration"]
    assert places["known"] == 32 and places["recall_low"] < places["recall"] < places["recall_high"]
    assert places["precision_low"] == places["precision_high"] == 1  # nothing was reported in vain
    assert calibrated["ece_low"] < calibrated["ece"] < calibrated["ece_high"]


@pytest.fixture
def mine(models_folder):
    """Install a model "mine", ``mine(calibration=…)``, and return what tells the calibration in its card."""
    from changen2.models import store
    from changen2.models.registry import card_of

    def install(**changes):
        given = {"name": "mine", "embedded": False, "calibration": {}, **changes}
        store.write_model(card_of("tiny").model_copy(update=given), {})
        return lambda: card_of("mine").model_dump()["calibration"]

    return install


def test_a_calibration_is_kept_in_an_installed_card(pair, truth, tmp_path, write_raster, difference, mine):
    card = mine()
    outputs = difference(*pair, tmp_path / "run")["outputs"]
    label = write_raster("label.tif", truth)
    with pytest.raises(InputError, match="was made by"):
        evaluate(outputs["change_probability"], label, store="mine")
    with rasterio.open(outputs["change_probability"], "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(**{MODEL: "", SCALING: ""})  # an older map: its manifest alone tells
    manifest = tmp_path / "run" / "manifest.json"
    made = {**json.loads(manifest.read_text()), "model": {"name": "mine"}}
    manifest.write_text(json.dumps(made))
    found = evaluate(outputs["change_probability"], label, store="mine")
    assert card() == found["calibration"]
    manifest.write_text(json.dumps({**made, "scaling": {"a": 0.5, "b": 1.0}}))
    scaled = evaluate(outputs["change_probability"], label, store="mine")["calibration"]["platt"]
    both = {"a": 0.5 * scaled["a"], "b": scaled["a"] + scaled["b"]}
    assert card()["platt"] == both, "a map that was scaled already"
    with pytest.raises(InputError, match="cannot be kept"):
        evaluate(outputs["change_probability"], write_raster("other.tif", (truth == 0).astype(np.uint8)), store="mine")
    with pytest.raises(InputError, match="0/1 map"):
        evaluate(outputs["change"], label, store="mine")
    manifest.unlink()
    with pytest.raises(InputError, match="not installed"):
        evaluate(outputs["change_probability"], label, store="tiny")


def test_what_measures_no_scaling_leaves_a_card_as_it_is(mine, truth, tmp_path, write_raster):
    kept = {"ece": 0.1, "platt": {"a": 0.5, "b": 1.0}}
    card = mine(calibration=kept)
    probability = write_raster("map.tif", np.where(truth > 0, 180, 40).astype(np.uint8), nodata=0)
    with rasterio.open(probability, "r+") as dataset:
        dataset.set_band_description(1, "Change probability")
    for name, values in (("none.tif", truth * 0), ("all.tif", truth * 0 + 1)):
        with pytest.raises(InputError, match="all of the reference is change, or none") as caught:
            evaluate(probability, write_raster(name, values), store="mine")
        assert caught.value.code == "bad_value"
    points = tmp_path / "points.gpkg"
    places = [shapely.Point(500_000 + x, 5_199_945) for x in (80, 90, 5, 10)]
    pyogrio.raw.write(
        points, shapely.to_wkb(np.array(places, dtype=object)), field_data=[np.array([1, 1, 0, 0])],
        fields=["reference"], geometry_type="Point", crs="EPSG:32633",
    )  # fmt: skip
    with pytest.raises(InputError, match="points alone measure none"):
        evaluate(probability, None, points=points, store="mine")
    assert card() == kept


@pytest.mark.parametrize("step", [1, 2], ids=["the same grid", "another grid"])
def test_a_mask_whose_background_is_nodata_says_that_nothing_changed_there(truth, write_raster, step):
    predicted = (truth > 0).astype(np.uint8)
    predicted[:, 200:240, 150:230] = 1  # reported in vain
    path = write_raster("p.tif", predicted)
    grid = {"transform": Affine(0.5 * step, 0, 500_000, 0, -0.5 * step, 5_200_000)}
    plain, background = (
        evaluate(path, write_raster(name, truth[:, ::step, ::step], nodata=nodata, **grid))
        for name, nodata in (("plain.tif", None), ("background.tif", 0))
    )
    assert background == plain and plain["precision"] == 0.6
    assert evaluate(write_raster("said.tif", predicted, nodata=0), path) == evaluate(path, path)


@pytest.mark.parametrize("step", [1, 2], ids=["the same grid", "another grid"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("by", ["mask", "alpha"])
def test_what_is_masked_away_is_not_known_whatever_is_nodata(truth, write_raster, step, kind, nodata, by):
    seen = np.ones(truth.shape[1:], bool)
    seen[:100] = False
    label, there = (truth > 0)[:, ::step, ::step].astype(kind), seen[::step, ::step]
    grid = {"transform": Affine(0.5 * step, 0, 500_000, 0, -0.5 * step, 5_200_000), "nodata": nodata}
    if by == "alpha":
        path = write_raster("seen.tif", np.concatenate([label, there[None].astype(kind)]), alpha="yes", **grid)
    else:
        path = write_raster("seen.tif", label, **grid)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(there)
    whole = write_raster("whole.tif", (truth > 0).astype(np.uint8))
    for found, known in ((evaluate(whole, path), seen.sum()), (evaluate(path, whole), there.sum())):
        assert found["pixels"] == known and found["f1"] == 1


def test_outside_a_reference_nothing_is_known(truth, write_raster):
    path = write_raster("p.tif", np.ones_like(truth))
    part = write_raster(
        "r.tif", truth[:, 100:200, 150:350], nodata=0, transform=Affine(0.5, 0, 500_075, 0, -0.5, 5_199_950)
    )
    assert evaluate(path, part)["pixels"] == 100 * 200


@pytest.mark.parametrize(("kind", "opaque"), [("uint8", 255), ("uint16", 1), ("float32", 1)])
def test_a_mask_with_an_alpha_band_may_lie_on_another_grid(truth, write_raster, kind, opaque):
    seen = np.full_like(truth, opaque)
    seen[:, :100] = 0
    bands = np.concatenate([truth, truth, truth, seen])[:, ::2, ::2].astype(kind)
    coloured = write_raster(
        "r.tif", bands, photometric="RGB", alpha="yes",
        transform=Affine(1, 0, 500_000, 0, -1, 5_200_000),
    )  # fmt: skip
    found = evaluate(write_raster("p.tif", (truth > 0).astype(np.uint8)), coloured)
    assert found["pixels"] == 200 * 400 and found["f1"] == 1


def test_what_lies_beside_references_is_not_taken_for_one(truth, tmp_path, write_raster):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_raster(f"{folder}/one.tif", truth)
    for ending in ("tfw", "tif.aux.xml", "prj"):
        (tmp_path / "b" / f"one.{ending}").write_text("no map")
    assert evaluate(tmp_path / "a", tmp_path / "b")["f1"] == 1


def test_a_model_that_cannot_keep_the_calibration_is_said_first(tmp_path):
    with pytest.raises(InputError, match="cannot be changed"):
        evaluate(tmp_path / "not there.tif", tmp_path / "nor there.tif", store="tiny")


@pytest.mark.parametrize(
    "wish", [{"threshold": float("nan")}, {"threshold": 7}, {"min_area": float("inf")}, {"min_area": -1}]
)
def test_numbers_out_of_range_are_refused(truth, write_raster, wish):
    path = write_raster("truth.tif", truth)
    with pytest.raises(InputError, match=next(iter(wish))):
        evaluate(path, path, **wish)


def test_it_can_be_cancelled(truth, write_raster):
    path, asked = write_raster("label.tif", truth), []

    def cancelled():
        asked.append(True)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        evaluate(path, path, is_cancelled=cancelled)
    assert len(asked) == 4


@pytest.mark.parametrize("order", [1, -1])
def test_a_map_and_a_reference_of_which_one_has_no_crs_are_not_compared(truth, write_raster, order):
    placed = write_raster("placed.tif", truth, transform=Affine(1, 0, 0, 0, -1, truth.shape[1]))
    bare = write_raster("bare.png", truth)
    with pytest.raises(InputError, match=r"has none, .* has one") as caught:
        evaluate(*[placed, bare][::order])
    assert caught.value.code == "no_overlap" and "Assign" in caught.value.hint


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("crs", [
    'LOCAL_CS["site",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]', "+proj=longlat +a=1737400 +b=1737400 +no_defs",
])  # fmt: skip
def test_what_no_transformation_relates_is_not_compared(truth, write_raster, crs, order):
    """A site's own system, and the moon."""
    earth, other = write_raster("earth.tif", truth), write_raster("other.tif", truth, crs=crs)
    with pytest.raises(InputError, match=r"\.tif and the change map cannot be related") as caught:
        evaluate(*[earth, other][::order])
    assert caught.value.code == "no_overlap" and caught.value.hint
    assert evaluate(other, other)["f1"] == 1


def test_scores_that_nothing_defines_are_null_and_that_is_told(truth, write_raster):
    some, none = write_raster("some.tif", (truth > 0).astype(np.uint8)), write_raster("none.tif", truth * 0)
    alike, missed, vain = evaluate(none, none), evaluate(none, some), evaluate(some, none)
    assert [alike[name] for name in ("f1", "recall", "precision", "iou_low")] == [None] * 4
    assert alike["objects"]["f1"] is None and json.loads(json.dumps(alike, allow_nan=False)) == alike
    assert (missed["recall"], missed["precision"], vain["recall"], vain["precision"]) == (0, None, None, 0)
    no_truth, no_report = alike["warnings"]
    assert "holds no change" in no_truth and "reports no change" in no_report
    assert missed["warnings"] == [no_report] and vain["warnings"] == [no_truth]
