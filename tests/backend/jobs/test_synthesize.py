"""The synthesize job with a stand-in generator: what stays identical, what does not depend on the way, refusals."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio._env import get_gdal_config
from shapely.geometry import Polygon, box

from changen2.errors import Cancelled, InputError
from changen2.gpcm import regions
from changen2.gpcm.labels import Box
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis import image_drawing, plan
from changen2.jobs.synthesize import synthesize
from changen2.raster.gdal import GDAL_CACHE_MB

TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000)


def at(left, top, right, bottom):
    """A rectangle given in pixels, in the raster's coordinates."""
    (x0, y0), (x1, y1) = TRANSFORM @ (left, top), TRANSFORM @ (right, bottom)
    return box(x0, y1, x1, y0)


@pytest.fixture
def events(tmp_path):
    """Write an events layer: ``events((polygon, event, to_class, step), …)``."""

    def write(*rows, name="events.gpkg", crs="EPSG:32633"):
        polygons, kinds, classes, steps = zip(*rows, strict=True)
        pyogrio.raw.write(
            tmp_path / name, geometry=shapely.to_wkb(np.array(polygons, dtype=object)), geometry_type="Polygon",
            crs=crs, driver="GPKG", fields=["event", "to_class", "step"],
            field_data=[np.array(kinds, dtype=object), np.array(classes, dtype=object), np.array(steps)],
        )  # fmt: skip
        return tmp_path / name

    return write


@pytest.fixture
def town(events):
    """Two steps: a building and a pond near each other, a third far off; then the building goes."""
    return events(
        (at(50, 60, 90, 100), "create", "building", 1),
        (at(100, 70, 150, 130), "edit", "water", 1),
        (at(340, 240, 380, 280), "create", "building", 1),
        (at(60, 70, 95, 95), "remove", "", 2),
    )


@pytest.fixture
def image(write_raster):
    """Three bytes of noise, 300 × 400."""
    values = np.random.default_rng(0).integers(60, 140, (3, 300, 400)).astype(np.uint8)
    return write_raster("image.tif", values)


def bands(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def rows_of(out):
    meta, _, _, fields = pyogrio.raw.read(out / "change_events.gpkg")
    return [dict(zip(meta["fields"], values, strict=True)) for values in zip(*fields, strict=True)]


def steps_of(out, count):
    return [(bands(out / f"image_t{i}.tif"), bands(out / f"change_t{i - 1}_t{i}.tif")[0]) for i in range(1, count + 1)]


def test_a_series_differs_where_its_change_says(image, town, flat, tmp_path):
    result = flat(image, tmp_path / "out", events=town, sampling_steps=10)
    out = tmp_path / "out"
    names = {"image_t1.tif", "image_t2.tif", "labels_t0.tif", "labels_t1.tif", "labels_t2.tif"}
    names |= {"change_t0_t1.tif", "change_t1_t2.tif", "change_events.gpkg", "manifest.json"}
    assert {path.name for path in out.iterdir()} == names
    before, maps = bands(image), [bands(out / f"labels_t{i}.tif")[0] for i in range(3)]
    for step, (after, change) in enumerate(steps_of(out, 2)):
        assert np.array_equal(change, maps[step] != maps[step + 1]) and change.any()
        assert np.array_equal(after[:, change == 0], before[:, change == 0])
        assert (after[:, change == 1] != before[:, change == 1]).any(axis=0).mean() > 0.9
        before = after
    # The stand-in draws buildings red and water blue.
    first = bands(out / "image_t1.tif")
    assert first[0, 75:85, 65:75].mean() > 200 > first[2, 75:85, 65:75].mean()
    assert first[2, 90:110, 115:135].mean() > 180 > first[0, 90:110, 115:135].mean()
    wall, middle, ground = first[0, 240, 345:375], first[0, 255:265, 345:375], bands(image)[0, 240, 345:375]
    assert wall.mean() > ground.mean() + 0.45 * (middle.mean() - ground.mean()), "a wall stays sharp"
    with rasterio.open(out / "image_t2.tif") as written, rasterio.open(image) as given:
        assert (written.transform, written.crs, written.dtypes) == (given.transform, given.crs, given.dtypes)
        assert written.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert result["summary"]["events"] == {"create": 2, "edit": 1, "remove": 1}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["parameters"]["seed"] == 0 and manifest["model"]["name"] == "flat"


def test_a_mask_of_0_and_255_marks_buildings(image, write_raster, flat, tmp_path):
    mask = np.zeros((1, 300, 400), np.uint8)
    mask[0, 60:90, 60:90] = mask[0, 200:230, 300:340] = 255
    result = flat(image, tmp_path / "out", labels=write_raster("mask.tif", mask), simulate="remove", most=9, least=2)
    assert np.array_equal(bands(tmp_path / "out/labels_t0.tif"), np.where(mask == 255, 4, 0))
    assert result["summary"]["events"] == {"remove": 2} and result["summary"]["changed_px"] == [900 + 1200]
    assert any("255 is taken for building" in warning for warning in result["warnings"])


def test_what_is_drawn_away_without_labels_was_an_object(image, events, flat, tmp_path):
    """The ground is drawn in its place; what was created before it went was none."""
    layer = events(
        (at(100, 100, 140, 140), "remove", "", 1),
        (at(200, 100, 240, 140), "create", "building", 1),
        (at(200, 100, 240, 150), "remove", "", 2),
        (at(300, 200, 320, 220), "edit", "background", 2),
    )
    result = flat(image, tmp_path / "out", events=layer)
    assert result["summary"]["changed_px"] == [1600 + 1600, 2000 + 400] and not result["warnings"]
    first = bands(tmp_path / "out/labels_t0.tif")[0]
    with rasterio.open(tmp_path / "out/labels_t0.tif") as labels:
        stood = next(int(tag[6:]) for tag, name in labels.tags().items() if name == "object")
    assert set(np.unique(first)) == {0, stood}
    expected = np.zeros((300, 400), bool)
    expected[100:140, 100:140] = expected[140:150, 200:240] = expected[200:220, 300:320] = True
    assert np.array_equal(first == stood, expected)
    assert not bands(tmp_path / "out/labels_t2.tif").any()
    before = bands(image)
    for after, change in steps_of(tmp_path / "out", 2):
        assert (after[:, change == 1] != before[:, change == 1]).any(axis=0).mean() > 0.9
        before = after
    (removed,) = [row for row in rows_of(tmp_path / "out") if row["event"] == "remove" and row["step"] == 1]
    assert removed["from_class"] == "object" and removed["to_class"] == "background"


def test_sixteen_bits_five_bands_and_nodata(write_raster, events, flat, tmp_path):
    rng = np.random.default_rng(1)
    rgb = rng.integers(300, 2000, (3, 200, 200))
    values = np.concatenate([rgb, rgb[:1] * 2, rng.integers(0, 9, (1, 200, 200))]).astype(np.uint16)
    values[:, 90:100, 60:70] = 0
    image = write_raster("five.tif", values, nodata=0)
    layer = events((at(50, 60, 110, 120), "create", "building", 1))
    result = flat(image, tmp_path / "out", events=layer)
    ((after, change),) = steps_of(tmp_path / "out", 1)
    with rasterio.open(tmp_path / "out/image_t1.tif") as written:
        assert written.dtypes == ("uint16",) * 5 and written.nodata == 0
    assert np.array_equal(after[:, change != 1], values[:, change != 1])
    assert set(np.unique(change[90:100, 60:70])) == {255}
    assert (after[:, change == 1] > 0).all()
    inner = np.s_[65:85, 55:105]
    # Red is drawn bright; the fourth band is twice the red in this image, and so it must be in the building.
    assert after[0][inner].mean() > 1500
    assert after[3][inner].mean() / after[0][inner].mean() == pytest.approx(2, rel=0.15)
    assert any("band 4, 5" in warning for warning in result["warnings"])


@pytest.mark.parametrize("given", [[], ["labels"], ["labels", "events"]])
def test_progress_of_steps_never_goes_back(image, write_raster, town, flat, tmp_path, monkeypatch, rising, given):
    monkeypatch.setattr(Reporter, "INTERVAL_S", 0.0)
    labels = np.full((1, 300, 400), 2, np.uint8)
    labels[:, 20:60, 30:80] = 4
    inputs = {"labels": write_raster("labels.tif", labels), "events": town}
    seen = []

    def drawn():  # what comes after is not looked at
        return bool(seen) and seen[-1].stage == "synthesize"

    with pytest.raises(Cancelled):
        flat(image, tmp_path / "out", Reporter(seen.append, drawn), steps=2, **{name: inputs[name] for name in given})
    told = rising([report for report in seen if report.stage in ("simulate", "labels")])
    assert told == (["labels"] if "events" in given else ["simulate", "labels"])


@pytest.mark.parametrize("init", ["noise", "exemplar"])
def test_the_extent_does_not_change_pixels(image, town, flat, tmp_path, init):
    flat(image, tmp_path / "whole", events=town, init=init)
    left, top, right, bottom = 70, 75, 130, 140
    x0, y0 = TRANSFORM @ (left, bottom)
    x1, y1 = TRANSFORM @ (right, top)
    result = flat(image, tmp_path / "part", events=town, bounds=(x0, y0, x1, y1), init=init)
    for name in ("image_t1.tif", "image_t2.tif", "labels_t1.tif", "change_t1_t2.tif"):
        part, whole = bands(tmp_path / "part" / name), bands(tmp_path / "whole" / name)
        assert np.array_equal(part, whole[:, top:bottom, left:right])
    assert result["summary"]["regions"] == 2  # the building far off was not drawn
    _, _, wkb, _ = pyogrio.raw.read(tmp_path / "part/change_events.gpkg")
    assert len(wkb) == 3  # neither is it in the events layer
    assert shapely.box(x0, y0, x1, y1).covers(shapely.from_wkb(wkb)).all()
    for step, changed in enumerate(result["summary"]["changed_px"], 1):
        assert sum(row["area_px"] for row in rows_of(tmp_path / "part") if row["step"] == step) == changed


def test_what_is_left_of_a_house_goes_on_alike_in_an_extent(image, write_raster, events, flat, tmp_path):
    """The extent ends inside the house that the new part is a mirror image of."""
    labels = np.full((1, 300, 400), 2, np.uint8)
    labels[0, 100:160, 80:200] = 4
    labels[0, 100:160, 150:200] = 5
    given = {
        "labels": write_raster("labels.tif", labels),
        "events": events((at(150, 100, 200, 160), "edit", "building", 1)),
        "init": "exemplar",
    }
    whole = flat(image, tmp_path / "whole", **given)
    assert whole["summary"]["exemplars"] == {"same object": 1}
    left, top, right, bottom = 140, 90, 230, 170
    (x0, y0), (x1, y1) = TRANSFORM @ (left, bottom), TRANSFORM @ (right, top)
    flat(image, tmp_path / "part", bounds=(x0, y0, x1, y1), **given)
    after = bands(tmp_path / "whole/image_t1.tif")[:, top:bottom, left:right]
    assert np.array_equal(bands(tmp_path / "part/image_t1.tif"), after)


def test_a_change_of_many_windows_is_the_same_for_any_extent(write_raster, events, flat, tmp_path):
    values = np.random.default_rng(2).integers(60, 140, (3, 448, 704)).astype(np.uint8)
    image = write_raster("wide.tif", values)
    layer = events((at(90, 30, 610, 420), "create", "vegetation", 1))
    whole = flat(image, tmp_path / "whole", events=layer, sampling_steps=3)
    x0, y0 = TRANSFORM @ (100, 300)
    x1, y1 = TRANSFORM @ (400, 100)
    flat(image, tmp_path / "part", events=layer, sampling_steps=3, bounds=(x0, y0, x1, y1), batch_size=4)
    after = bands(tmp_path / "whole/image_t1.tif")
    assert np.array_equal(bands(tmp_path / "part/image_t1.tif"), after[:, 100:300, 100:400])
    assert whole["summary"]["regions"] == 1 and whole["summary"]["sampled_tiles"] > 12


@pytest.mark.parametrize("init", ["noise", "exemplar"])
def test_a_change_too_large_for_memory_is_drawn_in_parts(write_raster, events, flat, tmp_path, monkeypatch, init):
    monkeypatch.setattr(regions, "JOINT_CELLS", 5)
    values = np.random.default_rng(2).integers(60, 140, (3, 448, 704)).astype(np.uint8)
    image = write_raster("wide.tif", values)
    layer = events((at(90, 30, 610, 420), "create", "water", 1))
    options = {"events": layer, "sampling_steps": 2, "init": init, "exemplar_level": 0.9}
    whole = flat(image, tmp_path / "whole", **options)
    assert whole["summary"]["regions"] == 4
    ((after, change),) = steps_of(tmp_path / "whole", 1)
    assert np.array_equal(after[:, change == 0], values[:, change == 0])
    assert (after[2, 40:410, 100:600] > 170).mean() > 0.95  # blue all over, across the parts' borders
    x0, y0 = TRANSFORM @ (500, 440)
    x1, y1 = TRANSFORM @ (650, 350)
    part = flat(image, tmp_path / "part", bounds=(x0, y0, x1, y1), **options)
    assert part["summary"]["regions"] == 4  # the last part depends on those before it
    assert np.array_equal(bands(tmp_path / "part/image_t1.tif"), after[:, 350:440, 500:650])


def test_work_follows_the_change_not_the_raster(write_raster, town, flat, tmp_path):
    counts = []
    for side in (400, 1200):
        values = np.random.default_rng(3).integers(60, 140, (3, side, side)).astype(np.uint8)
        image = write_raster(f"{side}.tif", values)
        summary = flat(image, tmp_path / str(side), events=town)["summary"]
        counts.append((summary["encoded_tiles"], summary["sampled_tiles"]))
    assert counts[0] == counts[1] == (3, 12)


def test_later_steps_take_no_larger_cache_than_the_first(write_raster, town, flat, tmp_path):
    wide = np.random.default_rng(0).integers(60, 140, (3, 300, 8000)).astype(np.uint8)
    image = write_raster("wide.tif", wide, tiled=True, blockxsize=256, blockysize=256)
    sizes = []
    reporter = Reporter(lambda _: sizes.append(get_gdal_config("GDAL_CACHEMAX")), lambda: False)
    flat(image, tmp_path / "out", reporter, events=town, patches=True)
    assert set(sizes) == {GDAL_CACHE_MB * 2**20}


def test_the_seed_decides(image, town, flat, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        flat(image, tmp_path / name, events=town, seed=seed)
    first, again, other = (bands(tmp_path / name / "image_t1.tif") for name in "abc")
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_cancelled_run_goes_on_after_its_last_step(image, town, flat, tmp_path, monkeypatch):
    once = flat(image, tmp_path / "once", events=town)
    stages = []

    def stop_in_step_two():
        return bool(stages) and stages[-1] == ("write", 1)

    reporter = Reporter(lambda progress: stages.append((progress.stage, progress.done)), stop_in_step_two)
    with pytest.raises(Cancelled):
        flat(image, tmp_path / "twice", reporter, events=town)
    with pytest.raises(InputError, match="unfinished run"):
        flat(image, tmp_path / "twice", events=town)
    with pytest.raises(InputError, match="differs from this one in: parameters"):
        flat(image, tmp_path / "twice", events=town, resume=True, seed=9)
    with monkeypatch.context() as later, pytest.raises(InputError, match="differs from this one in: edition"):
        later.setattr(plan, "EDITION", plan.EDITION + 1)
        flat(image, tmp_path / "twice", events=town, resume=True)
    result = flat(image, tmp_path / "twice", events=town, resume=True)
    for number in ("regions", "encoded_tiles", "sampled_tiles"):
        assert result["summary"][number] == once["summary"][number]
    for name in ("image_t1.tif", "image_t2.tif"):
        assert np.array_equal(bands(tmp_path / "once" / name), bands(tmp_path / "twice" / name))


def test_patches_hold_the_change_and_a_virtual_raster_shows_the_whole(write_raster, town, flat, tmp_path):
    values = np.random.default_rng(4).integers(60, 140, (3, 900, 900)).astype(np.uint8)
    image = write_raster("image.tif", values)
    flat(image, tmp_path / "whole", events=town)
    result = flat(image, tmp_path / "patches", events=town, patches=True)
    for step in (1, 2):
        shown = bands(tmp_path / f"patches/image_t{step}.vrt")
        assert np.array_equal(shown, bands(tmp_path / f"whole/image_t{step}.tif"))
    assert (tmp_path / "patches/image_t1_patches.tif").stat().st_size < image.stat().st_size / 2
    assert not list((tmp_path / "patches").glob("image_t?.tif"))
    assert result["outputs"]["image_t1"].endswith(".vrt")


def test_labels_on_another_grid_and_simulated_events(image, write_raster, flat, tmp_path):
    labels = np.full((1, 150, 200), 5, np.uint8)
    for top, left in ((10, 10), (30, 90), (60, 40), (100, 120), (120, 30)):
        labels[0, top : top + 12, left : left + 15] = 4
    coarse = write_raster("labels.tif", labels, transform=TRANSFORM @ Affine.scale(2))
    result = flat(image, tmp_path / "out", labels=coarse, simulate="create,remove", steps=2, seed=3)
    out = tmp_path / "out"
    maps = [bands(out / f"labels_t{i}.tif")[0] for i in range(3)]
    assert np.array_equal(maps[0], np.kron(labels[0], np.ones((2, 2), np.uint8)))
    assert any("another grid" in warning for warning in result["warnings"])
    before = bands(image)
    for step, (after, change) in enumerate(steps_of(out, 2)):
        assert np.array_equal(change, maps[step] != maps[step + 1]) and change.any()
        assert np.array_equal(after[:, change == 0], before[:, change == 0])
        before = after
    with rasterio.open(out / "labels_t1.tif") as dataset:
        assert dataset.tags()["CLASS_4"] == "building"


def test_what_the_generator_draws_alike_is_not_simulated_and_said_of_what_is_drawn(
    image, write_raster, events, flat, tmp_path
):
    values = np.full((1, 300, 400), 1, np.uint8)
    values[0, 40:120, 40:140], values[0, 160:220, 200:300] = 2, 4
    labels, names, table = write_raster("labels.tif", values), tmp_path / "c.csv", tmp_path / "t.csv"
    names.write_text("index,name\n0,background\n1,tree\n2,agriculture\n4,water\n")
    table.write_text("from,to\ntree,agriculture\nagriculture,tree\nwater,agriculture tree\n")
    given = {"labels": labels, "classes": names, "sampling_steps": 2}
    result = flat(image, tmp_path / "a", **given, simulate="edit", transitions=table, edit_probability=1.0)
    assert any("agriculture to tree, tree to agriculture" in said or "tree to agriculture, agriculture to tree" in said
               for said in result["warnings"])  # fmt: skip
    assert np.array_equal(bands(tmp_path / "a/change_t0_t1.tif")[0] == 1, values[0] == 4)
    drawn = events((at(150, 30, 180, 60), "edit", "agriculture", 1), (at(10, 200, 30, 220), "edit", "water", 1))
    said = [text for text in flat(image, tmp_path / "b", **given, events=drawn)["warnings"] if "alike" in text]
    assert len(said) == 1 and said[0].startswith("900 pixels change from tree to agriculture at step 1")


def test_change_in_the_last_rows_and_columns_is_drawn(write_raster, events, flat, tmp_path):
    values = np.random.default_rng(0).integers(60, 140, (3, 299, 401)).astype(np.uint8)
    drawn = events((at(371, 269, 401, 299), "create", "building", 1))
    flat(write_raster("odd.tif", values), tmp_path / "out", events=drawn, sampling_steps=2)
    ((after, change),) = steps_of(tmp_path / "out", 1)
    assert change.sum() == 900
    assert (after[:, -4:, -30:] != values[:, -4:, -30:]).any(axis=0).mean() > 0.9


def test_without_labels_instances_are_removed(write_raster, flat, tmp_path):
    rng = np.random.default_rng(5)
    values = rng.integers(95, 105, (3, 300, 300)).astype(np.uint8)
    for row in range(8):
        for column in range(8):
            values[:, row * 36 + 8 : row * 36 + 28, column * 36 + 8 : column * 36 + 28] += 80
    image = write_raster("blocks.tif", values)
    result = flat(image, tmp_path / "out", steps=2, seed=1)
    out = tmp_path / "out"
    assert result["summary"]["events"]["remove"] > 2
    now, then = bands(out / "labels_t0.tif")[0], bands(out / "labels_t1.tif")[0]
    assert set(np.unique(now)) == {0, 1} and (then[now == 0] == 0).all()
    (after, change), _ = steps_of(out, 2)
    assert np.array_equal(after[:, change == 0], values[:, change == 0])
    with pytest.raises(InputError, match="only removal can be simulated"):
        flat(image, tmp_path / "no", simulate="create")


def test_the_seed_decides_what_an_exemplar_start_is_made_of(image, town, flat, tmp_path, monkeypatch):
    seeds = []
    monkeypatch.setattr(
        image_drawing, "start_picture", lambda *given, **_: seeds.append(tuple(given[6])) or (given[0], {})
    )
    flat(image, tmp_path / "out", events=town, seed=11, init="exemplar")
    assert {(seed, step) for seed, step, *_ in seeds} == {(11, 1), (11, 2)}
    assert len(set(seeds)) == len(seeds), "each region has one of its own"


def test_an_exemplar_start_is_recorded(image, write_raster, town, flat, tmp_path):
    labels = np.full((1, 300, 400), 5, np.uint8)
    labels[0, 200:250, 100:160] = 4
    given = write_raster("labels.tif", labels)
    flat(image, tmp_path / "noise", events=town, labels=given)
    result = flat(image, tmp_path / "out", events=town, labels=given, init="exemplar")
    sources = result["summary"]["exemplars"]
    assert sources["same raster"] == 2 and sum(sources.values()) == 4
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert "picture of the wanted class" in manifest["start"]
    after, other = bands(tmp_path / "out/image_t1.tif"), bands(tmp_path / "noise/image_t1.tif")
    assert not np.array_equal(after, other)


def test_an_area_of_interest_hides_nothing_of_what_stands_around(write_raster, events, flat, tmp_path, monkeypatch):
    """The generator is told of the houses beside it, and no ground is where they are."""
    values = np.random.default_rng(0).integers(60, 140, (3, 200, 200)).astype(np.uint8)
    labels = np.full((1, 200, 200), 5, np.uint8)
    labels[0, 60:90, 60:90] = labels[0, 60:90, 100:130] = 4
    drawn, aoi = events((at(58, 58, 92, 92), "remove", "", 1)), events((at(50, 50, 95, 95), "", "", 1), name="aoi.gpkg")
    told = []

    def start(before, wanted, change, valid, exemplars_at, ground_at, *rest):
        told.append((wanted, ground_at(Box(0, 0, *wanted.shape))))
        return before, {}

    monkeypatch.setattr(image_drawing, "start_picture", start)
    image, given = write_raster("image.tif", values), write_raster("labels.tif", labels)
    for name, area in (("whole", None), ("part", aoi)):
        flat(image, tmp_path / name, events=drawn, labels=given, init="exemplar", aoi=area)
    assert all(np.array_equal(*pair) for pair in zip(*told, strict=True))
    wanted, ground = told[0]
    assert (wanted == 4).any() and np.array_equal(ground, wanted != 4)


def test_an_area_of_interest_masks_what_lies_outside(image, town, flat, tmp_path):
    aoi = tmp_path / "aoi.gpkg"
    outline = Polygon([TRANSFORM @ corner for corner in ((40, 40), (200, 40), (40, 200))])
    pyogrio.raw.write(
        aoi, geometry=shapely.to_wkb(np.array([outline], dtype=object)), geometry_type="Polygon", crs="EPSG:32633",
        fields=[], field_data=[], driver="GPKG",
    )  # fmt: skip
    flat(image, tmp_path / "out", events=town, aoi=aoi)
    (after, change), _ = steps_of(tmp_path / "out", 2)
    assert change.shape == (160, 160) and change[-1, -1] == 255 and (change == 1).any()
    original = bands(image)[:, 40:200, 40:200]
    assert np.array_equal(after[:, change != 1], original[:, change != 1])


def test_a_raster_without_crs_and_a_mask(tmp_path, events, flat):
    values = np.random.default_rng(6).integers(60, 140, (3, 120, 150)).astype(np.uint8)
    path = tmp_path / "plain.tif"
    profile = {"driver": "GTiff", "count": 3, "height": 120, "width": 150, "dtype": "uint8"}
    mask = np.ones((120, 150), bool)
    mask[:, :20] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as target:
        target.write(values)
        target.write_mask(mask)
    layer = events((box(10, 30, 60, 80), "create", "building", 1))
    result = flat(path, tmp_path / "out", events=layer)
    ((after, change),) = steps_of(tmp_path / "out", 1)
    assert (change[30:80, 20:60] == 1).all() and (change[:, :20] == 255).all() and (change == 1).sum() == 50 * 40
    assert np.array_equal(after[:, change != 1], values[:, change != 1])
    with rasterio.open(tmp_path / "out/image_t1.tif") as written:
        assert np.array_equal(written.dataset_mask() > 0, mask)
    assert any("no coordinate system" in warning for warning in result["warnings"])
    flat(path, tmp_path / "part", events=layer, bounds=(25, 20, 100, 100))
    assert np.array_equal(bands(tmp_path / "part/image_t1.tif"), after[:, 20:100, 25:100])
    _, _, wkb, _ = pyogrio.raw.read(tmp_path / "part/change_events.gpkg")
    assert shapely.from_wkb(wkb[0]).bounds == (0, 10, 35, 60)


def test_a_bow_tie_is_repaired_and_said(image, events, flat, tmp_path):
    bow = Polygon([TRANSFORM @ corner for corner in ((50, 50), (90, 90), (90, 50), (50, 90))])
    result = flat(image, tmp_path / "out", events=events((bow, "create", "road", 1)))
    assert any("repaired" in warning for warning in result["warnings"])
    assert result["summary"]["changed_px"][0] == pytest.approx(800, abs=80)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ((at(900, 900, 950, 950), "create", "building", 1), {}, "None of the 1 polygons"),
        ((at(50, 60, 90, 100), "create", "lava", 1), {}, "no class 'lava'"),
        ((at(50, 60, 90, 100), "create", "building", 0), {}, "Step 0"),
        ((at(50, 60, 90, 100), "create", "building", 3), {"steps": 2}, "step 3, but the series has 2"),
        ((at(50, 60, 90, 100), "burn", "building", 1), {}, "'burn' is no event"),
        ((at(50, 60, 90, 100), "create", "building", 1), {"simulate": "create"}, "Both drawn events"),
    ],
)
def test_bad_events_are_refused(image, events, flat, tmp_path, row, options, message):
    with pytest.raises(InputError, match=message):
        flat(image, tmp_path / "out", events=events(row), **options)
    assert not (tmp_path / "out").exists()


def test_a_layer_without_polygons_is_refused(image, flat, tmp_path):
    pyogrio.raw.write(
        tmp_path / "none.gpkg", geometry=np.array([], dtype=object), geometry_type="Polygon", crs="EPSG:32633",
        driver="GPKG", fields=["event", "to_class", "step"], field_data=[np.array([], dtype=object)] * 3,
    )  # fmt: skip
    with pytest.raises(InputError, match="holds no polygon"):
        flat(image, tmp_path / "out", events=tmp_path / "none.gpkg")
    assert not (tmp_path / "out").exists()


def test_labels_outside_the_table_are_refused(image, town, write_raster, flat, tmp_path):
    labels = np.full((1, 300, 400), 2, np.uint8)
    labels[0, 200, 200] = 77
    with pytest.raises(InputError, match="holds 77, which is no class"):
        flat(image, tmp_path / "out", events=town, labels=write_raster("labels.tif", labels))
    assert not (tmp_path / "out").exists()


def test_images_that_nothing_can_be_drawn_in_are_refused(write_raster, town, flat, tmp_path):
    turned = write_raster("turned.tif", np.zeros((3, 40, 40), np.uint8), transform=TRANSFORM @ Affine.rotation(20))
    with pytest.raises(InputError, match="rotated"):
        flat(turned, tmp_path / "out", events=town)
    waves = write_raster("waves.tif", np.zeros((1, 40, 40), np.complex64))
    with pytest.raises(InputError, match="complex64"):
        flat(waves, tmp_path / "out", events=town)


def test_a_generator_that_is_not_installed_is_said(image, town, tmp_path):
    with pytest.raises(InputError, match="no model 'nothing' to synthesize") as caught:
        synthesize(image, tmp_path / "out", events=Path(town), model="nothing")
    assert caught.value.code == "unknown_model" and not (tmp_path / "out").exists()
