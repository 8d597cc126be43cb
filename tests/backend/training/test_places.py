"""Folders of pairs and of labelled images of single dates: what is marked, known, held out and refused."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from changen2.errors import InputError
from changen2.training import places
from changen2.training.places import BACKGROUND, BUILDING, IGNORE


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)


def _write_tif(path: Path, bands: np.ndarray, **profile: object) -> None:
    """A GeoTIFF of 0.5 m of ``[bands, h, w]``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    given = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000), **profile}
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype=bands.dtype, **given) as dataset:
        dataset.write(bands)


def test_pairs_in_the_levir_layout(tmp_path: Path) -> None:
    for layer, value in (("A", 50), ("B", 60)):
        _write(tmp_path / layer / "00001_40.png", np.full((8, 8, 3), value))
    for layer, value in (("semantic_A", 0), ("semantic_B", 255), ("label", 255)):
        _write(tmp_path / layer / "00001_40.png", np.full((8, 8), value))
    (pair,) = places.read_pairs(tmp_path)
    assert pair.before.gsd == pytest.approx(0.4)
    assert (pair.before.label == 0).all() and (pair.after.label == 1).all() and (pair.change.label == 1).all()


def _pair_files(root: Path, name: str, **layers: object) -> None:
    for layer, value in {"A": 50, "B": 60, "label": 0, **layers}.items():
        shape = (8, 8, 3) if layer in "AB" else (8, 8)
        _write(root / layer / f"{name}.png", np.full(shape, value) if np.isscalar(value) else np.asarray(value))


def test_pairs_without_semantic_maps_or_scale_in_their_names(tmp_path: Path) -> None:
    for name in ("train_1", "train_2", "val_1"):
        _pair_files(tmp_path, name, label=1)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "val.txt").write_text("val_1.png\n")
    with pytest.raises(InputError, match="centimetres"):
        places.read_pairs(tmp_path)
    found = places.read_pairs(tmp_path, 0.5)
    assert [(pair.before.name, pair.before.held_out) for pair in found][1:] == [("train_2", False), ("val_1", True)]
    assert all((pair.before.label == IGNORE).all() and (pair.change.label == 1).all() for pair in found)


def test_classes_of_semantic_maps_need_a_name(tmp_path: Path) -> None:
    _pair_files(tmp_path, "a_50", semantic_A=4, semantic_B=np.array([[4, 5, 255, 0]] * 8).repeat(2, 1))
    with pytest.raises(InputError, match="classes"):
        places.read_pairs(tmp_path)
    (pair,) = places.read_pairs(tmp_path, object_class=4)
    assert (pair.before.label == 1).all() and pair.after.label[0, ::2].tolist() == [1, 0, IGNORE, 0]


def test_pairs_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A, B and label"):
        places.read_pairs(tmp_path)
    _pair_files(tmp_path, "a_50", label=np.zeros((4, 4)))
    with pytest.raises(InputError, match="differ in size"):
        places.read_pairs(tmp_path)
    (tmp_path / "label" / "a_50.png").unlink()
    with pytest.raises(InputError, match="has no a_50"):
        places.read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("count", "every", "held_out"), [(1, 10, []), (2, 10, [1]), (9, 10, [8]), (20, 10, [9, 19]), (6, 5, [4])]
)
def test_some_are_held_out_of_however_few_pairs(tmp_path: Path, count: int, every: int, held_out: list[int]) -> None:
    for index in range(count):
        _pair_files(tmp_path, f"{index:02d}")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "val.txt").write_text("")  # as of a data set too small to hold an image out
    found = places.read_pairs(tmp_path, 0.5, every)
    assert [index for index, pair in enumerate(found) if pair.before.held_out] == held_out


@pytest.mark.parametrize("line", ["old town_2.png", "  old town_2 ", "A/old town_2.png"])
def test_a_list_names_a_pair_a_line_and_one_at_least(tmp_path: Path, line: str) -> None:
    for index in range(3):
        _pair_files(tmp_path, f"old town_{index}")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "val.txt").write_text(f"{line}\r\n\nelsewhere.png\n", encoding="utf8")
    held_out = [pair.before.name for pair in places.read_pairs(tmp_path, 0.5) if pair.before.held_out]
    assert held_out == ["old town_2"]
    (tmp_path / "list" / "val.txt").write_text("elsewhere.png\n", encoding="utf8")
    with pytest.raises(InputError, match=r"val\.txt names none"):
        places.read_pairs(tmp_path, 0.5)


def _listed(root: Path, count: int = 12, **lists: str) -> dict[str, bool]:
    """Whether each pair that serves a training is held out, of a folder of ``count`` pairs with these lists."""
    (root / "list").mkdir(parents=True)
    for index in range(count):
        _pair_files(root, f"p{index:02d}")
    for part, numbers in lists.items():
        names = "".join(f"p{int(number):02d}.png\n" for number in numbers.split())
        (root / "list" / f"{part}.txt").write_text(names, encoding="utf-8-sig")  # as Windows' editor may write it
    return {pair.before.name: pair.before.held_out for pair in places.read_pairs(root, 0.5)}


def test_what_the_lists_keep_for_a_test_is_neither_learned_from_nor_held_out(tmp_path: Path) -> None:
    found = _listed(tmp_path / "both", val="1 2", test="0 2 3")
    assert found == {f"p{index:02d}": index == 1 for index in (1, *range(4, 12))}
    found = _listed(tmp_path / "test", test="0 9")
    assert [name for name, held_out in found.items() if held_out] == ["p11"] and len(found) == 10
    (tmp_path / "test" / "A" / "p00.png").write_bytes(b"not even read")
    assert len(places.read_pairs(tmp_path / "test", 0.5)) == 10


def test_only_what_the_list_of_training_names_is_learned_from(tmp_path: Path) -> None:
    found = _listed(tmp_path / "whole", train="0 1 2 4", val="2 3", test="4 5")
    assert found == {"p00": False, "p01": False, "p02": True, "p03": True}
    assert _listed(tmp_path / "alone", train="5 6 7") == {"p05": False, "p06": False, "p07": True}
    assert len(_listed(tmp_path / "empty", train="")) == 12


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        ({"test": "0 1 2"}, "names all pairs"),
        ({"val": "1", "test": "1"}, r"val\.txt names none .* but those that .*test\.txt names too"),
        ({"train": "7"}, r"train\.txt names none"),
        ({"test": "7"}, r"test\.txt names none"),
    ],
)
def test_lists_that_leave_nothing_are_refused(tmp_path: Path, lists: dict[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        _listed(tmp_path, 3, **lists)
    assert caught.value.code == "bad_value"


@pytest.mark.parametrize("ending", ["", ".png", ".TIF"])
def test_a_dot_in_a_name_is_a_part_of_it(tmp_path: Path, ending: str) -> None:
    names = ["tile", "tile.1", "tile.2", "lat48.15_lon11.60", "lat48.15_lon11.65"]
    for number, name in enumerate(names):
        _pair_files(tmp_path, name, label=np.full((8, 8), number))
        for layer in "AB":
            (tmp_path / layer / f"{name}.png").rename(tmp_path / layer / f"{name}.jpg")
    marked = {pair.before.name: bool(pair.change.label.any()) for pair in places.read_pairs(tmp_path, 0.5)}
    assert marked == {name: name != "tile" for name in names}
    (tmp_path / "list").mkdir()
    for part, listed in (("val", "tile.1"), ("test", names[3])):
        (tmp_path / "list" / f"{part}.txt").write_text(f"{listed}{ending}\n")
    held_out = {pair.before.name: pair.before.held_out for pair in places.read_pairs(tmp_path, 0.5)}
    assert held_out == {name: name == "tile.1" for name in names if name != names[3]}


def test_it_is_told_how_many_pairs_the_lists_leave_out(tmp_path: Path) -> None:
    _listed(tmp_path, test="0 2 3")
    assert "3 of 12 pairs" in (places.left_out(tmp_path, places.read_pairs(tmp_path, 0.5)) or "")
    (tmp_path / "list" / "test.txt").unlink()
    assert places.left_out(tmp_path, places.read_pairs(tmp_path, 0.5)) is None


def test_none_is_held_out_where_generate_was_asked_for_none(tmp_path: Path) -> None:
    for index in range(3):
        _pair_files(tmp_path, f"a{index}")
    (tmp_path / "manifest.json").write_text(json.dumps({"job": "generate", "parameters": {"val_share": 0.0}}))
    assert not any(pair.before.held_out for pair in places.read_pairs(tmp_path, 0.5))


def test_a_mask_that_does_not_tell_what_255_means_is_refused(tmp_path: Path) -> None:
    values = np.array([[0, 1, 255]] * 3, np.uint8)
    _write(tmp_path / "mask.png", values)
    with pytest.raises(InputError, match="whether 255"):
        places.read_mask(tmp_path / "mask.png")
    _write_tif(tmp_path / "mask.tif", values[None], nodata=255)
    np.testing.assert_array_equal(places.read_mask(tmp_path / "mask.tif"), values)
    _write(tmp_path / "grey.png", np.array([[0, 1, 200, 255]]))
    assert places.read_mask(tmp_path / "grey.png").tolist() == [[0, 1, 1, 1]]


@pytest.mark.parametrize(
    "names",
    [
        ["100", "101"],
        ["25"],
        ["train_100", "train_101"],
        ["train_10_5", "train_10_6", "train_11_5"],
        ["img12"],
        ["a_09"],
    ],
)
def test_numbers_that_count_images_are_no_scale(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        _pair_files(tmp_path, name)
        _write(tmp_path / "images" / f"{name}.png", np.full((8, 8, 3), 90))
        _write(tmp_path / "masks" / f"{name}.png", np.zeros((8, 8)))
    for read in (places.read_pairs, places.read_images):
        with pytest.raises(InputError, match="scale is not known") as caught:
            read(tmp_path)
        assert caught.value.code == "bad_value" and "--gsd" in caught.value.hint
        assert len(read(tmp_path, 0.5)) == len(names)


def test_a_scale_that_names_tell_is_told_but_of_generated_pairs(tmp_path: Path) -> None:
    for name in ("train_00000_30", "train_00001_50", "val_00002_30"):
        _pair_files(tmp_path, name)
    found = [pair.before for pair in places.read_pairs(tmp_path)]
    assert [place.gsd for place in found] == pytest.approx([0.3, 0.5, 0.3])
    assert "3 images" in (said := places.named_scales(tmp_path, found) or "") and "0.3 to 0.5 m" in said
    assert places.named_scales(tmp_path, [pair.before for pair in places.read_pairs(tmp_path, 0.3)]) is None
    (tmp_path / "manifest.json").write_text(json.dumps({"job": "generate"}))
    assert places.named_scales(tmp_path, found) is None


def test_pairs_of_geotiffs_tell_their_scale_and_what_is_not_known(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dates = {layer: rng.integers(200, 4000, (5, 8, 8)).astype(np.uint16) for layer in "AB"}
    dates["A"][:, 0], dates["B"][:, 1] = 0, 0
    for layer, values in dates.items():
        _write_tif(tmp_path / layer / "site_12.tif", values, nodata=0)
    label = np.full((1, 8, 8), 7, np.float32)
    label[0, 4:], label[0, 7] = 0, np.nan
    _write_tif(tmp_path / "label" / "site_12.tif", label)
    (tmp_path / "label" / "site_12.tfw").write_text("0.5")  # a file beside it that is no image
    (pair,) = places.read_pairs(tmp_path)
    assert pair.before.gsd == pytest.approx(0.5, rel=1e-3)  # not the 12 cm that the name might tell
    rows = pair.change.label[:, 0].tolist()
    assert rows == [IGNORE, IGNORE, BUILDING, BUILDING, BACKGROUND, BACKGROUND, BACKGROUND, IGNORE]
    assert pair.after.image[2:].min() == 0 and pair.after.image[2:].max() == 255  # the whole range, not clipped


def test_nothing_is_known_of_a_date_where_its_image_has_no_data(tmp_path: Path) -> None:
    image = np.full((3, 8, 8), 90, np.uint8)
    image[:, :2] = 0
    _write_tif(tmp_path / "A" / "a.tif", image, nodata=0)
    _write_tif(tmp_path / "B" / "a.tif", np.full((3, 8, 8), 90, np.uint8))
    for layer in ("label", "semantic_A", "semantic_B"):
        _write(tmp_path / layer / "a.png", np.full((8, 8), 255))
    (pair,) = places.read_pairs(tmp_path)
    for place, unknown in ((pair.before, 2), (pair.after, 0), (pair.change, 2)):
        assert (place.label[:unknown] == IGNORE).all() and (place.label[unknown:] == BUILDING).all()


def test_labelled_images_of_single_dates(tmp_path: Path) -> None:
    for index in range(11):
        _write(tmp_path / "images" / f"p{index:02d}.jpg", np.full((8, 8, 3), 90))
        _write(tmp_path / "masks" / f"p{index:02d}.png", np.eye(8) * (index + 1))
    found = places.read_images(tmp_path, 0.4)
    assert [place.name for place in found if place.held_out] == ["p09"]
    assert all((place.label == np.eye(8)).all() and place.gsd == 0.4 for place in found)
    with pytest.raises(InputError, match="scale"):
        places.read_images(tmp_path)
    _write(tmp_path / "masks" / "p03.png", np.zeros((4, 4)))
    with pytest.raises(InputError, match=r"p03 in .* differ in size"):
        places.read_images(tmp_path, 0.4)
    with pytest.raises(InputError, match="images and masks"):
        places.read_images(tmp_path / "images", 0.4)


def _listings(monkeypatch: pytest.MonkeyPatch, read: Callable[[], object]) -> int:
    """How often a folder is listed while something is read."""
    asked: list[str] = []

    def counted(name: str) -> Callable[..., object]:
        plain = getattr(Path, name)
        return lambda self, *given: (asked.append(name), plain(self, *given))[1]

    with monkeypatch.context() as patch:
        for name in ("iterdir", "glob"):
            patch.setattr(Path, name, counted(name))
        read()
    return len(asked)


def test_a_folder_is_listed_as_often_for_many_pairs_as_for_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(6):
        _pair_files(tmp_path / ("few" if index < 2 else "many"), f"p{index}", semantic_A=0, semantic_B=0)
    few, many = (
        _listings(monkeypatch, lambda root=tmp_path / name: places.read_pairs(root, 0.5)) for name in ("few", "many")
    )
    assert few == many


def test_pairs_are_told_as_they_are_read(tmp_path: Path) -> None:
    for index in range(3):
        _pair_files(tmp_path, f"p{index}")
    told: list[tuple[int, int]] = []
    places.read_pairs(tmp_path, 0.5, on_pair=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_pairs_that_memory_cannot_hold_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        _pair_files(tmp_path, f"p{index}")
    held = 3 * 8 * 8 * places.BYTES_PER_PIXEL
    monkeypatch.setattr(places.psutil, "virtual_memory", lambda: SimpleNamespace(available=held))
    assert len(places.read_pairs(tmp_path, 0.5)) == 3
    monkeypatch.setattr(places.psutil, "virtual_memory", lambda: SimpleNamespace(available=held - 1))
    with pytest.raises(InputError, match=r"The 3 pairs in .* GB are free") as error:
        places.read_pairs(tmp_path, 0.5, on_pair=lambda done, total: pytest.fail("they are read"))
    assert error.value.code == "too_large" and "Name about 2 of them" in str(error.value.hint)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "train.txt").write_text("p0.png\np1.png\n")
    assert len(places.read_pairs(tmp_path, 0.5)) == 2
    monkeypatch.setattr(places.psutil, "virtual_memory", lambda: SimpleNamespace(available=held // 3))
    with pytest.raises(InputError) as error:
        places.read_pairs(tmp_path, 0.5)
    assert str(error.value.hint).startswith("Cut the images") and "Name about" not in str(error.value.hint)
