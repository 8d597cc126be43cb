"""What class maps say of themselves: where they know nothing, and which numbers are classes."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from changen2.errors import InputError
from changen2.gpcm.classes import AERIAL
from changen2.jobs.evaluate import evaluate
from changen2.models.registry import card_of
from changen2.raster.vectors import class_tags


@pytest.fixture
def change(tmp_path, write_raster):
    """A change map with its classes beside it, 2 before and 4 after, and the mask ``[1, h, w]`` it was made of."""
    (tmp_path / "run").mkdir()
    changed = np.zeros((1, 300, 400), np.uint8)
    changed[:, 100:160, 150:230] = 1
    for date, number in (("before", 2), ("after", 4)):
        write_raster(f"run/semantic_{date}.tif", np.full_like(changed, number), nodata=255)
    return write_raster("run/change.tif", changed, nodata=255), changed


@pytest.fixture
def semantic(change, write_raster):
    """Compare with classes that are 2 before, and after 3 in a part, nodata in another: ``semantic(kind, nodata)``."""

    def compare(kind, nodata, step=1, background=None, other=3, declared=True):
        path, changed = change
        before, after = np.full(changed.shape, 2, kind), np.full(changed.shape, 4, kind)
        after[:, 100:130] = other
        after[:, :, 150:160] = nodata
        if background is not None:
            after[changed == 0] = background
        place = {"transform": Affine(0.5 * step, 0, 500_000, 0, -0.5 * step, 5_200_000)}
        place["nodata"] = nodata if declared else None
        names = (f"{date}_{np.dtype(kind)}_{nodata}_{step}.tif" for date in ("before", "after"))
        true = [
            write_raster(name, values[:, ::step, ::step], **place)
            for name, values in zip(names, (before, after), strict=True)
        ]
        return evaluate(path, path, classes_before=true[0], classes_after=true[1])["semantic"]

    return compare


def name(path, **tags):
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**tags)
    return path


@pytest.mark.parametrize("step", [1, 2], ids=["the same grid", "another grid"])
@pytest.mark.parametrize(
    ("kind", "nodata"),
    [("uint8", 0), ("int8", -1), ("int16", -9999), ("uint16", 999), ("float32", -3.4e38), ("float32", float("nan"))],
)
def test_nodata_is_unknown_whatever_its_number(semantic, kind, nodata, step):
    usual = semantic("uint8", 255)
    assert {row["to"]: row["reference"] for row in usual["from_to"]} == {"3": 30 * 70, "4": 30 * 70}
    assert semantic(kind, nodata, step) == usual


def test_what_is_not_finite_is_unknown_though_no_nodata_value_says_so(semantic):
    assert semantic("float32", float("inf"), declared=False) == semantic("uint8", 255)


@pytest.mark.parametrize("step", [1, 2], ids=["the same grid", "another grid"])
@pytest.mark.parametrize(("kind", "number"), [("int16", -7), ("uint16", 300), ("uint16", 256), ("float32", 2.5)])
def test_numbers_that_are_no_class_are_refused(semantic, kind, number, step):
    with pytest.raises(InputError, match=rf"after_{kind}_99_{step}\.tif holds {number}, which is no class") as caught:
        semantic(kind, 99, step, other=number)
    assert caught.value.code == "bad_value"


def test_numbers_where_nothing_changed_do_not_count(semantic):
    assert semantic("uint16", 255, background=9999) == semantic("uint8", 255)


def test_the_highest_class_is_one(semantic):
    assert semantic("uint8", 0, step=2, other=254) == semantic("uint8", 255, other=254)


def test_numbers_that_mean_different_things_are_not_compared(change, tmp_path, write_raster):
    """A detection of buildings, 1, against labels in which that is water."""
    path, changed = change
    said = {date: tmp_path / f"run/semantic_{date}.tif" for date in ("before", "after")}
    for there in said.values():
        name(there, CLASS_0="background", CLASS_1="Building")
    true = {f"classes_{date}": write_raster(f"{date}.tif", changed, nodata=255) for date in said}
    assert "semantic" in evaluate(path, path, **true), "what has no names may mean the same"
    for there in true.values():
        name(there, CLASS_0="background", CLASS_1="building")
    assert "semantic" in evaluate(path, path, **true)
    name(true["classes_after"], CLASS_1="water")
    with pytest.raises(InputError, match=r"Class 1 is 'Building' in .* and 'water' in .*after\.tif") as caught:
        evaluate(path, path, **true)
    assert caught.value.code == "bad_value" and caught.value.hint


def test_a_data_set_whose_classes_mean_something_else_is_compared_without_them(change, tmp_path, write_raster):
    _, changed = change
    for root, one in (("said", "building"), ("true", "water")):
        for layer in ("label", "semantic_A", "semantic_B"):
            (tmp_path / root / layer).mkdir(parents=True)
            for file in ("p", "q"):
                there = write_raster(f"{root}/{layer}/{file}.tif", changed, nodata=255)
                name(there, **({} if layer == "label" else {"CLASS_1": one}))
    found = evaluate(tmp_path / "said", tmp_path / "true")
    assert found["f1"] == 1 and "semantic" not in found
    assert len(found["warnings"]) == 1, "of all maps at once"
    assert "'building'" in found["warnings"][0] and "'water'" in found["warnings"][0]


def test_what_nobody_labelled_has_two_names(change, tmp_path, write_raster):
    """A detection of the embedded detectors against labels that are numbered as the embedded generator's."""
    path, changed = change
    for model in ("tiny-landcover", "tiny-anything"):
        names = {known.index: known.name for known in card_of(model).classes}
        assert names[0] != AERIAL.names[0]
        for date in ("before", "after"):
            name(tmp_path / f"run/semantic_{date}.tif", **class_tags(names))
        true = [write_raster(f"{date}.tif", changed * value) for date, value in (("before", 2), ("after", 4))]
        for there in true:
            name(there, **class_tags(AERIAL.names))
        assert evaluate(path, path, classes_before=true[0], classes_after=true[1])["semantic"]["sek"] == 1


def test_of_a_class_of_change_what_turned_into_what_is_counted_alone(change, tmp_path, write_raster):
    """Damage of buildings: their 1 before is another thing than the 1 after, though the reference has no names."""
    path, changed = change
    name(tmp_path / "run/semantic_before.tif", CLASS_2="building")
    damage = write_raster("run/change_class.tif", changed * 4, nodata=255)
    name(damage, CLASS_1="no damage", CLASS_2="minor damage", CLASS_4="destroyed", UNCHANGED_CLASSES="0 1")
    true = [write_raster(f"{date}.tif", changed * value) for date, value in (("before", 2), ("after", 4))]
    found = evaluate(path, path, classes_before=true[0], classes_after=true[1])
    (row,) = found["semantic"]["from_to"]
    assert (row["from"], row["to"], row["both"]) == ("building", "destroyed", 60 * 80)
    assert found["semantic"]["sek"] is None and found["semantic"]["classes"] == {}
    assert len(found["warnings"]) == 1 and "damage" in found["warnings"][0]
