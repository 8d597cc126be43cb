"""An assessment in words, and as the layer at the top of a detection's group."""

import json

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsProject

from changen2_qgis.results import DetectionGroup, add_detection_group
from changen2_qgis.review.assessment import add_assessment, in_words, keep_words, kept_words
from changen2_qgis.review.assessment_page import report


def summary(known=0, found=0, part=0, false=0, **scores):
    places = {"known": known, "found": found, "found_in_part": part, "reported": found + part + false, "false": false}
    return {"places": places, **scores}


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((10, 8, 0, 2), "8 of 10 known changes were found; 2 places were reported that did not change."),
        ((10, 8, 1, 0), "8 of 10 known changes were found, 1 more in part; no place was reported that did not change."),
        ((3, 0, 2, 1), "0 of 3 known changes were found, 2 in part; 1 place was reported that did not change."),
        ((1, 1, 0, 0), "The known change was found; no place was reported that did not change."),
        ((1, 0, 1, 0), "The known change was found in part; no place was reported that did not change."),
        ((1, 0, 0, 3), "The known change was missed; 3 places were reported that did not change."),
        ((0, 0, 0, 4), "No change is known here; 4 places were reported that did not change."),
    ],
)
def test_places_in_words(counts, sentence):
    assert in_words(summary(*counts)) == [sentence]


def test_scores_are_told_where_there_is_something_to_find():
    scores = {"f1": 0.768, "precision": 0.74, "recall": 0.81}
    assert in_words(summary(10, 8, 0, 2, **scores))[1] == (
        "81% of the changed area was found, and 74% of the reported area did change (F1 0.77)."
    )
    nothing = {"f1": 0.0, "precision": None, "recall": 0.0}
    assert in_words(summary(3, **nothing))[1] == (
        "0% of the changed area was found, and no area was reported (F1 0.00)."
    )
    assert len(in_words(summary(3, f1=None, precision=None, recall=None))) == 1


def test_change_that_is_too_small_to_be_counted_is_known_all_the_same():
    scores = {"f1": 0.5, "precision": 0.4, "recall": 0.75}
    pixels = {"hit": 30, "missed": 10, "false": 45, "right": 900}
    said = in_words(summary(0, 0, 0, 1, outcome_px=pixels, **scores))
    assert said[0].startswith("No known change is as large as the smallest area that is counted; 1 place was")
    assert said[1].startswith("75% of the changed area was found")
    pixels |= {"hit": 0, "missed": 0}
    assert in_words(summary(0, 0, 0, 1, outcome_px=pixels))[0].startswith("No change is known here; 1 place")


def test_the_report_has_no_number_for_what_is_not_defined():
    scores = ("precision", "recall", "f1", "iou", "kappa")
    none = {f"{key}{end}": None for key in scores for end in ("", "_low", "_high")}
    page = report(summary(units=30, **none), "map", "known")
    assert page.count("<td>–</td><td>not defined</td>") == 5


def test_the_report_cannot_be_broken_by_names():
    page = report(summary(1, 1), "<b>map</b>", "a & b")
    assert "<b>" not in page and "&lt;b&gt;map&lt;/b&gt;" in page and "a &amp; b" in page


def test_the_report_tells_all_that_was_found():
    span = {"low": 0.1, "high": 0.4}
    found = {
        "objects": {"known": 4, "found": 1, "reported": 2, "right": 2}
        | {
            f"{key}{end}": value
            for key in ("recall", "precision", "f1")
            for end, value in {"": 0.25, "_low": 0.1, "_high": 0.4}.items()
        },
        "calibration": {
            "ece": 0.25, "ece_low": 0.1, "ece_high": 0.4, "ece_scaled": 0.031, "platt": {"a": 0.5, "b": -1.0},
            "reliability": [{"low": 0.8, "high": 0.9, "pixels": 1234, "predicted": 0.85, "observed": 0.6}],
        },
        "semantic": {f"{key}{end}": 0.5 for key in ("sek", "miou", "score", "f_scd") for end in ("", "_low", "_high")}
        | {"from_to": [{"from": "bare <soil>", "to": "building", "reference": 40, "prediction": 30, "both": 20}]},
        "area_adjusted": {
            "points": 4, "matrix": [[2, 0], [2, 0]], "area_unit": "m2", "strata_differ": True, "unseen": [],
            "overall": [{"value": 0.25, **span}], "users": [{"value": 0.25, **span}] * 2,
            "producers": [{"value": 0.25, **span}, None], "area": [{"value": 0.25, **span}] * 2,
        },
    }  # fmt: skip
    page = report(summary(4, 1, taken_for="0/1 map", **found), "map", "known")
    assert "taken for: 0/1 map" in page
    assert "<td>1 of 4</td><td>0.250</td><td>0.100 to 0.400</td>" in page
    assert "0.250 (0.100 to 0.400)" in page and "error 0.031, with a = 0.500 and b = -1.000" in page
    assert "<td>0.8 to 0.9</td><td>1,234</td><td>0.850</td><td>0.600</td>" in page
    assert "bare &lt;soil&gt; → building</td><td>40</td><td>30</td><td>20</td>" in page
    assert "<td>SeK</td><td>0.500</td><td>interval not known</td>" in page, (
        "one block, drawn again and again, tells none"
    )
    assert "Stehman" in page and "not known: no point tells" in page
    found["area_adjusted"]["strata_differ"] = False
    assert "Olofsson et al. 2014, with finite population correction" in report(summary(4, 1, **found), "map", "known")
    del found["calibration"]["platt"]
    assert "no scaling" in report(summary(4, 1, **found), "map", "known")


def test_an_interval_that_is_not_known_is_not_told():
    value = {"value": 0.5, "low": None, "high": None}
    found = {
        "points": 4, "matrix": [[2, 0], [2, 0]], "area_unit": "px", "strata_differ": False, "unseen": ["None of 2 …"],
        "overall": [value], "users": [value] * 2, "producers": [value] * 2, "area": [{**value, "value": 30.0}] * 2,
    }  # fmt: skip
    (told,) = in_words({"area_adjusted": found})
    assert told == "By 4 labelled points, 50% of the map is right, and 30.00 pixels changed. None of 2 …"
    assert report({"area_adjusted": found}, "map", "points").count("(interval not known)") == 7
    known = {**found, "unseen": [], "area": [{"value": 30.0, "low": 20.0, "high": 45.0}] * 2}
    (told,) = in_words({"area_adjusted": known})
    assert told.endswith("and 30.00 pixels (95 % interval 20.00 to 45.00) changed.")


@pytest.fixture
def assessment(tmp_path, write_raster):
    """A file as the backend writes it."""

    def write(name):
        path = write_raster(tmp_path / name, np.arange(4, dtype=np.uint8).reshape(1, 2, 2), nodata=255)
        dataset = gdal.Open(path, gdal.GA_Update)
        dataset.SetMetadata({"CLASS_0": "No change", "CLASS_1": "Found", "CLASS_2": "Missed", "CLASS_3": "False"})
        table = gdal.ColorTable()
        for value, colour in enumerate([(238, 238, 238), (0, 114, 178), (240, 228, 66), (213, 94, 0)]):
            table.SetColorEntry(value, (*colour, 255))
        dataset.GetRasterBand(1).SetColorTable(table)
        return path

    return write


def test_the_layer_tops_the_group_once(qgis_new_project, tmp_path, write_raster, assessment):
    change = write_raster(tmp_path / "change.tif", np.zeros((1, 2, 2), np.uint8))
    (tmp_path / "manifest.json").write_text(json.dumps({"job": "detect"}))
    group = DetectionGroup(add_detection_group(QgsProject.instance(), {"change": change}, "Run", {"polygons": 0}))
    assert group.layer("assessment") is None and kept_words(group) == ""
    add_assessment(group, assessment("one.tif"))
    layer = add_assessment(group, assessment("two.tif"))
    assert group.node.findLayers()[0].layer() is layer
    assert len(group.node.findLayers()) == 2 and group.layer("assessment") is layer
    classes = {entry.value: (entry.label, entry.color.alpha()) for entry in layer.renderer().classes()}
    assert classes[0][1] == 0 and classes[2] == ("Missed", 255) and len(classes) == 4
    keep_words(group, "Second.")
    assert kept_words(DetectionGroup(group.node)) == "Second."
