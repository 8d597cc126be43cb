"""The generate job with a stand-in generator: the layout, what the labels say, what a pair depends on."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import scipy.ndimage
import stand_in
import torch
from PIL import Image

from changen2.errors import Cancelled, InputError, JobError
from changen2.jobs import generate as job
from changen2.jobs.cluster import precision
from changen2.jobs.cluster.crew import crew
from changen2.jobs.generation.sources import Crop, LabelReading, find_sources
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis.condition import INSTANCES
from changen2.models.registry import ModelCard
from changen2.protocol import GenerateRequest, validate
from changen2.raster.vectors import class_tags
from changen2.training.places import read_pairs

LAYERS = ("A", "B", "label", "semantic_A", "semantic_B")

CARD = ModelCard(
    name="flat", architecture="none", title="Flat colours", task="synthesize", gsd_min=0.2, gsd_max=1, gsd_native=0.5,
    licence="Apache-2.0", sha256="",
    classes=[
        {"index": index, "name": name, "color": "#808080"}
        for index, name in enumerate(["background", "water", "land", "road", "building", "vegetation", "contour"])
    ],
)  # fmt: skip

STILL = {"photometry": 0, "season": 0, "misregistration": 0, "view_shift": 0}
"""Both dates as the generator decodes them."""


@pytest.fixture
def town(tmp_path):
    """Two images 200 × 240 with houses as masks (255) and as classes (4 building, 2 land, 5 vegetation)."""
    rng = np.random.default_rng(3)
    for folder in ("images", "masks", "classes"):
        (tmp_path / folder).mkdir()
    for name in ("east", "west"):
        image = rng.integers(80, 120, (200, 240, 3)).astype(np.uint8)
        classes = np.full((200, 240), 2, np.uint8)
        classes[150:] = 5
        for row in range(20, 140, 40):
            for column in range(16, 220, 32):
                classes[row : row + 14, column : column + 12] = 4
        image[classes == 4] = 200
        image[classes == 5] = (60, 110, 60)
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray((classes == 4).astype(np.uint8) * np.uint8(255)).save(tmp_path / "masks" / f"{name}.png")
        Image.fromarray(classes).save(tmp_path / "classes" / f"{name}.png")
    return tmp_path


@pytest.fixture
def make(town):
    """Make a data set: ``make(name, **options)`` returns its folder and the job's answer."""

    def run(name, reporter=None, **options):
        given = {"pairs": 6, "labels": str(town / "masks"), "size": 64, "sampling_steps": 2, **options}
        request = validate(GenerateRequest, {"image_dir": str(town / "images"), "out_dir": str(town / name), **given})
        return town / name, job.run_with(request, CARD, stand_in.load, reporter or Reporter())

    return run


def pictures(folder):
    """Layer → arrays of all pairs [n, h, w, …], in the order of their names."""
    names = sorted(path.name for path in (folder / "A").iterdir())
    return {layer: np.stack([np.asarray(Image.open(folder / layer / name)) for name in names]) for layer in LAYERS}


def everything(folder):
    """File → bytes of all that a data set holds but its manifest, which tells the time."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_layout_of_levir_cd(make):
    folder, answer = make("set", val_share=0.5, pairs=12)
    assert {path.name for path in folder.iterdir()} == {*LAYERS, "list", "manifest.json"}
    names = sorted(path.name for path in (folder / "A").iterdir())
    assert len(names) == 12 and all({p.name for p in (folder / layer).iterdir()} == set(names) for layer in LAYERS)
    lists = {split: (folder / "list" / f"{split}.txt").read_text().split() for split in ("train", "val")}
    assert sorted(lists["train"] + lists["val"]) == names and lists["val"] and lists["train"]
    # Readers of LEVIR-CD find the parts by how a name begins, the training by the centimetres it ends in.
    assert all(name.startswith(split) and name.endswith("_50.png") for split, mine in lists.items() for name in mine)
    arrays = pictures(folder)
    assert arrays["A"].shape == arrays["B"].shape == (12, 64, 64, 3) and arrays["A"].dtype == np.uint8
    assert set(np.unique(arrays["label"])) == {0, 255}
    manifest = json.loads((folder / "manifest.json").read_text())
    images = {pair["name"]: Path(manifest["sources"][pair["source"]]["image"]).stem for pair in manifest["pairs"]}
    # No image has pairs in both parts.
    assert not {images[name] for name in lists["train"]} & {images[name] for name in lists["val"]}
    assert answer["summary"]["pairs"] == 12 and manifest["kind"] == "S1"


@pytest.mark.parametrize("enlarged", [1, 10])
def test_one_image_gives_pairs_of_both_parts_that_share_no_ground(make, town, enlarged):
    (town / "images" / "west.png").unlink()
    for file in (town / "images" / "east.png", town / "masks" / "east.png"):
        Image.fromarray(np.asarray(Image.open(file)).repeat(enlarged, 0).repeat(enlarged, 1)).save(file)
    folder, answer = make("set", pairs=24, pixel_size=0.5 / enlarged)
    manifest = json.loads((folder / "manifest.json").read_text())
    seen = {"train": np.zeros((200, 240), bool), "val": np.zeros((200, 240), bool)}
    for pair in manifest["pairs"]:
        split = pair["name"].split("_")[0]
        assert manifest["sources"][pair["source"]]["split"] == split
        seen[split][pair["top"] : pair["top"] + 64, pair["left"] : pair["left"] + 64] = True
    assert seen["train"].any() and seen["val"].any() and not (seen["train"] & seen["val"]).any()
    assert answer["summary"]["images"] == 1 and not any("list/val" in warning for warning in answer["warnings"])
    listed = {split: (folder / "list" / f"{split}.txt").read_text().split() for split in ("train", "val")}
    assert sorted(listed["train"] + listed["val"]) == sorted(path.name for path in (folder / "A").iterdir())
    assert all(name.startswith(split) and (folder / "A" / name).exists() for split in listed for name in listed[split])
    # Whoever trains on the folder finds something to learn from and something to measure on.
    pairs = read_pairs(folder)
    assert {pair.before.held_out for pair in pairs if pair.change.label.any()} == {False, True}


def test_of_two_images_one_is_held_out(make):
    folder, _ = make("set", pairs=12)
    sources = json.loads((folder / "manifest.json").read_text())["sources"]
    assert sorted(source["split"] for source in sources) == ["train", "val"]
    assert len((folder / "list" / "val.txt").read_text().split()) > 1


def test_a_part_without_change_is_said(make):
    _, answer = make("set", pairs=1, unchanged=0)
    (said,) = [warning for warning in answer["warnings"] if ".txt has changed" in warning]
    assert "--pairs" in said
    _, answer = make("all", pairs=1, unchanged=0, val_share=0)
    assert not any(".txt has changed" in warning for warning in answer["warnings"])


def test_the_label_is_where_the_semantic_maps_differ_and_the_picture_follows(make):
    folder, answer = make("set", unchanged=0.25, pairs=12, distractors=0, surroundings=0, sampling_steps=6, **STILL)
    arrays = pictures(folder)
    changed = arrays["label"] == 255
    assert np.array_equal(changed, arrays["semantic_A"] != arrays["semantic_B"])
    shares = changed.mean(axis=(1, 2))
    assert 0 < (shares == 0).sum() < 12
    assert (shares[shares > 0] >= 0.002).all() and (shares <= 0.5).all()
    assert answer["summary"]["changed_pairs"] == (shares > 0).sum()
    difference = np.abs(arrays["A"].astype(int) - arrays["B"]).max(axis=-1)
    # The autoencoder averages 4 × 4: a changed block differs, and no other does.
    touched = changed.reshape(12, 16, 4, 16, 4).any(axis=(2, 4)).repeat(4, 1).repeat(4, 2)
    assert (difference[~touched] == 0).all() and (difference[changed] > 0).mean() > 0.95
    # The stand-in draws buildings red, on the date that was drawn; the images' own are grey.
    drawn = [
        (date[..., 0].astype(int) - date[..., 2])[(own == 255) & (other == 0)]
        for date, own, other in (
            (arrays["A"], arrays["semantic_A"], arrays["semantic_B"]),
            (arrays["B"], arrays["semantic_B"], arrays["semantic_A"]),
        )
    ]
    red = np.concatenate(drawn)
    assert (red > 60).mean() > 0.2 and (abs(red) < 15).mean() > 0.2


def test_both_dates_are_decoded_whole(make):
    folder, _ = make("set", unchanged=1.0, pairs=3, distractors=0, **STILL)
    arrays = pictures(folder)
    assert not arrays["label"].any() and np.array_equal(arrays["A"], arrays["B"])
    # Each 4 × 4 block of the stand-in's pictures has one value: none is left of the image itself.
    blocks = arrays["A"].reshape(3, 16, 4, 16, 4, 3)
    assert (blocks == blocks[:, :, :1, :, :1]).all()


def test_more_than_the_change_is_drawn_and_seen_anew(make):
    still, _ = make("still", pairs=4, unchanged=1.0, distractors=0, **STILL)
    moving, _ = make("moving", pairs=4, unchanged=1.0, distractors=8, **STILL)
    seen, _ = make("seen", pairs=4, unchanged=1.0, distractors=0, **{**STILL, "photometry": 1, "misregistration": 2})
    for folder, differs in ((still, False), (moving, True), (seen, True)):
        arrays = pictures(folder)
        assert not arrays["label"].any() and (arrays["A"] != arrays["B"]).any() == differs


def test_classes(make, town):
    folder, answer = make(
        "set", labels=str(town / "classes"), kind="S9", events="edit", edit_probability=1.0, pairs=4, unchanged=0,
        most_change=1.0,
    )  # fmt: skip
    arrays = pictures(folder)
    assert set(np.unique(arrays["semantic_A"])) <= {0, 1, 2, 4, 5} and len(np.unique(arrays["semantic_B"])) > 2
    assert np.array_equal(arrays["label"] == 255, arrays["semantic_A"] != arrays["semantic_B"])
    assert set(answer["summary"]["events"]) == {"edit"}


def test_several_kinds_of_events_happen_in_one_pair_if_the_mix_says_so(make, town):
    def happened(name, **options):
        folder, _ = make(name, pairs=8, unchanged=0, most_change=1.0, **options)
        pairs = json.loads((folder / "manifest.json").read_text())["pairs"]
        return [{kind for kind in ("create", "remove", "edit") if pair[kind]} for pair in pairs]

    assert all(len(kinds) == 1 for kinds in happened("one"))
    assert all(kinds == {"create", "remove"} for kinds in happened("both", events="create+remove"))
    mixed = happened("mixed", events="create,remove,remove+create:2")
    assert {"create", "remove"} in mixed and {len(kinds) for kinds in mixed} == {1, 2}
    (all_kinds, *_) = happened("all", labels=str(town / "classes"), kind="S9", events="create+edit+remove", least=2)
    assert all_kinds == {"create", "edit", "remove"}
    arrays = pictures(town / "both")
    assert np.array_equal(arrays["label"] == 255, arrays["semantic_A"] != arrays["semantic_B"])
    gone, new = arrays["semantic_A"] > arrays["semantic_B"], arrays["semantic_A"] < arrays["semantic_B"]
    assert gone.any(axis=(1, 2)).all() and new.any(axis=(1, 2)).all()


@pytest.mark.parametrize("asked", ["create", "remove", "create,remove:0", None])
def test_the_manifest_tells_what_a_pair_shows_from_a_to_b(make, asked):
    folder, answer = make("set", pairs=10, unchanged=0, events=asked)
    pairs = {pair["name"]: pair for pair in json.loads((folder / "manifest.json").read_text())["pairs"]}
    arrays = pictures(folder)
    for name, before, after in zip(sorted(pairs), arrays["semantic_A"], arrays["semantic_B"], strict=True):
        shown = {kind for kind, differs in (("create", before < after), ("remove", before > after)) if differs.any()}
        assert shown == {kind for kind in ("create", "remove") if pairs[name][kind]}
    expected = {asked.split(",")[0]} if asked else {"create", "remove"}
    assert set(answer["summary"]["events"]) == expected


def test_images_without_labels(make):
    folder, answer = make("set", labels=None, pairs=8, unchanged=0, least_change=0.001)
    arrays = pictures(folder)
    assert answer["summary"]["kind"] == "S0" and set(answer["summary"]["events"]) == {"create", "remove"}
    assert np.array_equal(arrays["label"] == 255, arrays["semantic_A"] != arrays["semantic_B"])
    assert arrays["label"].any()


def test_classes_are_no_marks_of_objects(make, town, write_raster):
    """The rasters' own names tell which class is the building; without names nobody does."""
    (town / "named").mkdir()
    for path in (town / "classes").iterdir():
        values = np.asarray(Image.open(path))[None]
        named = write_raster(f"named/{path.stem}.tif", values, crs=None, transform=None)
        with rasterio.open(named, "r+") as dataset:
            dataset.update_tags(**class_tags({0: "background", 2: "land", 4: "building", 5: "vegetation"}))
    common = {"pairs": 4, "unchanged": 0, "most_change": 1.0, "pixel_size": 0.5}
    named, answer = make("of_names", labels=str(town / "named"), **common)
    chosen, _ = make("of_option", labels=str(town / "classes"), object_classes="building", **common)
    assert everything(named) == everything(chosen) and answer["summary"]["changed_pairs"] == 4
    assert pictures(named)["semantic_A"].mean() < 0.5 * 255
    for options in ({}, {"kind": "S1"}):
        with pytest.raises(InputError, match="holds 2, 4 beside 0 and names no classes"):
            make("refused", labels=str(town / "classes"), **options)


@pytest.mark.parametrize("options", [{}, {"object_classes": "building"}, {"kind": "S9", "events": "create"}])
@pytest.mark.parametrize("second", [None, {0: "background", 4: "building", 8: "water"}])
def test_label_rasters_that_name_other_classes_are_refused(make, town, write_raster, second, options):
    (town / "named").mkdir()
    names = {"east": {0: "background", 2: "land", 4: "building", 5: "vegetation"}, "west": second}
    for path in (town / "classes").iterdir():
        named = write_raster(f"named/{path.stem}.tif", np.asarray(Image.open(path))[None], crs=None, transform=None)
        with rasterio.open(named, "r+") as dataset:
            dataset.update_tags(**class_tags(names[path.stem] or {}))
    with pytest.raises(InputError, match=r"east\.tif names .* .*west\.tif names") as refused:
        make("refused", labels=str(town / "named"), **options)
    assert refused.value.code == "bad_labels"
    table = town / "classes.csv"
    table.write_text("index,name,colour\n" + "".join(f"{i},{name},#808080\n" for i, name in names["east"].items()))
    make("given", labels=str(town / "named"), classes=str(table), pairs=1, **options)


def test_an_image_that_gives_no_pair_is_named(make, town, write_raster):
    values = np.asarray(Image.open(town / "masks" / "west.png"))[None]
    (town / "masks" / "west.png").unlink()
    write_raster("masks/west.tif", values * 0 + 99, crs=None, transform=None, nodata=99)
    _, answer = make("set", pairs=2, val_share=0)
    (said,) = [warning for warning in answer["warnings"] if "give no pair" in warning]
    assert "1 of 2 images" in said and "west.png" in said


def test_looking_through_a_raster_is_told_row_by_row_and_can_be_cancelled(make, monkeypatch):
    told = []
    reporter = Reporter(lambda progress: told.append(progress[:3]))
    monkeypatch.setattr(reporter, "INTERVAL_S", 0.0)
    make("set", reporter, pairs=1)
    read = [(done, total) for stage, done, total in told if stage == "read"]
    assert read == [(done, 8) for done in range(9)], "four rows of squares in each of two images"
    asked = 0

    def cancel() -> bool:
        nonlocal asked
        asked += 1
        return asked > 7

    with pytest.raises(Cancelled):
        make("part", Reporter(None, cancel), pairs=1)
    assert asked == 8


def test_numbers_alone_mark_buildings_of_labels_that_name_no_classes(make, town):
    """Whatever the generator's own classes of these numbers are: 1 is its water."""
    plain, _ = make("plain", pixel_size=0.5)
    for path in (town / "masks").iterdir():
        marks = (np.asarray(Image.open(path)) > 0).astype(np.uint8)
        marks[:, :100] *= 2
        marks[marks == 0] = 3
        Image.fromarray(marks).save(path)
    numbered, answer = make("numbered", object_classes="1,2", background="3", pixel_size=0.5)
    assert everything(numbered) == everything(plain)
    (said,) = [warning for warning in answer["warnings"] if "marks of buildings" in warning]
    assert "1, 2" in said


def test_images_without_labels_are_counted(make, town):
    (town / "masks" / "west.png").rename(town / "masks" / "west_mask.png")
    _, answer = make("set", pairs=2)
    (said,) = [warning for warning in answer["warnings"] if "left out" in warning]
    assert "1 of 2 images" in said and "west.png" in said and answer["summary"]["images"] == 1
    _, answer = make("none", pairs=2, labels=None)
    assert not any("left out" in warning for warning in answer["warnings"])


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_two_files_of_one_name_are_refused(make, town, folder):
    (town / folder / "alone.png").write_bytes((town / folder / "east.png").read_bytes())
    Image.open(town / folder / "east.png").save(town / folder / "east.tif")
    with pytest.raises(InputError, match=r"east\.png and east\.tif") as refused:
        make("set")
    assert refused.value.code == "bad_labels"


def test_what_is_removed_leaves_no_object(make, town):
    common = {"labels": str(town / "classes"), "object_classes": "building,vegetation", "background": "vegetation"}
    with pytest.raises(InputError, match="vegetation is what removal leaves") as refused:
        make("set", **common)
    assert refused.value.code == "bad_class"
    make("new", events="create", pairs=1, **common)
    for options in ({"object_classes": "2,4", "background": "4"}, {"background": "building"}):
        with pytest.raises(InputError, match="building is what removal leaves"):
            make("set", labels=str(town / "classes"), **options)


@pytest.mark.parametrize(("mark", "works"), [(1, True), (255, True), (3, False), ((1, 255), False)])
def test_objects_are_marked_by_1_or_by_255(make, town, mark, works):
    for path in (town / "masks").iterdir():
        mine = np.asarray(Image.open(path)) > 0
        marks = np.full(mine.shape, np.max(mark), np.uint8)
        marks[:, :100] = np.min(mark)
        Image.fromarray(np.where(mine, marks, 0).astype(np.uint8)).save(path)
    if works:
        _, answer = make("set", pairs=2, unchanged=0)
        assert answer["summary"]["changed_pairs"] == 2
    else:
        with pytest.raises(InputError, match="beside 0 and names no classes"):
            make("set", pairs=2)


def test_pairs_of_objects_show_no_ground_whose_labels_are_not_known(make, town, write_raster):
    """Their masks could only say that nothing stands there."""
    (town / "partly").mkdir()
    for path in (town / "masks").iterdir():
        values = np.asarray(Image.open(path)).copy()[None]
        values[:, :, 130:] = 99
        write_raster(f"partly/{path.stem}.tif", values, crs=None, transform=None, nodata=99)
    folder, _ = make("set", labels=str(town / "partly"), pairs=24, pixel_size=0.5)
    lefts = [pair["left"] for pair in json.loads((folder / "manifest.json").read_text())["pairs"]]
    assert max(lefts) + 64 <= 130 and len(set(lefts)) > 8
    with pytest.raises(InputError, match="labels are known"):
        make("wide", labels=str(town / "partly"), pairs=4, size=192)


def test_images_are_read_at_a_resolution_that_suits_the_generator(make, town):
    for name, pixel_size, options, centimetres, size in (
        ("fine", 0.1, {}, 50, (64, 64)),
        ("asked", 0.25, {"gsd": 0.5}, 50, (64, 64)),
        ("kept", 0.1, {"gsd": None}, 10, (64, 64)),
        ("said", 0.1, {"gsd": "none"}, 10, (64, 64)),
    ):
        folder, _ = make(name, pairs=2, pixel_size=pixel_size, unchanged=1.0, distractors=0, **STILL, **options)
        names = [path.name for path in (folder / "A").iterdir()]
        assert all(name.endswith(f"_{centimetres}.png") for name in names)
        assert pictures(folder)["A"].shape[1:3] == size
    # At half the resolution a house of 14 × 12 pixels has 7 × 6.
    sizes = np.bincount(scipy.ndimage.label(pictures(town / "asked")["semantic_A"][0])[0].ravel())[1:]
    assert sizes.max() == 42


def test_a_pixel_size_that_is_only_assumed_is_said_once(make, town, write_raster):
    _, answer = make("set", pairs=2)
    (said,) = [warning for warning in answer["warnings"] if "--pixel-size" in warning]
    assert "2 of 2 images" in said and "0.5 m" in said
    _, answer = make("given", pairs=2, pixel_size=0.5)
    assert not any("--pixel-size" in warning for warning in answer["warnings"])
    (town / "images" / "east.png").unlink()
    write_raster("images/east.tif", np.full((3, 200, 240), 90, np.uint8))
    _, answer = make("half", pairs=2, labels=None)
    assert any("1 of 2 images" in warning and "--pixel-size" in warning for warning in answer["warnings"])


def test_plain_masks_lie_on_georeferenced_images_of_their_size(make, town, write_raster):
    plain, _ = make("plain", pixel_size=0.5)
    for path in (town / "images").iterdir():
        write_raster(path.with_suffix(".tif"), np.moveaxis(np.asarray(Image.open(path)), -1, 0))
        path.unlink()
    placed, _ = make("placed")
    assert everything(placed) == everything(plain)
    cut = town / "masks" / "east.png"
    Image.fromarray(np.asarray(Image.open(cut))[:-1]).save(cut)
    with pytest.raises(InputError) as refused:
        make("cut")
    assert refused.value.code == "bad_labels"


def test_every_pair_shows_an_image(make, town):
    for name in ("east", "west"):
        clear = np.full((200, 240), 255, np.uint8)
        clear[:, :120] = clear[:150, 200:] = 0
        with Image.open(town / "images" / f"{name}.png") as image:
            image.putalpha(Image.fromarray(clear))
            image.save(town / "images" / f"{name}.png")
    folder, _ = make("set", pairs=24, unchanged=0.5)
    places = json.loads((folder / "manifest.json").read_text())["pairs"]
    shares = [clear[p["top"] : p["top"] + 64, p["left"] : p["left"] + 64].mean() / 255 for p in places]
    assert min(shares) >= 0.9
    assert len({(place["top"], place["left"]) for place in places}) > 8, "where there is an image, places are moved"


def test_another_seed_draws_other_pairs(make):
    one, _ = make("one", seed=5, pairs=2)
    other, _ = make("other", seed=6, pairs=2)
    again, _ = make("again", seed=5, pairs=2)
    assert everything(one) == everything(again) != everything(other)


def test_the_embedded_generator_draws_the_same_in_two_processes(town):
    """With the start that its card recommends, from exemplars, whose library each process makes for itself."""
    given = {"pairs": 4, "labels": town / "masks", "size": 64, "pixel_size": 0.5, "sampling_steps": 2, "unchanged": 0}
    for name, workers in (("one", 1), ("two", 2)):
        job.generate(town / "images", town / name, workers=workers, **given)
    one, two = everything(town / "one"), everything(town / "two")
    assert one == two and len([name for name in one if name.startswith("A/")]) == 4
    assert pictures(town / "one")["label"].any(axis=(1, 2)).all()


def test_a_cancelled_run_goes_on(make, town, monkeypatch):
    whole, _ = make("whole")
    drawn = town / "part" / ".changen2-work" / "semantic_B"
    with pytest.raises(Cancelled):
        make("part", Reporter(None, lambda: drawn.exists() and len(list(drawn.iterdir())) == 3))
    assert not (town / "part" / "A").exists()
    with pytest.raises(InputError, match="unfinished"):
        make("part")
    with pytest.raises(InputError, match="parameters"):
        make("part", resume=True, seed=1)
    with monkeypatch.context() as elsewhere, pytest.raises(InputError, match="device"):
        elsewhere.setattr(precision, "choose_device", lambda asked: torch.device("mps"))
        make("part", resume=True)
    with monkeypatch.context() as elsewhere:  # a worker of another kind answers, and each may do so next
        elsewhere.setattr(precision, "choose_device", lambda asked: torch.device("mps"))
        elsewhere.setattr(job, "crew", lambda *_: crew(1, None, "auto"))
        with pytest.raises(Cancelled):
            make("part", Reporter(None, lambda: len(list(drawn.iterdir())) == 4), resume=True, dask="there")
    with monkeypatch.context() as later, pytest.raises(InputError, match="edition"):
        later.setattr(job, "EDITION", job.EDITION + 1)
        make("part", resume=True)
    part, answer = make("part", resume=True)
    assert 0 < answer["summary"]["drawn_now"] < 6
    assert everything(part) == everything(whole)


def test_a_run_does_not_go_on_with_other_files(make, town):
    drawn = town / "part" / ".changen2-work" / "semantic_B"
    with pytest.raises(Cancelled):
        make("part", Reporter(None, lambda: drawn.exists() and len(list(drawn.iterdir())) == 3))
    mask = town / "masks" / "east.png"
    Image.fromarray(np.flipud(np.asarray(Image.open(mask)))).save(mask)
    with pytest.raises(InputError, match="inputs"):
        make("part", resume=True)


def test_the_manifest_tells_what_a_set_is_made_of_and_where(make, town):
    folder, answer = make("set", pairs=1)
    manifest = json.loads((folder / "manifest.json").read_text())
    for kind, where in (("images", "images"), ("labels", "masks")):
        told = {Path(given["path"]): given for given in manifest["inputs"][kind]}
        assert set(told) == set((town / where).iterdir())
        for path, given in told.items():
            assert (given["bytes"], given["width"], given["height"]) == (path.stat().st_size, 240, 200)
            assert {"crs", "modified"} <= given.keys()
    assert {Path(source["labels"]).name for source in manifest["sources"]} == {"east.png", "west.png"}
    assert manifest["device"] == "cpu"
    assert {key: str(folder / name) for key, name in manifest["outputs"].items()} == answer["outputs"]


def test_another_file_under_the_path_of_an_input_is_not_cut(town):
    path = town / "images" / "east.png"
    source, _ = find_sources(str(path.parent), None, None, lambda _: (0.5, 1.0), lambda _: set(), lambda: None)
    reading = LabelReading(INSTANCES, True)
    Crop(source[0], reading).__exit__()
    Image.fromarray(np.full((200, 240, 3), 9, np.uint8)).save(path)
    with pytest.raises(JobError, match=r"east\.png") as refused:
        Crop(source[0], reading)
    assert refused.value.code == "other_input"


def test_what_cannot_work_is_said(make, town):
    (town / "empty").mkdir()
    for options, message in (
        ({"labels": str(town / "empty")}, "no raster"),
        ({"labels": None, "kind": "S1"}, "needs labels"),
        ({"labels": None, "events": "create"}, "no mix of events"),
        ({"events": "create+edit"}, "no mix of events"),
        ({"events": "create+"}, "no mix of events"),
        *(({"events": mix}, "no mix of events") for mix in ("create:nan", "create:inf,remove", "create,create:2")),
        ({"events": "create:1e308,remove:1e308"}, "no mix of events"),
        ({"least_change": 0.6, "most_change": 0.5}, "At least"),
        ({"size": 100}, "multiple of 32"),
        ({"labels": None, "view_shift": 1}, "--view-shift"),
    ):
        with pytest.raises(InputError, match=message):
            make("set", **options)
        assert not (town / "set").exists()
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(town / "masks" / "east.png")
    with pytest.raises(InputError, match="200 × 200"):
        make("set")
    Image.fromarray(np.zeros((200, 240), np.uint8)).save(town / "masks" / "east.png")
    Image.fromarray(np.zeros((200, 240), np.uint8)).save(town / "masks" / "west.png")
    with pytest.raises(InputError, match="nothing that could change"):
        make("set")


def test_other_readers_find_all_pairs_by_their_own_rules(make):
    """The rules of LEVIRCD in torchgeo 0.8 and of LEVIR_CD_Dataset in Open-CD 1.1.

    The first takes PNG files that begin with the split's name, and any value above 0 as change; the second all files,
    or those of a list whose lines and a suffix make the name, and 128 and above as change.
    """
    folder, _ = make("set", val_share=0.5, pairs=12)
    listed = {split: (folder / "list" / f"{split}.txt").read_text().splitlines() for split in ("train", "val")}
    for split, names in listed.items():
        by_layer = [sorted(path.name for path in (folder / layer).glob(f"{split}*.png")) for layer in LAYERS[:3]]
        assert names and by_layer == [sorted(names)] * 3, "torchgeo pairs the sorted names of three folders"
    names = sorted(path.name for path in (folder / "A").iterdir())
    assert names == sorted(path.name for path in (folder / "B").iterdir()) == sorted(listed["train"] + listed["val"])
    for name in names:
        with Image.open(folder / "label" / name) as label, Image.open(folder / "A" / name) as image:
            assert (label.mode, image.mode) == ("L", "RGB") and label.size == image.size
            values = np.asarray(label)
        assert ((values > 0) == (values >= 128)).all(), "both readings are the same"
