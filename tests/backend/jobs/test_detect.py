import errno
import json
import os
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import scipy.ndimage
import shapely
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.windows import Window

from changen2.errors import Cancelled, InputError, JobError
from changen2.jobs.detect import EDITION, estimate
from changen2.jobs.detection import plan
from changen2.jobs.runs.progress import Reporter
from changen2.models.predictor import Predictor
from changen2.protocol import EstimateRequest
from changen2.raster.output_folder import WORK_FOLDER
from changen2.raster.reading import AlignedRaster

MAPS = ("change_probability", "change", "semantic_before", "semantic_after")
NAIP = ("geo/naip/m_4709963_se_14_1_20090818.tif", "geo/naip/m_4709963_se_14_1_20200831.tif")


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def polygons(result):
    meta, _, wkb, fields = pyogrio.raw.read(result["outputs"]["polygons"], layer="change")
    return shapely.from_wkb(wkb), dict(zip(meta["fields"], fields, strict=True)), meta["crs"]


def write_polygon(path, *polygons):
    geometry = np.array([shapely.to_wkb(polygon) for polygon in polygons], dtype=object)
    pyogrio.raw.write(path, geometry, field_data=[], fields=[], geometry_type="Polygon", crs="EPSG:32633")


def leftovers(folder):
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def test_a_built_square_becomes_a_polygon_of_its_size(pair, tmp_path, difference):
    result = difference(*pair, tmp_path / "run", min_area=10)
    shapes, fields, crs = polygons(result)
    assert len(shapes) == 1 and crs == "EPSG:32633"
    square = shapely.box(500_075, 5_199_920, 500_115, 5_199_950)
    overlap = shapes[0].intersection(square).area / shapes[0].union(square).area
    assert overlap > 0.8
    # Half-metre pixels near the central meridian: 0.9996 of true length.
    assert fields["area_m2"][0] == pytest.approx(fields["area_px"][0] * 0.25 / 0.9996**2, rel=1e-3)
    assert fields["from_class"][0] == "other" and fields["to_class"][0] == "bright"
    assert fields["review"][0] == "unreviewed" and 0.5 < fields["mean_probability"][0] <= 1
    assert result["summary"]["polygons"] == 1
    assert result["summary"]["change_area_m2"] == pytest.approx(fields["area_m2"][0])


def test_outputs_are_cogs_on_the_grid_of_before_with_a_manifest(pair, tmp_path, difference):
    result = difference(*pair, tmp_path / "run")
    with rasterio.open(pair[0]) as before:
        for name in MAPS:
            with rasterio.open(result["outputs"][name]) as output:
                assert (output.crs, output.transform, output.shape) == (before.crs, before.transform, before.shape)
                assert output.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert output.dtypes == ("uint8",)
                assert output.nodata == (0 if name == "change_probability" else 255)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["inputs"]["before"]["crs"] == "EPSG:32633"
    assert manifest["model"]["name"] == "difference" and manifest["threads"] >= 1
    assert set(manifest["outputs"]) == {*MAPS, "polygons"}
    assert leftovers(tmp_path / "run") == sorted([*(f"{name}.tif" for name in MAPS), "change.gpkg", "manifest.json"])


def test_the_binary_map_is_the_stored_probability_at_the_threshold(pair, tmp_path, difference):
    for threshold in (0.0, 0.3, 0.5, 1.0):
        result = difference(*pair, tmp_path / "run", threshold=threshold, overwrite=True)
        stored = read(result["outputs"]["change_probability"]).astype(int)
        assert ((read(result["outputs"]["change"]) == 1) == ((stored - 1) / 254 >= threshold)).all()


@pytest.mark.parametrize("options", [{}, {"gsd": 0.8}, {"gsd": 0.3}, {"batch_size": 3}])
def test_a_part_gives_what_the_whole_gives_there(pair, tmp_path, difference, options):
    whole = difference(*pair, tmp_path / "whole", **options)
    left, top = UTM_AT(pair[0], 131, 57)
    right, bottom = UTM_AT(pair[0], 290, 201)
    part = difference(*pair, tmp_path / "part", bounds=(left, bottom, right, top), **options)
    for name in MAPS:
        assert (read(whole["outputs"][name])[57:201, 131:290] == read(part["outputs"][name])).all(), name
    with rasterio.open(part["outputs"]["change"]) as output:
        assert output.transform == Affine(0.5, 0, left, 0, -0.5, top)


@pytest.mark.parametrize(("gsd", "height", "width"), [(0.8, 298, 391), (1.7, 297, 399), (2.5, 297, 397)])
def test_a_coarser_resolution_loses_no_edge(scene, tmp_path, write_raster, difference, gsd, height, width):
    """Sides that leave less than half a working pixel over, in which the last columns and rows have their centres."""
    pair = [write_raster(f"{name}.tif", values[:, :height, :width]) for name, values in zip("ba", scene, strict=True)]
    whole = difference(*pair, tmp_path / "whole", gsd=gsd)
    (left, top), (right, bottom) = UTM_AT(pair[0], 340, 250), UTM_AT(pair[0], width, height)
    part = difference(*pair, tmp_path / "part", bounds=(left, bottom, right, top), gsd=gsd)
    for name in MAPS:
        values = read(whole["outputs"][name])
        assert (values != (0 if name == "change_probability" else 255)).all(), name
        assert (values[250:, 340:] == read(part["outputs"][name])).all(), name


def UTM_AT(path, column, row):
    with rasterio.open(path) as dataset:
        return dataset.transform @ (column, row)


@pytest.mark.parametrize("block", [128, 256, 4096])
def test_the_size_of_a_block_changes_nothing(pair, tmp_path, difference, monkeypatch, block):
    usual = difference(*pair, tmp_path / "usual")
    monkeypatch.setattr("changen2.raster.tiles.BLOCK_PIXELS", block)
    other = difference(*pair, tmp_path / "other")
    for name in MAPS:
        assert (read(usual["outputs"][name]) == read(other["outputs"][name])).all()


def test_after_may_lie_on_another_grid(scene, tmp_path, write_raster, difference):
    before = write_raster("before.tif", scene[0])
    wide = np.pad(scene[1], ((0, 0), (7, 0), (11, 0)), mode="edge")
    after = write_raster("after.tif", wide, transform=Affine(0.5, 0, 500_000 - 5.5, 0, -0.5, 5_200_000 + 3.5))
    same = difference(before, write_raster("same.tif", scene[1]), tmp_path / "same")
    other = difference(before, after, tmp_path / "other")
    for name in MAPS:
        assert (read(same["outputs"][name]) == read(other["outputs"][name])).all()


@pytest.mark.parametrize("coregister", [False, True])
def test_each_date_has_bands_of_its_own(pair, scene, write_raster, difference, tmp_path, coregister):
    turned = write_raster("turned.tif", scene[1][::-1])
    usual = difference(*pair, tmp_path / "usual", coregister=coregister)
    other = difference(pair[0], turned, tmp_path / "other", coregister=coregister, bands_after=(3, 2, 1))
    for name in MAPS:
        assert (read(usual["outputs"][name]) == read(other["outputs"][name])).all(), name


def test_where_a_date_is_missing_is_nodata(scene, tmp_path, write_raster, difference):
    before, after = (values.copy() for values in scene)
    before[:, :40] = 0
    after[:, :, :50] = 0
    paths = write_raster("b.tif", before, nodata=0), write_raster("a.tif", after, nodata=0)
    result = difference(*paths, tmp_path / "run")
    missing = np.zeros((300, 400), bool)
    missing[:40] = missing[:, :50] = True
    assert ((read(result["outputs"]["change_probability"]) == 0) == missing).all()
    assert ((read(result["outputs"]["change"]) == 255) == missing).all()
    # The edge of the data is no change.
    assert (read(result["outputs"]["change"])[40:95, 50:] == 0).all()


def test_nan_is_nodata_and_the_stretch_is_one_for_the_raster(scene, tmp_path, write_raster, difference):
    before, after = (values.astype(np.float32) * 17.3 - 400 for values in scene)
    before[:, 20:30, 20:30] = np.nan
    result = difference(write_raster("b.tif", before), write_raster("a.tif", after), tmp_path / "run")
    lost = read(result["outputs"]["change_probability"]) == 0
    assert lost.sum() == 100 and lost[20:30, 20:30].all()
    stretch = json.loads((tmp_path / "run/manifest.json").read_text())["inputs"]["before"]["stretch"]
    assert stretch["low"][0] == pytest.approx(np.nanpercentile(before[0], 2), rel=1e-5)


@pytest.mark.parametrize("block", [128, 4096])
@pytest.mark.parametrize("options", [{}, {"gsd": 0.8}, {"gsd": 0.3}, {"tile_size": 64}])
def test_scattered_places_cost_their_own_tiles_and_give_what_the_whole_gives_there(
    pair, tmp_path, difference, monkeypatch, options, block
):
    monkeypatch.setattr("changen2.raster.tiles.BLOCK_PIXELS", block)
    places = [
        shapely.Point(500_000 + x, 5_200_000 - y).buffer(radius)
        for x, y, radius in ((20, 20, 18), (95, 75, 9), (190, 140, 3), (185, 10, 0.4))
    ]
    write_polygon(tmp_path / "aoi.gpkg", *places)
    whole = difference(*pair, tmp_path / "whole", **options)
    part = difference(*pair, tmp_path / "part", aoi=str(tmp_path / "aoi.gpkg"), **options)
    for name in MAPS:
        with rasterio.open(part["outputs"][name]) as output:
            values, place, nodata = output.read(1), output.transform @ (0, 0), output.nodata
            inside = rasterio.features.geometry_mask(places, values.shape, output.transform, invert=True)
        column, row = round((place[0] - 500_000) / 0.5), round((5_200_000 - place[1]) / 0.5)
        there = read(whole["outputs"][name])[row : row + values.shape[0], column : column + values.shape[1]]
        assert (values == np.where(inside, there, nodata)).all(), name
    assert part["summary"]["valid_px"] == inside.sum() > 0
    counts = [json.loads((tmp_path / run / "manifest.json").read_text())["tiles"]["count"] for run in ("whole", "part")]
    asked = EstimateRequest(before=str(pair[0]), after=str(pair[1]), aoi=str(tmp_path / "aoi.gpkg"), **options)
    assert estimate(asked)["tiles"] == counts[1] < counts[0]


def test_places_between_the_pixels_are_refused_before_the_work(pair, tmp_path, difference):
    between = [shapely.box(x, 5_199_950.05, x + 0.1, 5_199_950.15) for x in (500_020.05, 500_150.05)]
    write_polygon(tmp_path / "aoi.gpkg", *between)
    with pytest.raises(InputError, match="hold no pixel") as caught:
        difference(*pair, tmp_path / "run", aoi=str(tmp_path / "aoi.gpkg"))
    assert caught.value.code == "empty_extent" and not (tmp_path / "run").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_polygons_of_interest_crop_and_mask(pair, tmp_path, difference, zipped, packed):
    triangle = shapely.Polygon([(500_070, 5_199_970), (500_130, 5_199_970), (500_070, 5_199_910)])
    write_polygon(tmp_path / "aoi.gpkg", triangle)
    whole = read(difference(*pair, tmp_path / "whole")["outputs"]["change_probability"])
    aoi = zipped(tmp_path / "aoi.gpkg") if packed else str(tmp_path / "aoi.gpkg")
    result = difference(*pair, tmp_path / "run", aoi=aoi)
    with rasterio.open(result["outputs"]["change_probability"]) as output:
        values, (left, top) = output.read(1), output.transform @ (0, 0)
        inside = ~rasterio.features.geometry_mask([triangle], values.shape, output.transform)
    told = json.loads((tmp_path / "run/manifest.json").read_text())["inputs"]["aoi"]
    assert (told["path"], told["crs"], told["features"]) == (aoi, "EPSG:32633", 1)
    row, column = round((5_200_000 - top) / 0.5), round((left - 500_000) / 0.5)
    part = whole[row : row + values.shape[0], column : column + values.shape[1]]
    assert (values == np.where(inside, part, 0)).all()
    assert inside.any() and not inside.all()
    for name in ("change", "semantic_before", "semantic_after"):
        assert ((read(result["outputs"][name]) != 255) == inside).all(), name


def test_a_pair_of_pngs_is_worked_on_in_pixels(scene, tmp_path, write_raster, difference):
    paths = write_raster("b.png", scene[0]), write_raster("a.png", scene[1])
    result = difference(*paths, tmp_path / "run", bounds=(100, 200, 300, 50))
    shapes, fields, crs = polygons(result)
    assert crs is None and np.isnan(fields["area_m2"][0]) and result["summary"]["change_area_m2"] is None
    # Cropped to columns 100–300 and rows 50–200; y counts down.
    assert np.allclose(shapes[0].bounds, (50, 50, 130, 110), atol=4)
    with rasterio.open(result["outputs"]["change"]) as output:
        assert output.crs is None and output.shape == (150, 200)
    assert not list(tmp_path.glob("*.aux.xml"))


def test_rasters_without_crs_lie_where_their_geotransforms_say(scene, tmp_path, write_raster, difference):
    """As world files place them: the same pixels as with a CRS, and so are the outputs placed."""
    placed = Affine(0.5, 0, 500_020, 0, -0.5, 5_200_000 - 10)
    cut = scene[1][:, 20:, 40:]
    pairs = [
        (write_raster(f"b{crs}.tif", scene[0], crs=crs), write_raster(f"a{crs}.tif", cut, crs=crs, transform=placed))
        for crs in (None, "EPSG:32633")
    ]
    without, named = (difference(*pair, tmp_path / str(i)) for i, pair in enumerate(pairs))
    for name in MAPS:
        assert (read(without["outputs"][name]) == read(named["outputs"][name])).all()
    # Polygons and extents stay in pixels, (column, row); rasters lie in QGIS where the inputs do.
    part = difference(*pairs[0], tmp_path / "part", bounds=(100, 250, 300, 50))
    with rasterio.open(part["outputs"]["change"]) as output:
        assert output.crs is None and output.transform == Affine(0.5, 0, 500_050, 0, -0.5, 5_200_000 - 25)
        assert (output.read(1) == read(named["outputs"]["change"])[50:250, 100:300]).all()
    assert np.allclose(polygons(part)[0][0].bounds, (50, 50, 130, 110), atol=4)


def test_coregistration_finds_a_known_shift(tmp_path, write_raster, difference, caplog):
    random = np.random.default_rng(3)
    ground = scipy.ndimage.gaussian_filter(random.normal(size=(700, 700)), 3)
    ground = (ground - ground.min()) / np.ptp(ground) * 220
    moved = scipy.ndimage.shift(ground, (2.4, -3.7), order=3, mode="nearest")
    paths = [
        write_raster(name, np.stack([values] * 3).clip(0, 255).astype(np.uint8))
        for name, values in (("b.tif", ground), ("a.tif", moved))
    ]
    caplog.set_level("INFO")
    result = difference(*paths, tmp_path / "run", coregister=True)
    shift = json.loads((tmp_path / "run/manifest.json").read_text())["shift"]
    assert (shift["rows"], shift["columns"]) == pytest.approx((2.4, -3.7), abs=0.1)
    assert shift["metres"] == pytest.approx(np.hypot(2.4, 3.7) * 0.5, abs=0.1)
    assert result["summary"]["shift"] == {name: shift[name] for name in ("columns", "rows", "metres")}
    assert "The second image lay −3.7 columns and 2.4 rows off, 2.2" in caplog.text
    plain = difference(*paths, tmp_path / "plain")
    assert plain["summary"]["shift"] is None
    unaligned = read(plain["outputs"]["change_probability"])
    assert read(tmp_path / "run/change_probability.tif").mean() < unaligned.mean()
    coarse = difference(*paths, tmp_path / "coarse", coregister=True, gsd=1.0)["summary"]["shift"]
    assert (coarse["rows"], coarse["columns"]) == pytest.approx((2.4, -3.7), abs=0.2)  # pixels of the first image


def test_a_part_is_aligned_as_the_whole_where_after_covers_little(tmp_path, write_raster, difference):
    ground = scipy.ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(1, 900, 1000)), 3)
    ground = ((ground - ground.min()) / np.ptp(ground) * 220).astype(np.uint8)
    before = write_raster("b.tif", ground)
    seen = np.roll(ground, 6, 2)[:, 80:380, 90:420]
    after = write_raster("a.tif", seen, transform=Affine(0.5, 0, 500_045, 0, -0.5, 5_200_000 - 40))
    whole = difference(before, after, tmp_path / "whole", coregister=True)
    assert whole["summary"]["shift"]["columns"] == pytest.approx(6, abs=0.1)
    assert read(whole["outputs"]["change"])[90:370, 100:400].mean() == 0
    (left, top), (right, bottom) = UTM_AT(before, 131, 157), UTM_AT(before, 290, 301)
    part = difference(before, after, tmp_path / "part", bounds=(left, bottom, right, top), coregister=True)
    assert part["summary"]["shift"] == whole["summary"]["shift"]
    for name in MAPS:
        assert (read(whole["outputs"][name])[157:301, 131:290] == read(part["outputs"][name])).all(), name


def test_ground_too_small_to_align_is_told(pair, scene, tmp_path, write_raster, difference):
    after = write_raster("small.tif", scene[1][:, :150])
    told = difference(pair[0], after, tmp_path / "run", coregister=True)["warnings"]
    assert any("no place was found where both are valid on 512 × 512" in warning for warning in told)


@pytest.mark.parametrize("gsd", [None, 0.4, 0.8])
def test_progress_never_goes_back(pair, tmp_path, difference, monkeypatch, rising, gsd):
    monkeypatch.setattr(Reporter, "INTERVAL_S", 0.0)
    monkeypatch.setattr("changen2.raster.resampling.BLOCK", 128)
    seen = []
    difference(*pair, tmp_path / "run", reporter=Reporter(seen.append), gsd=gsd)
    resampled = [] if gsd is None else ["resample"]
    assert rising(seen) == ["read", "detect", *resampled, "write", "vectorize"]


def test_progress_reaches_its_total_and_cancel_leaves_nothing(pair, tmp_path, difference):
    seen = []
    difference(*pair, tmp_path / "run", reporter=Reporter(seen.append))
    last = [step for step in seen if step.stage == "detect"][-1]
    assert last.done == last.total == 12

    count = 0

    def cancelled():
        nonlocal count
        count += 1
        return count > 6

    with pytest.raises(Cancelled):
        difference(*pair, tmp_path / "deep/er/run", reporter=Reporter(None, cancelled))
    assert leftovers(tmp_path / "deep") == []


def test_the_parts_of_the_network_ask_whether_to_stop(pair, tmp_path, difference, monkeypatch):
    asked, watched = [], Predictor.watched
    monkeypatch.setattr(Predictor, "watched", lambda self, check: asked.append(check) or watched(self, check))
    reporter = Reporter()
    difference(*pair, tmp_path / "run", reporter=reporter)
    assert asked == [reporter.check]


def test_smaller_tiles_share_at_most_half(pair, tmp_path, difference):
    result = difference(*pair, tmp_path / "run", tile_size=32)  # the card's overlap is 32
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["tiles"]["overlap"] == 16
    assert result["summary"]["change_px"] > 0


def test_nothing_of_an_earlier_run_is_taken_for_the_new_ones(pair, tmp_path, difference):
    run, seen = tmp_path / "run", "threshold 0.30"
    gone = ["change_class.tif", "vectorize_manifest.json", "change_probability.tif.aux.xml", f"{seen}/change.tif"]
    gone += [f"{seen}/change.gpkg", f"{seen}/vectorize_manifest.json", f"{seen} (2)/change.gpkg"]
    stays = [f"{seen} (2)/change_display_1a2b3c4d.gpkg", "threshold notes/change.gpkg", "inputs/change.gpkg"]
    stays += ["change_display_1a2b3c4d.gpkg", "mine.tif", "change_class.tif.txt", "assessment/change.tif"]
    for name in (*gone, *stays, "change.tif"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("of an earlier run")
    difference(*pair, run, overwrite=True)
    there = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert there == {*stays, *(f"{name}.tif" for name in MAPS), "change.gpkg", "manifest.json"}
    assert not (run / seen).exists()


def test_polygons_at_another_threshold_are_never_replaced_as_an_input(pair, tmp_path, difference):
    aoi = tmp_path / "run/threshold 0.30/change.gpkg"
    aoi.parent.mkdir(parents=True)
    write_polygon(aoi, shapely.box(500_010, 5_199_860, 500_190, 5_199_990))
    with pytest.raises(InputError) as caught:
        difference(*pair, tmp_path / "run", overwrite=True, aoi=str(aoi))
    assert caught.value.code == "input_in_output" and aoi.exists()


class TestResume:
    @pytest.fixture
    def interrupted(self, pair, tmp_path, difference, monkeypatch):
        """Run a job and stop it after seven tiles."""
        monkeypatch.setattr("changen2.raster.tiles.BLOCK_PIXELS", 128)
        monkeypatch.setattr(Reporter, "INTERVAL_S", 0.0)

        def interrupt(**options):
            done = 0

            def watch(progress):
                nonlocal done
                done = progress.done if progress.stage == "detect" else done

            with pytest.raises(Cancelled):
                difference(*pair, tmp_path / "run", reporter=Reporter(watch, lambda: done >= 7), **options)

        return interrupt

    def test_what_was_asked_is_kept_with_the_finished_part_and_gives_the_rest(
        self, pair, tmp_path, difference, interrupted
    ):
        options = {"threshold": 0.2, "min_area": 30.0}
        interrupted(**options)
        kept = json.loads((tmp_path / "run" / WORK_FOLDER / "request.json").read_text())
        assert kept["method"] == "detect" and kept["params"]["resume"] is True
        seen = []
        out = kept["params"].pop("out_dir")
        again = difference(out=out, reporter=Reporter(seen.append), **kept["params"])
        whole = difference(*pair, tmp_path / "whole", **options)
        assert next(step for step in seen if step.stage == "detect").done > 0
        assert (read(again["outputs"]["change"]) == read(whole["outputs"]["change"])).all()
        assert again["summary"]["polygons"] == whole["summary"]["polygons"]

    def test_a_run_goes_on_from_another_working_folder(self, pair, tmp_path, difference, interrupted, monkeypatch):
        interrupted()
        asked = (tmp_path / "run" / WORK_FOLDER / "request.json").read_text()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        seen = []
        written = [os.path.relpath(path) for path in pair]
        difference(*written, "../run", reporter=Reporter(seen.append), resume=True)
        assert next(step for step in seen if step.stage == "detect").done > 0
        assert str(tmp_path / "run") == json.loads(asked)["params"]["out_dir"]

    @pytest.mark.parametrize("options", [{}, {"gsd": 0.4}])
    def test_a_resumed_run_gives_what_an_uninterrupted_one_gives(
        self, pair, tmp_path, difference, interrupted, options
    ):
        interrupted(**options)
        seen = []
        again = difference(*pair, tmp_path / "run", reporter=Reporter(seen.append), resume=True, **options)
        whole = difference(*pair, tmp_path / "whole", **options)
        first = next(step for step in seen if step.stage == "detect")
        assert 0 < first.done < first.total
        for name in MAPS:
            assert (read(again["outputs"][name]) == read(whole["outputs"][name])).all()
        for key in ("polygons", "change_px", "valid_px", "change_area_m2"):
            assert again["summary"][key] == whole["summary"][key]
        assert ".changen2-work" not in leftovers(tmp_path / "run")

    def test_unfinished_work_is_not_lost_by_accident(self, pair, tmp_path, difference, interrupted, monkeypatch):
        interrupted()
        with pytest.raises(InputError) as caught:
            difference(*pair, tmp_path / "run")
        assert caught.value.code == "not_empty" and "--resume" in caught.value.hint
        with pytest.raises(InputError) as caught:
            difference(*pair, tmp_path / "run", resume=True, threshold=0.7)
        assert caught.value.code == "other_job" and "parameters" in caught.value.message
        with monkeypatch.context() as later, pytest.raises(InputError, match="edition") as caught:
            later.setattr("changen2.jobs.detect.EDITION", EDITION + 1)
            difference(*pair, tmp_path / "run", resume=True)
        assert "another version of changen2" in caught.value.hint
        difference(*pair, tmp_path / "run", resume=True)

    def test_a_refused_attempt_does_not_change_what_was_asked(self, pair, tmp_path, difference, interrupted):
        interrupted()
        request = tmp_path / "run" / WORK_FOLDER / "request.json"
        asked = request.read_text()
        with pytest.raises(InputError):
            difference(*pair, tmp_path / "run", resume=True, threshold=0.9)
        assert request.read_text() == asked

    def test_other_polygons_of_interest_are_another_job(self, pair, tmp_path, difference, interrupted):
        aoi = tmp_path / "aoi.gpkg"
        write_polygon(aoi, shapely.box(500_010, 5_199_860, 500_190, 5_199_990))
        interrupted(aoi=str(aoi))
        write_polygon(aoi, shapely.box(500_020, 5_199_860, 500_190, 5_199_990))
        with pytest.raises(InputError, match="differs from this one in: files") as caught:
            difference(*pair, tmp_path / "run", resume=True, aoi=str(aoi))
        assert caught.value.code == "other_job"

    def test_a_model_that_was_calibrated_since_is_another_job(
        self, pair, tmp_path, difference, interrupted, monkeypatch
    ):
        interrupted()
        calibrated = plan.card_of("any").model_copy(update={"calibration": {"platt": {"a": 0.6, "b": 0.0}}})
        monkeypatch.setattr(plan, "card_of", lambda name, task="detect": calibrated)
        with pytest.raises(InputError, match="differs from this one in: scaling") as caught:
            difference(*pair, tmp_path / "run", resume=True)
        assert caught.value.code == "other_job"

    @pytest.mark.parametrize("options", [{}, {"gsd": 0.4}])
    @pytest.mark.parametrize("stage", ["write", "vectorize"])
    def test_a_run_that_was_stopped_while_writing_gives_the_same(
        self, pair, tmp_path, difference, monkeypatch, stage, options
    ):
        monkeypatch.setattr(Reporter, "INTERVAL_S", 0.0)
        whole = difference(*pair, tmp_path / "whole", **options)
        seen = []

        def stopped():
            return any(step.stage == stage and step.done == (2 if stage == "write" else 0) for step in seen)

        with pytest.raises(Cancelled):
            difference(*pair, tmp_path / "run", reporter=Reporter(seen.append, stopped), **options)
        again = difference(*pair, tmp_path / "run", resume=True, **options)
        for name in MAPS:
            assert (read(again["outputs"][name]) == read(whole["outputs"][name])).all()
        for key in ("polygons", "change_px", "valid_px", "change_area_m2"):
            assert again["summary"][key] == whole["summary"][key]

    @pytest.mark.parametrize("code", ["unreadable", "missing_file"])
    def test_finished_blocks_stay_when_it_cannot_go_on(self, pair, tmp_path, difference, monkeypatch, code):
        monkeypatch.setattr("changen2.raster.tiles.BLOCK_PIXELS", 128)
        read_window, reads = AlignedRaster.read, []

        def flaky(self, window):
            reads.append(window)
            if len(reads) > 8:
                raise InputError("the share is away", code=code)
            return read_window(self, window)

        with monkeypatch.context() as broken:
            broken.setattr(AlignedRaster, "read", flaky)
            with pytest.raises(InputError):
                difference(*pair, tmp_path / "run")
        again = difference(*pair, tmp_path / "run", resume=True)
        whole = difference(*pair, tmp_path / "whole")
        assert (read(again["outputs"]["change_probability"]) == read(whole["outputs"]["change_probability"])).all()

    def test_a_result_that_is_open_elsewhere_costs_no_block(self, pair, tmp_path, difference, monkeypatch):
        difference(*pair, tmp_path / "run")
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        replace = Path.replace

        def held_open(self, target):
            if self.name == "change.gpkg":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
            return replace(self, target)

        with monkeypatch.context() as windows:
            windows.setattr(Path, "replace", held_open)
            with pytest.raises(JobError, match=r"change\.gpkg") as caught:
                difference(*pair, tmp_path / "run", overwrite=True, threshold=0.7)
        assert caught.value.code == "in_use"
        assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before
        seen = []
        again = difference(*pair, tmp_path / "run", resume=True, threshold=0.7, reporter=Reporter(seen.append))
        first = next(step for step in seen if step.stage == "detect")
        assert first.done == first.total and again["summary"]["threshold"] == 0.7
        assert ".changen2-work" not in leftovers(tmp_path / "run")

    def test_a_block_cut_off_in_the_middle_is_done_again(self, pair, tmp_path, difference, interrupted):
        interrupted()
        journal = tmp_path / "run/.changen2-work/journal.jsonl"
        lines = journal.read_text().splitlines()
        journal.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:9])
        again = difference(*pair, tmp_path / "run", resume=True)
        whole = difference(*pair, tmp_path / "whole")
        assert (read(again["outputs"]["change_probability"]) == read(whole["outputs"]["change_probability"])).all()


def test_numbers_of_colours_are_not_taken_for_brightness(scene, tmp_path, write_raster, difference):
    before, after = (write_raster(name, values[:1]) for name, values in zip(("a.tif", "b.tif"), scene, strict=True))
    with rasterio.open(after, "r+") as dataset:
        dataset.write_colormap(1, {value: (255 - value, 0, 0) for value in range(256)})
    with pytest.raises(InputError, match="has a colour table") as caught:
        difference(before, after, tmp_path / "run")
    assert "-expand rgb" in caught.value.hint and leftovers(tmp_path / "run") == []


def test_no_change_is_said_in_words(pair, tmp_path, difference):
    result = difference(pair[0], pair[0], tmp_path / "run")
    assert result["summary"]["polygons"] == 0
    assert any("No change found" in warning for warning in result["warnings"])
    assert len(polygons(result)[0]) == 0


def test_a_resolution_outside_the_models_range_is_said(scene, tmp_path, write_raster, difference):
    coarse = [
        write_raster(name, values, transform=Affine(30, 0, 5e5, 0, -30, 5.2e6))
        for name, values in zip("ba", scene, strict=True)
    ]
    assert any("30.0" in warning for warning in difference(*coarse, tmp_path / "run")["warnings"])


def test_memory_that_may_not_suffice_is_told_before_and_after(pair, tmp_path, difference, monkeypatch):
    asked = {"before": str(pair[0]), "after": str(pair[1]), "device": "cpu", "model": "difference"}
    free = {"cpu": 0}
    monkeypatch.setattr("changen2.jobs.detection.plan.memory_free", lambda device: free[device.type])

    def of_memory():
        estimated = estimate(EstimateRequest(**asked))
        result = difference(*pair, tmp_path / "run", device="cpu", overwrite=True)
        assert result["warnings"] == estimated["warnings"]
        assert estimate(EstimateRequest(**asked, batch_size=8))["memory_bytes"] > estimated["memory_bytes"]
        return estimated["memory_bytes"], [text for text in estimated["warnings"] if "memory" in text]

    needed, (text,) = of_memory()
    assert f"about {needed / 1e9:.1f} GB of memory, and 0.0 GB are free" in text and "--tile-size" in text
    free["cpu"] = needed - 1
    assert len(of_memory()[1]) == 1
    free["cpu"] = needed
    assert of_memory()[1] == []


class TestBadInput:
    @pytest.fixture
    def refused(self, tmp_path, difference):
        def refuse(code, before, after, out=None, **options):
            with pytest.raises(InputError) as caught:
                difference(before, after, out or tmp_path / "out", **options)
            assert caught.value.code == code
            assert caught.value.message and caught.value.hint
            if out is None:
                assert leftovers(tmp_path / "out") == []

        return refuse

    def test_missing_and_unreadable(self, pair, tmp_path, refused):
        (tmp_path / "text.tif").write_text("no raster")
        refused("missing_file", tmp_path / "none.tif", pair[1])
        refused("missing_file", pair[0], tmp_path / "none.tif")
        refused("unreadable", pair[0], tmp_path / "text.tif")

    def test_no_overlap(self, pair, scene, write_raster, refused):
        far = write_raster("far.tif", scene[1], transform=Affine(0.5, 0, 600_000, 0, -0.5, 5_200_000))
        refused("no_overlap", pair[0], far)
        refused("no_overlap", pair[0], write_raster("plain.png", scene[1]))

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_crs_on_one_date_alone_even_where_the_numbers_overlap(self, scene, write_raster, refused, order):
        placed = write_raster("placed.tif", scene[0], transform=Affine(1, 0, 0, 0, -1, scene[0].shape[1]))
        bare = write_raster("bare.png", scene[1])
        pair = [placed, bare][::order]
        refused("no_overlap", *pair)
        with pytest.raises(InputError, match=f"{bare} has none, {placed} has one") as caught:
            estimate(EstimateRequest(before=str(pair[0]), after=str(pair[1])))
        assert "Assign" in caught.value.hint

    @pytest.mark.parametrize("bands", ["7", "1,2", "0,1,2", "1,2,3,4"])
    def test_unknown_band(self, pair, refused, bands):
        refused("bad_band", *pair, bands=bands)

    def test_empty_extent(self, pair, refused):
        refused("empty_extent", *pair, bounds=(500_010, 5_199_990, 500_010, 5_199_990))

    def test_output_folder(self, pair, tmp_path, refused):
        refused("bad_out_dir", *pair, out=pair[0] / "under" / "a file")
        refused("bad_out_dir", *pair, out=pair[0])
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "precious.txt").write_text("keep")
        refused("not_empty", *pair, out=tmp_path / "full")
        assert leftovers(tmp_path / "full") == ["precious.txt"]

    def test_a_truncated_file_that_opens_and_breaks_later(self, scene, tmp_path, write_raster, pair, refused):
        path = write_raster("cut.tif", np.tile(scene[1], (1, 3, 3)), tiled=True, blockxsize=256, blockysize=256)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        refused("unreadable", path, pair[1])

    def test_rotated(self, scene, write_raster, pair, refused):
        rotated = write_raster("r.tif", scene[0], transform=Affine(0.5, 0, 5e5, 0, -0.5, 5.2e6) @ Affine.rotation(10))
        refused("rotated", rotated, pair[1])

    @pytest.mark.parametrize("told", ["points", "rpcs"])
    def test_a_scene_that_lies_by_points_alone(self, scene, write_raster, pair, refused, told):
        """Not compared pixel by pixel, neither with a raster on a grid nor with another such scene."""
        paths = [write_raster(f"{date}.tif", scene[date], crs=None, transform=None) for date in (0, 1)]
        for path in paths:
            with rasterio.open(path, "r+") as dataset:
                if told == "rpcs":
                    first, second = [0.0, 1.0] + [0.0] * 18, [1.0] + [0.0] * 19
                    dataset.rpcs = RPC(0, 100, 50, 0.1, second, first, 0, 100, 15, 0.1, second, first, 0, 100, 0, 1)
                else:
                    corners = [(0, 0), (0, 99), (99, 0), (99, 99)]
                    points = [GroundControlPoint(row, column, 5e5 + column, 5.2e6 - row) for row, column in corners]
                    dataset.gcps = points, "EPSG:32633"
        for before, after in (paths, (paths[0], pair[1]), (pair[0], paths[1])):
            refused("no_grid", before, after)
        with pytest.raises(InputError, match="ground control points or RPCs") as caught:
            estimate(EstimateRequest(before=str(pair[0]), after=str(paths[1])))
        assert "gdalwarp" in caught.value.hint

    def test_nan_everywhere_and_nodata_everywhere(self, scene, write_raster, pair, refused):
        refused("no_valid_pixels", write_raster("n.tif", np.full(scene[0].shape, np.nan, np.float32)), pair[1])
        refused("no_valid_pixels", write_raster("z.tif", np.zeros_like(scene[0]), nodata=0), pair[1])

    def test_values_out_of_range(self, pair, refused):
        refused("bad_value", *pair, threshold=1.5)
        refused("bad_value", *pair, tile_size=100)
        refused("bad_value", *pair, device="tpu")
        refused("bad_value", *pair, typo=1)


class TestRealRasters:
    def test_naip_keeps_the_grid_of_before_and_parts_agree(self, shared_data, tmp_path, difference):
        paths = [shared_data / name for name in NAIP]
        whole = difference(*paths, tmp_path / "whole")
        with rasterio.open(paths[0]) as before, rasterio.open(whole["outputs"]["change"]) as output:
            assert (output.transform, output.shape, output.crs) == (before.transform, before.shape, before.crs)
            window = Window(333, 257, 367, 354)
            bounds = before.window_bounds(window)
        part = difference(*paths, tmp_path / "part", bounds=bounds)
        for name in MAPS:
            assert (read(whole["outputs"][name])[257:611, 333:700] == read(part["outputs"][name])).all()

    def test_uint16_with_oblong_pixels(self, shared_data, tmp_path, difference):
        folder = shared_data / "geo/sentinel2_pair"
        result = difference(folder / "before.tif", folder / "after.tif", tmp_path / "run", bands="3,2,1")
        _, fields, _ = polygons(result)
        assert fields["area_m2"] == pytest.approx(fields["area_px"] * 10.001 * 9.998, rel=2e-3)

    def test_degrees(self, shared_data, tmp_path, difference):
        folder = shared_data / "geo/landsat"
        result = difference(folder / "1985.tif", folder / "2020.tif", tmp_path / "run")
        _, fields, _ = polygons(result)
        assert fields["area_m2"] == pytest.approx(fields["area_px"] * 89.03 * 89.42, rel=1e-2)


def test_a_change_head_with_classes_tells_them(pair, tmp_path, monkeypatch):
    """Damage levels: change is what the card does not call unchanged, and polygons carry the level."""
    import torch

    from changen2.jobs import detect as job
    from changen2.models.detection import Detection
    from changen2.models.predictor import Predictor
    from changen2.models.registry import ModelCard

    def classes(*names):
        return [{"index": i, "name": name, "color": f"#{i}{i}{i}{i}{i}{i}"} for i, name in enumerate(names)]

    class Damage(torch.nn.Module):
        def forward(self, before, after):
            brighter = torch.sigmoid(8 * ((after - before).mean(1, keepdim=True) - 0.7))
            same = 1 - brighter
            change = torch.cat([0.3 * same, 0.7 * same, 0.1 * brighter, 0.2 * brighter, 0.7 * brighter], dim=1)
            return Detection(change=change, semantic_before=brighter, semantic_after=brighter)

    card = ModelCard(
        name="damage", architecture="none", title="Damage", gsd_min=0.2, gsd_max=1, gsd_native=0.5, tile_size=128,
        overlap=32, licence="none", sha256="", classes=classes("other", "building"),
        change_classes=classes("none", "intact", "minor", "major", "destroyed"), unchanged_classes=[0, 1],
    )  # fmt: skip
    monkeypatch.setattr("changen2.jobs.detection.plan.card_of", lambda name, task="detect": card)
    monkeypatch.setattr(job, "load_predictor", lambda plan: Predictor(Damage(), torch.device("cpu"), torch.float32, 1))
    result = job.detect(*pair, tmp_path / "run")
    levels = read(result["outputs"]["change_class"])
    assert set(np.unique(levels)) == {1, 4} and (levels[110:150, 160:220] == 4).all()
    assert list(polygons(result)[1]["to_class"]) == ["destroyed"]
    change = read(result["outputs"]["change"])
    assert change[110:150, 160:220].all() and not change[levels == 1].any()
    with rasterio.open(result["outputs"]["change_class"]) as dataset:
        assert dataset.tags()["UNCHANGED_CLASSES"] == "0 1"


def test_a_rotated_after_is_warped(scene, tmp_path, write_raster, difference):
    """Turned by a quarter about its corner and stored so, it still shows the same ground."""
    quarter = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000) @ Affine(0, 1, 0, 1, 0, 0)
    before = write_raster("b.tif", scene[0])
    turned = write_raster("a.tif", np.ascontiguousarray(scene[1].transpose(0, 2, 1)), transform=quarter)
    plain = difference(before, write_raster("p.tif", scene[1]), tmp_path / "plain")
    other = difference(before, turned, tmp_path / "turned")
    differing = read(plain["outputs"]["change"]) != read(other["outputs"]["change"])
    assert differing.mean() < 0.01 and read(other["outputs"]["change"])[120:140, 170:210].all()
