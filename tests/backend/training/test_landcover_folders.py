"""Folders of land cover: drawn, generated and anybody's own are read by one convention."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changen2.errors import InputError
from changen2.scenes.classes import BUILDING, LAND, ROAD, VEGETATION, WATER
from changen2.training import landcover_scenes
from changen2.training.config import TrainingConfig
from changen2.training.landcover import SOURCES, region_change
from changen2.training.landcover_folders import read_class_images, read_class_pairs
from changen2.training.landcover_train import read_imagery
from changen2.training.places import IGNORE


def _write(root: Path, layers: dict[str, np.ndarray], name: str = "a_50") -> None:
    for layer, values in layers.items():
        (root / layer).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(root / layer / f"{name}.png")


def _pair(before: np.ndarray, after: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    image = np.full((*label.shape, 3), 90)
    return {"A": image, "B": image, "label": label, "semantic_A": before, "semantic_B": after}


def _tell_classes(root: Path, names: dict[int, str]) -> None:
    (root / "manifest.json").write_text(json.dumps({"job": "generate", "classes": names}))


def test_scenes_come_back_as_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landcover_scenes, "SIZE", 64)
    for index in range(2):
        landcover_scenes.write_scene(tmp_path / "landcover_scenes", index)
    drawn, gsd = landcover_scenes.draw_scene(1)
    classes = landcover_scenes.class_maps(drawn)
    config = TrainingConfig(
        data=tmp_path, out=tmp_path, encoder_weights="", sources={}, kinds={}, pairs={"landcover_scenes": 1}
    )
    known = config.model_copy(update={"project_imagery": True})
    pair = read_imagery(known).pairs["landcover_scenes"][1]
    assert pair.before.gsd == gsd
    np.testing.assert_array_equal(pair.after.image, drawn.after)
    np.testing.assert_array_equal(pair.before.label, classes[0])
    np.testing.assert_array_equal(pair.change.label, region_change(*classes, drawn.change))
    assert set(np.unique(pair.change.label)) == {0, 1, IGNORE}
    # A folder of anybody's own that has the name by chance: its label alone tells what changed.
    pair = read_imagery(config).pairs["landcover_scenes"][1]
    np.testing.assert_array_equal(pair.change.label, drawn.change)


def test_a_folder_of_ones_own_may_have_the_name_of_this_projects_imagery(tmp_path: Path) -> None:
    image = {"images": np.full((2, 4, 3), 90), "masks": np.array([[0, WATER, BUILDING, VEGETATION]] * 2)}
    for name in SOURCES:
        _write(tmp_path / name, image, "a")
    config = TrainingConfig(
        data=tmp_path, out=tmp_path, encoder_weights="", sources=dict.fromkeys(SOURCES, 1), kinds={"star": 1},
        gsds=dict.fromkeys(SOURCES, 0.4),
    )  # fmt: skip
    for (place,) in read_imagery(config).places.values():
        assert place.label[0].tolist() == [IGNORE, WATER, BUILDING, VEGETATION] and place.gsd == 0.4


@pytest.mark.parametrize("mark", [1, 255])
def test_a_label_tells_what_changed_whatever_the_classes(tmp_path: Path, mark: int) -> None:
    rng = np.random.default_rng(mark)
    before, after = rng.choice([0, WATER, LAND, ROAD, BUILDING, VEGETATION, IGNORE], (2, 16, 16))
    marked = rng.random((16, 16)) < 0.3
    _write(tmp_path, _pair(before, after, marked * mark))
    (pair,) = read_class_pairs(tmp_path)
    np.testing.assert_array_equal(pair.change.label, marked)
    for place, classes in ((pair.before, before), (pair.after, after)):
        np.testing.assert_array_equal(place.label, np.where(classes == 0, IGNORE, classes))


def test_generated_classes_go_by_their_names(tmp_path: Path) -> None:
    maps = np.array([[0, 8, 3, IGNORE]] * 4)
    _write(tmp_path, _pair(maps, maps, np.zeros((4, 4))))
    _tell_classes(tmp_path, {0: "other", 3: "Road", 8: "building", 9: "tree"})
    (pair,) = read_class_pairs(tmp_path)
    assert pair.before.label[0].tolist() == [IGNORE, BUILDING, ROAD, IGNORE]


def test_classes_that_are_none_of_the_five_are_refused(tmp_path: Path) -> None:
    maps = np.full((4, 4), 8)
    _write(tmp_path, _pair(maps, maps, np.zeros((4, 4))))
    with pytest.raises(InputError, match="class 8, which is none") as caught:
        read_class_pairs(tmp_path)
    assert caught.value.code == "bad_class"
    _tell_classes(tmp_path, {8: "cropland"})
    with pytest.raises(InputError, match="class 8 cropland"):
        read_class_pairs(tmp_path)


def test_pairs_that_tell_no_class_are_refused(tmp_path: Path) -> None:
    masks = np.array([[0, 255]] * 2)
    layers = _pair(masks, masks, masks)
    _write(tmp_path / "masks", layers)
    with pytest.raises(InputError, match="none of the classes"):
        read_class_pairs(tmp_path / "masks")
    _write(tmp_path / "bare", {layer: layers[layer] for layer in ("A", "B", "label")})
    with pytest.raises(InputError, match="semantic_A"):
        read_class_pairs(tmp_path / "bare")


def test_images_with_masks_of_classes(tmp_path: Path) -> None:
    _write(tmp_path, {"images": np.full((2, 4, 3), 90), "masks": np.array([[0, WATER, BUILDING, 255]] * 2)})
    (place,) = read_class_images(tmp_path)
    assert place.label[0].tolist() == [IGNORE, WATER, BUILDING, IGNORE] and place.gsd == 0.5
