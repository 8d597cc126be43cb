"""The simulate job on small rasters: files, labels, events, repairs and refusals."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.features import rasterize
from shapely.geometry import Polygon, box

from changen2.errors import Cancelled, InputError
from changen2.gpcm.labels import NODATA
from changen2.jobs.simulate import simulate

TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
CRS = "EPSG:32633"


def write_labels(path: Path, values: np.ndarray, crs: str | None = CRS, nodata: int | None = 255) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
        crs=crs, transform=TRANSFORM if crs else None, nodata=nodata,
    ) as target:  # fmt: skip
        target.write(values, 1)
    return path


def write_drawn(path: Path, polygons: list, crs: str | None = CRS, layer: str | None = None, **fields: list) -> Path:
    pyogrio.raw.write(
        path, geometry=shapely.to_wkb(np.array(polygons, dtype=object)), geometry_type="Polygon", crs=crs,
        fields=list(fields), field_data=[np.array(v, dtype=object if isinstance(v[0], str) else None)
                                         for v in fields.values()], driver="GPKG", layer=layer,
        append=path.exists(),
    )  # fmt: skip
    return path


def read(path: str | Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def events_of(path: str | Path) -> tuple[list[dict], np.ndarray, str | None]:
    meta, _, wkb, fields = pyogrio.raw.read(path)
    rows = [dict(zip(meta["fields"], values, strict=True)) for values in zip(*fields, strict=True)]
    return rows, shapely.from_wkb(wkb), meta["crs"]


@pytest.fixture
def town(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    values = np.kron(rng.integers(1, 8, (6, 8), dtype=np.uint8), np.ones((30, 30), np.uint8))
    for top, left in ((10, 10), (10, 60), (70, 20), (100, 150), (140, 90)):
        values[top : top + 12, left : left + 15] = 8
    values[:4] = NODATA
    return write_labels(tmp_path / "labels.tif", values)


def at(left: float, top: float, right: float, bottom: float) -> Polygon:
    """A rectangle given in pixels, in the raster's coordinates."""
    (x0, y0), (x1, y1) = TRANSFORM @ (left, top), TRANSFORM @ (right, bottom)
    return box(x0, y1, x1, y0)


def test_a_series_with_its_change_labels_and_events(town: Path, tmp_path: Path) -> None:
    result = simulate(town, tmp_path / "out", steps=3, seed=5)
    out = tmp_path / "out"
    expected = {f"labels_t{i}.tif" for i in range(4)} | {f"change_t{i}_t{i + 1}.tif" for i in range(3)}
    assert {path.name for path in out.iterdir()} == expected | {"change_events.gpkg", "manifest.json"}
    maps = [read(out / f"labels_t{i}.tif") for i in range(4)]
    assert np.array_equal(maps[0], read(town))
    rows, geometries, crs = events_of(out / "change_events.gpkg")
    assert crs == CRS and len(rows) == sum(result["summary"]["events"].values())
    for step in (1, 2, 3):
        now, then, label = maps[step - 1], maps[step], read(out / f"change_t{step - 1}_t{step}.tif")
        expected_label = np.where(now == NODATA, NODATA, now != then)
        assert np.array_equal(label, expected_label)
        assert (label == 1).any()
        mine = [g for row, g in zip(rows, geometries, strict=True) if row["step"] == step]
        burnt = rasterize(mine, out_shape=label.shape, transform=TRANSFORM)
        assert np.array_equal(burnt == 1, label == 1)
    with rasterio.open(out / "labels_t3.tif") as dataset:
        assert dataset.crs == CRS and dataset.transform == TRANSFORM and dataset.nodata == NODATA
        assert dataset.tags()["CLASS_8"] == "building"
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["parameters"]["seed"] == 5 and manifest["classes"]["8"] == "building"


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", None), ("uint8", 0), ("int32", None), ("float32", 0)])
def test_a_mask_of_0_and_255_gives_what_its_classes_give(tmp_path: Path, town: Path, dtype: str, nodata: int | None):
    is_building = read(town) == 8
    classes = write_labels(tmp_path / "classes.tif", np.where(is_building, 8, 0).astype(np.uint8), nodata=None)
    mask = write_labels(tmp_path / "mask.tif", np.where(is_building, 255, 0).astype(dtype), nodata=nodata)
    expected = simulate(classes, tmp_path / "expected", steps=3)
    result = simulate(mask, tmp_path / "out", steps=3)
    assert result["summary"]["events"] == expected["summary"]["events"] and "remove" in result["summary"]["events"]
    for step in range(4):
        assert np.array_equal(read(result["outputs"][f"labels_t{step}"]), read(expected["outputs"][f"labels_t{step}"]))
    assert [said for said in result["warnings"] if "255 is taken for building (8)" in said] and not expected["warnings"]


def test_255_beside_classes_is_not_known_and_said(tmp_path: Path, town: Path) -> None:
    silent = simulate(town, tmp_path / "silent", steps=1)
    said = simulate(write_labels(tmp_path / "untagged.tif", read(town), nodata=None), tmp_path / "said", steps=1)
    assert np.array_equal(read(said["outputs"]["labels_t1"]), read(silent["outputs"]["labels_t1"]))
    assert not silent["warnings"] and ["255" in warning for warning in said["warnings"]] == [True]


def test_a_mask_of_nobody_knows_what_is_refused(tmp_path: Path, town: Path) -> None:
    mask = write_labels(tmp_path / "mask.tif", np.where(read(town) == 8, 255, 0).astype(np.uint8), nodata=None)
    for rows, works in (("0,ground\n1,pool\n", True), ("0,ground\n1,pool\n2,road\n", False)):
        table = tmp_path / f"{works}.csv"
        table.write_text("index,name\n" + rows)
        if works:
            simulate(mask, tmp_path / "out", steps=1, events="remove", classes=table)
        else:
            with pytest.raises(InputError, match="which class 255 stands for is not known: 1 pool, 2 road"):
                simulate(mask, tmp_path / "refused", steps=1, events="remove", classes=table)


def test_the_seed_decides(town: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(town, tmp_path / name, steps=2, seed=seed)
    first, again, other = (read(tmp_path / name / "labels_t2.tif") for name in "abc")
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_only_the_kinds_asked_for(town: Path, tmp_path: Path) -> None:
    result = simulate(town, tmp_path / "out", steps=1, events="remove", background="developed space", least=2, most=2)
    assert result["summary"]["events"] == {"remove": 2}
    before, after = read(town), read(tmp_path / "out/labels_t1.tif")
    assert set(np.unique(after[before != after])) == {3}
    assert set(np.unique(before[before != after])) == {8}


def test_transitions_and_classes_from_csv(town: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("from,to\nbuilding,water\n")
    simulate(town, tmp_path / "out", steps=1, events="edit", transitions=table, edit_probability=1.0)
    before, after = read(town), read(tmp_path / "out/labels_t1.tif")
    assert np.array_equal(after, np.where(before == 8, 6, before))
    names = tmp_path / "c.csv"
    names.write_text("index,name,colour\n" + "".join(f"{i},thing {i},#0a0b0{i}\n" for i in range(9)))
    simulate(town, tmp_path / "own", steps=1, events="create", classes=names, object_classes="thing 8")
    with rasterio.open(tmp_path / "own/labels_t1.tif") as dataset:
        assert dataset.tags()["CLASS_8"] == "thing 8" and dataset.colormap(1)[8][:3] == (10, 11, 8)
    with pytest.raises(InputError, match="no built-in transition table"):
        simulate(town, tmp_path / "none", steps=1, events="edit", classes=names)
    assert not (tmp_path / "none").exists()


def test_only_a_removal_needs_a_class_to_leave(tmp_path: Path) -> None:
    values = np.full((90, 120), 2, np.uint8)
    values[10:30, 10:40] = 1
    labels, names = write_labels(tmp_path / "labels.tif", values), tmp_path / "c.csv"
    names.write_text("index,name\n1,building\n2,field\n")
    drawn = write_drawn(tmp_path / "e.gpkg", [at(60, 50, 80, 70)], event=["create"], to_class=["building"], step=[1])
    for number, events in enumerate(("create", drawn)):
        result = simulate(labels, tmp_path / f"out{number}", steps=1, events=events, classes=names)
        assert result["summary"]["events"]["create"] >= 1
    gone = write_drawn(tmp_path / "g.gpkg", [at(5, 5, 80, 70)], event=["remove"], to_class=[""], step=[1])
    for events in ("remove", gone):
        with pytest.raises(InputError, match="background") as caught:
            simulate(labels, tmp_path / "none", steps=1, events=events, classes=names)
        assert "--background" in str(caught.value.hint)
        result = simulate(labels, tmp_path / f"left {Path(events).stem}", steps=1, events=events, classes=names,
                          background="field")  # fmt: skip
        assert result["summary"]["events"] == {"remove": 1}


def test_drawn_events_in_another_crs(town: Path, tmp_path: Path) -> None:
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    polygons = [at(30, 40, 50, 60), at(40, 50, 70, 64), at(-20, 100, 12, 110), at(900, 900, 910, 910)]
    bent = shapely.transform(np.array(shapely.segmentize(polygons, 2.0)), to_degrees.transform, interleaved=False)
    layer = write_drawn(
        tmp_path / "events.gpkg", list(bent), "EPSG:4326",
        event=["create", "Remove", "edit", "create"], to_class=["building", "", "5", "8"], step=[1, 3, 2, 1],
    )  # fmt: skip
    result = simulate(town, tmp_path / "out", events=layer)
    out = tmp_path / "out"
    before = read(town)
    maps = [read(out / f"labels_t{i}.tif") for i in range(4)]
    expected = before.copy()
    expected[40:60, 30:50] = 8
    assert np.array_equal(maps[1], expected)
    expected[100:110, 0:12] = 5
    assert np.array_equal(maps[2], expected)
    expected[50:64, 40:70] = 0
    assert np.array_equal(maps[3], expected)
    assert any("1 of 4 polygons lie outside" in warning for warning in result["warnings"])
    rows, _, _ = events_of(out / "change_events.gpkg")
    assert [(row["event"], row["step"], row["to_class"]) for row in rows] == [
        ("create", 1, "building"), ("edit", 2, "tree"), ("remove", 3, "unknown"),
    ]  # fmt: skip
    assert rows[0]["area_m2"] == pytest.approx(20 * 20 * 0.25, rel=0.01)


def test_labels_and_events_in_archives(town: Path, tmp_path: Path, zipped: Callable[..., str]) -> None:
    fields = {"event": ["create"], "to_class": ["building"], "step": [1]}
    layer = write_drawn(tmp_path / "events.gpkg", [at(30, 40, 50, 60)], **fields)
    simulate(zipped(town), tmp_path / "packed", events=zipped(layer))
    simulate(town, tmp_path / "plain", events=layer)
    assert np.array_equal(*(read(tmp_path / run / "labels_t1.tif") for run in ("packed", "plain")))
    told = json.loads((tmp_path / "packed/manifest.json").read_text())["inputs"]
    assert told["labels"]["crs"] == told["events"]["crs"] == CRS and told["events"]["features"] == 1


def test_the_events_of_one_run_can_be_replayed(town: Path, tmp_path: Path) -> None:
    simulate(town, tmp_path / "first", steps=2, seed=3)
    simulate(town, tmp_path / "second", events=tmp_path / "first/change_events.gpkg")
    for i in range(3):
        name = f"labels_t{i}.tif"
        assert np.array_equal(read(tmp_path / "first" / name), read(tmp_path / "second" / name))


def test_nested_objects_are_traced_whole(tmp_path: Path) -> None:
    # The boxes of rings cover the raster many times over, which is when outlines are traced in one pass.
    rows, columns = np.indices((60, 60))
    rings = (np.maximum(np.abs(rows - 30), np.abs(columns - 30)) // 4 % 2 + 1).astype(np.uint8)
    labels = write_labels(tmp_path / "l.tif", rings)
    simulate(labels, tmp_path / "out", steps=1, events="edit", edit_probability=0.7, seed=2)
    label = read(tmp_path / "out/change_t0_t1.tif")
    _, geometries, _ = events_of(tmp_path / "out/change_events.gpkg")
    assert len(geometries) > 3
    assert np.array_equal(rasterize(geometries, out_shape=(60, 60), transform=TRANSFORM), label)
    assert sum(geometry.area for geometry in geometries) == pytest.approx(0.25 * label.sum())


def test_without_crs_coordinates_are_columns_and_rows(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "l.tif", np.full((40, 50), 2, np.uint8), crs=None)
    layer = write_drawn(tmp_path / "e.gpkg", [box(10, 5, 20, 15)], CRS, event=["create"], to_class=["road"], step=[1])
    simulate(labels, tmp_path / "out", events=layer)
    after = read(tmp_path / "out/labels_t1.tif")
    assert (after[5:15, 10:20] == 4).all() and (after == 4).sum() == 100
    rows, geometries, crs = events_of(tmp_path / "out/change_events.gpkg")
    assert crs is None and rows[0]["area_px"] == 100 and np.isnan(rows[0]["area_m2"])
    assert geometries[0].equals(box(10, 5, 20, 15))


def test_a_self_intersecting_polygon_is_repaired_and_said(town: Path, tmp_path: Path) -> None:
    (x0, y0), (x1, y1) = TRANSFORM @ (20, 40), TRANSFORM @ (40, 60)
    bow = Polygon([(x0, y0), (x1, y1), (x1, y0), (x0, y1)])
    layer = write_drawn(tmp_path / "e.gpkg", [bow], event=["create"], to_class=["road"], step=[1])
    result = simulate(town, tmp_path / "out", events=layer)
    assert any("repaired (features 1)" in warning for warning in result["warnings"])
    assert result["summary"]["changed_px"][0] == pytest.approx(200, abs=25)


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"event": ["burn"], "to_class": ["8"], "step": [1]}, {}, "'burn' is no event"),
        ({"event": ["create"], "to_class": ["lava"], "step": [1]}, {}, "no class 'lava'"),
        ({"event": ["create"], "to_class": ["8"], "step": [0]}, {}, "Step 0"),
        ({"event": ["create"], "to_class": ["8"], "step": [4]}, {"steps": 2}, "step 4, but the series has 2"),
        ({"event": ["create"], "to_class": ["8"], "step": [2027]}, {}, "step 2027; a series has at most 1000 steps"),
        ({"event": ["create"], "to_class": [""], "step": [1]}, {}, "has no to_class"),
        ({"kind": ["create"]}, {}, "event is missing"),
    ],
)
def test_bad_events_are_refused(town: Path, tmp_path: Path, fields: dict, options: dict, message: str) -> None:
    layer = write_drawn(tmp_path / "e.gpkg", [at(30, 40, 50, 60)], **fields)
    with pytest.raises(InputError, match=message):
        simulate(town, tmp_path / "out", events=layer, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("written", ["{}", "{}|layername=change_events", "/vsizip/{}.zip/e.gpkg"])
def test_drawn_events_are_one_layer_of_several(town: Path, tmp_path: Path, written: str) -> None:
    fields = {"event": ["create"], "to_class": ["road"], "step": [1]}
    path = write_drawn(tmp_path / "e.gpkg", [at(0, 50, 5, 55)], layer="others", **fields)
    write_drawn(path, [at(30, 40, 50, 60)], layer="change_events", **fields)
    with zipfile.ZipFile(f"{path}.zip", "w") as archive:
        archive.write(path, path.name)
    simulate(town, tmp_path / "out", events=written.format(path))
    _, (found,), _ = events_of(tmp_path / "out" / "change_events.gpkg")
    assert found.equals(at(30, 40, 50, 60))


def test_a_drawn_event_that_changes_nothing_is_told(town: Path, tmp_path: Path) -> None:
    many = 3000
    layer = write_drawn(
        tmp_path / "e.gpkg", [at(30, 40, 50, 60)] * (2 + many), event=["create"] * (2 + many),
        to_class=["road"] * (2 + many), step=[1, 2, *[3] * many],
    )  # fmt: skip
    result = simulate(town, tmp_path / "out", events=layer)
    assert [row["area_px"] for row in events_of(tmp_path / "out/change_events.gpkg")[0]] == [400, 0, *[0] * many]
    one, others = result["warnings"]
    assert "A drawn event (create, step 2) changes no pixel" in one and "road already" in one
    assert f"{many:,} drawn events (create, step 3) change no pixel" in others and "road already" in others


def test_areas_of_drawn_events_end_at_the_rasters_edge(town: Path, tmp_path: Path) -> None:
    over = [at(230, 170, 260, 200), at(240, 0, 300, 60), at(-9, -9, 900, 900)]  # the second one only touches it
    layer = write_drawn(
        tmp_path / "e.gpkg", over, event=["create"] * 3, to_class=["road", "road", "water"], step=[1, 1, 2]
    )
    result = simulate(town, tmp_path / "out", events=layer)
    rows, geometries, _ = events_of(tmp_path / "out" / "change_events.gpkg")
    assert [row["area_px"] for row in rows] == result["summary"]["changed_px"] and rows[0]["area_px"] == 100
    assert [geometry.area * 4 for geometry in geometries] == [100, 240 * 180]
    assert [row["area_m2"] * 4 for row in rows] == pytest.approx([100, 240 * 180], rel=0.002)
    assert any("1 of 3 polygons lie outside" in warning for warning in result["warnings"])


def test_events_that_all_miss_the_raster_are_refused(town: Path, tmp_path: Path) -> None:
    layer = write_drawn(tmp_path / "e.gpkg", [at(900, 900, 950, 950)], event=["remove"], to_class=[""], step=[1])
    with pytest.raises(InputError, match="None of the 1 polygons"):
        simulate(town, tmp_path / "out", events=layer)


def test_bad_labels_are_refused(tmp_path: Path) -> None:
    values = np.full((20, 20), 2, np.uint16)
    values[3, 3] = 77
    labels = write_labels(tmp_path / "l.tif", values, nodata=None)
    with pytest.raises(InputError, match="holds 77, which is no class"):
        simulate(labels, tmp_path / "out", steps=1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="no file"):
        simulate(tmp_path / "nothing.tif", tmp_path / "out", steps=1)
    with pytest.raises(InputError, match="neither a list of events nor a file"):
        simulate(labels, tmp_path / "out", steps=1, events="explode")


def test_results_are_not_overwritten_unasked(town: Path, tmp_path: Path) -> None:
    simulate(town, tmp_path / "out", steps=3)
    with pytest.raises(InputError, match="already holds"):
        simulate(town, tmp_path / "out", steps=1)
    simulate(town, tmp_path / "out", steps=1, overwrite=True)
    assert {path.name for path in (tmp_path / "out").glob("*.tif")} == {
        "labels_t0.tif", "labels_t1.tif", "change_t0_t1.tif",
    }  # fmt: skip


def test_overwriting_leaves_what_is_no_result(town: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mine = {"labels_town.tif", "change_to_town.tif"}
    for name in mine:
        shutil.copy(town, out / name)
    result = simulate(out / "labels_town.tif", out, steps=1, overwrite=True)
    assert mine < {path.name for path in out.glob("*.tif")}
    with pytest.raises(InputError, match="where a result would be written"):
        simulate(result["outputs"]["labels_t1"], out, steps=1, overwrite=True)
    assert (out / "labels_t1.tif").exists()


def test_progress_and_cancel(town: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    simulate(town, tmp_path / "out", steps=2, on_progress=lambda progress: seen.append(progress.stage))
    assert seen[0] == "read" and "simulate" in seen
    with pytest.raises(Cancelled):
        simulate(town, tmp_path / "gone", steps=2, is_cancelled=lambda: True)
    assert not (tmp_path / "gone").exists()
