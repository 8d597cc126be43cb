"""What a change map is taken for, and what a reference says where it holds no change or is none."""

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from changen2.errors import InputError
from changen2.jobs.evaluate import evaluate
from changen2.raster.vectors import class_tags

PROBABILITY, MASK = "change probability", "0/1 map"


@pytest.fixture
def truth():
    label = np.zeros((1, 120, 160), np.uint8)
    label[:, 40:80, 50:90] = 1
    return label


@pytest.fixture
def stored(truth):
    """A probability as detection stores it, mostly next to none, right at 0.5, with a column that is nodata."""
    values = (1 + np.random.default_rng(3).random(truth.shape) ** 6 * 98).astype(np.uint8) + truth * 150
    values[:, :, 0] = 0
    return values


@pytest.fixture
def write_polygons(tmp_path):
    """Write rectangles in pixels of the map, and return the layer's path."""

    def write(name, *boxes, **written):
        squares = shapely.transform([shapely.box(*each) for each in boxes], lambda xy: xy * (0.5, -0.5) + (5e5, 5.2e6))
        pyogrio.raw.write(
            tmp_path / name, shapely.to_wkb(np.array(squares, object)), geometry_type="Polygon", crs="EPSG:32633",
            **{"field_data": [], "fields": [], **written},
        )  # fmt: skip
        return tmp_path / name

    return write


def mosaic(path, *parts):
    """A virtual mosaic as gdalbuildvrt makes it: with the nodata value of its parts, without their descriptions."""
    with rasterio.open(parts[0]) as first:
        x, y, pixel = first.transform.c, first.transform.f, first.transform.a
        wkt, height, widths = first.crs.to_wkt(), first.height, []
    for part in parts:
        with rasterio.open(part) as dataset:
            widths.append(dataset.width)
    ends = np.cumsum(widths)
    sources = "".join(
        f"<ComplexSource><SourceFilename>{part}</SourceFilename><SourceBand>1</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
        f'<DstRect xOff="{end - width}" yOff="0" xSize="{width}" ySize="{height}"/><NODATA>0</NODATA></ComplexSource>'
        for part, width, end in zip(parts, widths, ends, strict=True)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{ends[-1]}" rasterYSize="{height}"><SRS>{wkt}</SRS>'
        f"<GeoTransform>{x}, {pixel}, 0, {y}, 0, {-pixel}</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1"><NoDataValue>0</NoDataValue>{sources}</VRTRasterBand></VRTDataset>'
    )
    return path


def describe(path):
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "Change probability: (value - 1) / 254")
    return path


def test_a_mosaic_of_probabilities_is_one(truth, stored, tmp_path, write_raster):
    halves = [
        describe(write_raster(f"{start}.tif", stored[:, :, start : start + 80], nodata=0,
                              transform=Affine(0.5, 0, 500_000 + start / 2, 0, -0.5, 5_200_000)))
        for start in (0, 80)
    ]  # fmt: skip
    label, whole = write_raster("label.tif", truth), describe(write_raster("whole.tif", stored, nodata=0))
    found = evaluate(mosaic(tmp_path / "both.vrt", *halves), label)
    assert found == evaluate(whole, label) and found["f1"] == 1 and found["warnings"] == []


@pytest.mark.parametrize("of_mosaics", [False, True])
def test_a_mosaic_with_pyramids_is_what_its_parts_are(truth, tmp_path, write_raster, of_mosaics):
    """Next to no value in it tells that, and the overviews beside it are no part of it."""
    path = mosaic(tmp_path / "map.vrt", describe(write_raster("part.tif", truth * 253 + 1, nodata=0)))
    if of_mosaics:
        path = mosaic(tmp_path / "both.vrt", path)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    assert path.with_name(f"{path.name}.ovr").exists()
    found = evaluate(path, write_raster("label.tif", truth))
    assert found["taken_for"] == PROBABILITY and found["f1"] == 1 and found["warnings"] == []


def test_a_mosaic_in_which_nothing_changed_has_no_change(truth, tmp_path, write_raster):
    part = describe(write_raster("part.tif", truth * 0 + 1, nodata=0))
    found = evaluate(mosaic(tmp_path / "one.vrt", part), write_raster("label.tif", truth))
    assert found["taken_for"] == PROBABILITY and found["recall"] == 0


def test_bytes_without_a_description_are_told_by_their_values(truth, stored, write_raster):
    label = write_raster("label.tif", truth)
    plain = evaluate(write_raster("plain.tif", stored, nodata=0), label)
    described = evaluate(describe(write_raster("described.tif", stored, nodata=0)), label)
    (warning,) = plain.pop("warnings")
    assert "plain.tif" in warning and PROBABILITY in warning
    assert described.pop("warnings") == [] and plain == described
    mask = evaluate(write_raster("mask.tif", truth * 255, nodata=0), label)
    assert mask["taken_for"] == MASK and mask["f1"] == 1 and mask["warnings"] == []


@pytest.mark.parametrize("count", [3, 60])
def test_numbers_of_something_are_a_mask(truth, write_raster, count):
    # Degrees of damage, or objects one by one, as strips of what changed.
    numbers = truth * (1 + np.arange(160) * count // 160).astype(np.uint8)
    found = evaluate(write_raster("numbers.tif", numbers, nodata=0), write_raster("label.tif", truth))
    assert found["taken_for"] == MASK and found["f1"] == 1


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("window", [64, 1024])
def test_scores_that_are_no_probability_are_told(truth, write_raster, monkeypatch, kind, window):
    monkeypatch.setattr("changen2.jobs.evaluation.compare.UNIT", window)
    scores = (truth * 100 + np.indices(truth.shape)[2] % 50).astype(kind)
    found = evaluate(write_raster("scores.tif", scores), write_raster("label.tif", truth))
    assert found["taken_for"] == MASK and len(found["warnings"]) == 1
    assert "more than 32 different values" in found["warnings"][0] and "0..1" in found["warnings"][0]


def test_unchanged_classes_of_change_are_none(truth, write_raster):
    grades = np.where(truth == 1, 4, 1).astype(np.uint8)
    label = write_raster("label.tif", truth)
    path = write_raster("change_class.tif", grades, nodata=255)
    assert evaluate(path, label)["precision"] < 1, "without the tag, grade 1 is a change"
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(UNCHANGED_CLASSES="0 1")
    assert evaluate(path, label)["f1"] == evaluate(label, path)["f1"] == 1


def test_a_probability_is_no_truth(truth, stored, tmp_path, write_raster):
    said, part = write_raster("said.tif", truth), describe(write_raster("probability.tif", stored, nodata=0))
    for reference in (part, mosaic(tmp_path / "mosaic.vrt", part)):
        with pytest.raises(InputError, match="is a change probability") as caught:
            evaluate(said, reference)
        assert caught.value.code == "bad_value" and "change.tif" in caught.value.hint


@pytest.mark.parametrize("names", [{0: "background", 1: "building"}, {1: "water", 4: "building"}])
def test_classes_of_one_date_are_neither_a_map_nor_a_reference_those_of_change_are_both(truth, write_raster, names):
    label, path = write_raster("label.tif", truth), write_raster("classes.tif", truth * 4, nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "Class after")
    assert evaluate(path, label)["f1"] == evaluate(label, path)["f1"] == 1, "no more than a name"
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**class_tags(names))
    for pair in ((path, label), (label, path)):
        with pytest.raises(InputError, match=r"map of classes.* building") as caught:
            evaluate(*pair)
        assert caught.value.code == "bad_value" and "change.tif" in caught.value.hint
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**class_tags(names, [0]))
    assert evaluate(path, label)["f1"] == evaluate(label, path)["f1"] == 1


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fractions_are_a_probability(truth, stored, write_raster, kind):
    label = write_raster("label.tif", truth)
    fractions = (stored.astype(kind) - 1) / 254
    fractions[stored == 0] = np.nan
    found = evaluate(write_raster("fractions.tif", fractions), label)
    described = evaluate(describe(write_raster("described.tif", stored, nodata=0)), label)
    assert len(found.pop("warnings")) == 1 and described.pop("warnings") == [] and found == described
    fractions[:, 50, 60] = 1 + 1e-6
    assert evaluate(write_raster("rounded.tif", fractions), label)["f1"] == 1
    whole = evaluate(write_raster("whole.tif", truth.astype(kind)), label)
    assert whole["taken_for"] == MASK and whole["f1"] == 1
    with pytest.raises(InputError, match="from 0 to 1"):
        evaluate(write_raster("percent.tif", fractions * 100), label)


@settings(max_examples=20, deadline=None)
@given(threshold=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_fractions_change_where_they_reach_the_threshold(tmp_path_factory, threshold, seed):
    values = np.random.default_rng(seed).random((16, 16)).astype(np.float32)
    folder = tmp_path_factory.mktemp("fractions")
    for name, written in (("said.tif", values), ("so.tif", (values >= threshold).astype(np.uint8))):
        with rasterio.open(folder / name, "w", "GTiff", 16, 16, 1, dtype=written.dtype) as out:
            out.write(written, 1)
    found = evaluate(folder / "said.tif", folder / "so.tif", threshold=threshold, objects=False)
    assert found["pixels"] == 256 and found["kappa"] in (None, 1) and found["taken_for"] == PROBABILITY
    assert found["precision"] == 1 or (values >= threshold).sum() == 0


@pytest.mark.parametrize("step", [1, 2], ids=["the same grid", "another grid"])
@pytest.mark.parametrize("nodata", [None, 0, np.nan, -9999])
def test_what_is_not_a_number_is_not_known(truth, write_raster, step, nodata):
    known = truth.astype(np.float32)
    known[:, :, :40] = np.nan
    grid = {"transform": Affine(0.5 * step, 0, 500_000, 0, -0.5 * step, 5_200_000)}
    reference = write_raster("known.tif", known[:, ::step, ::step], nodata=nodata, **grid)
    said = write_raster("said.tif", truth)
    found = evaluate(said, reference)
    assert found["pixels"] == 120 * 120 and found["precision"] == found["recall"] == 1
    assert evaluate(reference, said)["f1"] == 1


def test_a_layer_without_a_polygon_here_says_that_nothing_changed(truth, write_raster, write_polygons):
    said = write_raster("said.tif", truth)
    nothing = write_raster("nothing.tif", truth * 0)
    for number, boxes in enumerate([[], [(170, 10, 180, 20)], [(-300, 10, -290, 20), (400, 10, 410, 20)]]):
        layer = write_polygons(f"{number}.gpkg", *boxes)
        assert evaluate(said, layer) == evaluate(said, nothing) and evaluate(said, layer)["precision"] == 0
    far = write_polygons("far.gpkg", (90_000, 0, 90_010, 10))
    assert any("coordinate systems" in warning for warning in evaluate(said, far)["warnings"])


def test_the_layer_of_changes_is_the_reference_unless_another_is_named(truth, write_raster, write_polygons):
    said, wrong = write_raster("said.tif", truth), (100, 5, 110, 15)
    write_polygons("truth.gpkg", wrong, layer="other")
    layer = write_polygons("truth.gpkg", (50, 40, 90, 80), layer="change", append=True)
    assert evaluate(said, layer)["f1"] == 1
    alone = evaluate(said, write_polygons("alone.gpkg", wrong))
    assert evaluate(said, f"{layer}|layername=other") == alone and alone["f1"] == 0


def test_what_a_review_rejected_is_no_truth(truth, write_raster, write_polygons):
    boxes, marks = [(50, 40, 90, 80), (100, 5, 110, 15)], np.array(["unreviewed", "rejected"], object)
    reviewed = write_polygons("reviewed.gpkg", *boxes, fields=["review"], field_data=[marks])
    found = evaluate(write_raster("said.tif", truth), reviewed)
    assert found["recall"] == 1 and any("1 of 2 polygons" in warning for warning in found["warnings"])


def test_a_review_that_rejected_everything_says_what_an_empty_layer_does(truth, write_raster, write_polygons):
    said, box = write_raster("said.tif", truth), (50, 40, 90, 80)
    marks = {"fields": ["review"], "field_data": [np.array(["rejected"], object)]}
    empty, rejected = (
        evaluate(said, path) for path in (write_polygons("empty.gpkg"), write_polygons("rejected.gpkg", box, **marks))
    )
    assert any("1 of 1 polygons" in warning for warning in rejected.pop("warnings"))
    assert rejected == {name: value for name, value in empty.items() if name != "warnings"} and empty["precision"] == 0


def test_one_tile_without_change_stops_no_folder(truth, tmp_path, write_raster, write_polygons):
    for folder in ("said", "so"):
        (tmp_path / folder).mkdir()
    for name, boxes in (("a", [(50, 40, 90, 80)]), ("b", []), ("c", [(90_000, 0, 90_010, 10)])):
        write_raster(f"said/{name}.tif", truth if name == "a" else truth * 0)
        write_polygons(f"so/{name}.gpkg", *boxes)
    found = evaluate(tmp_path / "said", tmp_path / "so")
    assert found["units"] == 3 and found["f1"] == 1 and len(found["warnings"]) == 1


def test_points_and_lines_are_no_reference(truth, tmp_path, write_raster):
    pyogrio.raw.write(
        tmp_path / "points.gpkg", shapely.to_wkb(np.array([shapely.Point(500_010, 5_199_990)], object)),
        field_data=[], fields=[], geometry_type="Point", crs="EPSG:32633",
    )  # fmt: skip
    with pytest.raises(InputError, match="no polygon"):
        evaluate(write_raster("said.tif", truth), tmp_path / "points.gpkg")


@pytest.mark.parametrize("step", [1, 2], ids=["the same grid", "another grid"])
def test_an_image_is_neither_a_map_nor_a_reference(truth, write_raster, step):
    grid = {"transform": Affine(0.5 * step, 0, 500_000, 0, -0.5 * step, 5_200_000)}
    image = np.random.default_rng(0).integers(0, 255, (3, 120, 160)).astype(np.uint8)[:, ::step, ::step]
    image, said = write_raster("image.tif", image, **grid), write_raster("said.tif", truth)
    for pair in ((said, image), (image, said)):
        with pytest.raises(InputError, match="has 3 bands that differ") as caught:
            evaluate(*pair)
        assert caught.value.code == "bad_band"
    grey = write_raster("grey.tif", np.repeat(truth, 3, axis=0)[:, ::step, ::step], **grid)
    assert evaluate(said, grey)["f1"] == 1
