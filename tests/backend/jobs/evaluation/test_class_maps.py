"""What class maps say of themselves: where they know nothing, and which numbers are classes."""

import numpy as np
import pytest
from affine import Affine

from changen2.errors import InputError
from changen2.jobs.evaluate import evaluate


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
