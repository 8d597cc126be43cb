import json
import shutil

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.jobs.vectorize import vectorize

MANIFESTS = "run/manifest.json", "again/vectorize_manifest.json"


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def rows(path):
    return pyogrio.raw.read(path, layer="change")[3]


def test_the_same_threshold_gives_the_same_map_and_polygons(pair, tmp_path, difference):
    detected = difference(*pair, tmp_path / "run", threshold=0.4)["outputs"]
    again = vectorize(detected["change_probability"], tmp_path / "again", threshold=0.4)["outputs"]
    assert (read(detected["change"]) == read(again["change"])).all()
    for first, second in zip(rows(detected["polygons"]), rows(again["polygons"]), strict=True):
        assert list(first)[:2] == list(second)[:2]


def test_a_higher_threshold_never_adds_change(pair, tmp_path, difference):
    probability = difference(*pair, tmp_path / "run")["outputs"]["change_probability"]
    sizes = [
        vectorize(probability, tmp_path / str(threshold), threshold=threshold)["summary"]["change_px"]
        for threshold in (0.0, 0.2, 0.5, 0.9)
    ]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 300 * 400


def test_beside_the_detection_it_replaces_only_its_own_outputs(pair, tmp_path, difference):
    detected = difference(*pair, tmp_path / "run")["outputs"]
    before = (tmp_path / "run/manifest.json").read_bytes()
    with pytest.raises(InputError) as caught:
        vectorize(detected["change_probability"], tmp_path / "run", threshold=0.9)
    assert caught.value.code == "not_empty"
    vectorize(detected["change_probability"], tmp_path / "run", threshold=0.9, overwrite=True)
    assert (tmp_path / "run/manifest.json").read_bytes() == before
    assert read(detected["change_probability"]).any()


def test_the_model_and_its_licence_are_told_on(pair, tmp_path, difference):
    probability = difference(*pair, tmp_path / "run")["outputs"]["change_probability"]
    again = vectorize(probability, tmp_path / "again", threshold=0.6)
    made, remade = (json.loads((tmp_path / name).read_text()) for name in MANIFESTS)
    assert remade["model"] == made["model"] and {"licence", "noncommercial"} <= remade["model"].keys()
    assert again["summary"]["model"] == made["summary"]["model"]

    alone = tmp_path / "alone.tif"
    shutil.copy(probability, alone)
    (tmp_path / "manifest.json").write_text('{"job": "detect", "model": "of another program"}')
    assert vectorize(alone, tmp_path / "third", threshold=0.6)["summary"]["model"] is None


def test_a_class_map_that_is_broken_is_named(pair, tmp_path, difference):
    outputs = difference(*pair, tmp_path / "run")["outputs"]
    path = tmp_path / "run/semantic_after.tif"
    with rasterio.open(path) as source:
        profile, classes = {**source.profile, "driver": "GTiff", "compress": None}, source.read()
    with rasterio.open(path, "w", **profile) as target:
        target.write(classes)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(InputError, match=r"semantic_after\.tif is broken") as caught:
        vectorize(outputs["change_probability"], tmp_path / "again", threshold=0.2)
    assert caught.value.code == "unreadable"


def test_class_names_are_kept(pair, tmp_path, difference):
    probability = difference(*pair, tmp_path / "run")["outputs"]["change_probability"]
    again = vectorize(probability, tmp_path / "again", threshold=0.6)["outputs"]
    meta, _, _, fields = pyogrio.raw.read(again["polygons"], layer="change")
    assert fields[list(meta["fields"]).index("to_class")][0] == "bright"


def test_a_probability_in_an_archive_has_the_classes_beside_it(pair, tmp_path, difference, zipped):
    outputs = difference(*pair, tmp_path / "run")["outputs"]
    source = zipped(*(outputs[name] for name in ("change_probability", "semantic_before", "semantic_after")))
    plain = vectorize(outputs["change_probability"], tmp_path / "plain")["outputs"]
    packed = vectorize(source, tmp_path / "packed")["outputs"]
    assert packed["change_probability"] == source
    for name in ("change", "polygons"):
        there = rows if name == "polygons" else read
        assert all(np.array_equal(*both) for both in zip(there(plain[name]), there(packed[name]), strict=True))


def clip(source, target, window, **profile):
    """Cut a map as gdal_translate -srcwin does."""
    with rasterio.open(source) as whole:
        given = whole.profile | {
            "width": window.width,
            "height": window.height,
            "transform": whole.window_transform(window),
        }
        with rasterio.open(target, "w", **(given | profile)) as part:
            part.write(whole.read(window=window))
    return target


def classes_of(path):
    meta, _, _, fields = pyogrio.raw.read(path, layer="change")
    return [list(fields[list(meta["fields"]).index(name)]) for name in ("from_class", "to_class")]


def test_a_clip_beside_the_results_has_the_classes_of_its_place(pair, tmp_path, difference):
    probability = difference(*pair, tmp_path / "run")["outputs"]["change_probability"]
    part = clip(probability, tmp_path / "run/clip.tif", Window(100, 60, 300, 240))
    whole, clipped = (vectorize(path, tmp_path / path.stem) for path in (tmp_path / "run/change_probability.tif", part))
    assert (
        classes_of(whole["outputs"]["polygons"])
        == classes_of(clipped["outputs"]["polygons"])
        == [["other"], ["bright"]]
    )
    assert clipped["warnings"] == []


@pytest.mark.parametrize(
    "placed",
    [{"crs": None}, {"transform": Affine(0.5, 0, 700_000, 0, -0.5, 5_200_000)}],
    ids=["nobody knows where", "elsewhere"],
)
def test_class_maps_of_another_place_are_left_out(pair, tmp_path, difference, placed):
    probability = difference(*pair, tmp_path / "run")["outputs"]["change_probability"]
    part = clip(probability, tmp_path / "run/clip.tif", Window(100, 60, 300, 240), **placed)
    result = vectorize(part, tmp_path / "clip")
    assert classes_of(result["outputs"]["polygons"]) == [[None], [None]]
    assert len(result["warnings"]) == 1 and "no classes" in result["warnings"][0]


def test_another_raster_is_refused(pair, tmp_path):
    with pytest.raises(InputError) as caught:
        vectorize(pair[0], tmp_path / "out")
    assert "change_probability.tif" in caught.value.hint
    assert not (tmp_path / "out").exists()
