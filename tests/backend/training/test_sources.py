"""Readers of this project's imagery, on small folders laid out like the real ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changen2.errors import Cancelled, InputError
from changen2.training import sources
from changen2.training.landcover_folders import read_class_images
from changen2.training.places import BACKGROUND, BUILDING, IGNORE, read_images


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)


def _tile(root: Path, name: str, value: int, size: int = 8) -> None:
    _write(root / "images" / f"{name}.png", np.full((size, size, 3), value))
    _write(root / "masks" / f"{name}.png", np.full((size, size), 255 if value > 100 else 0))


def test_web_tiles_that_touch_become_one_place(tmp_path: Path) -> None:
    for column, row, value in ((10, 7, 50), (11, 7, 150), (10, 8, 200), (14, 7, 90), (20, 20, 60)):
        _tile(tmp_path, f"OAM-{column}-{row}-20", value)
    _tile(tmp_path, "OAM-10-7-21", 10)
    joined = sources.read_kampala(tmp_path)
    assert sorted(place.label.shape for place in joined) == [(8, 8), (8, 8), (16, 16)]
    corner = next(place for place in joined if place.label.shape == (16, 16))
    assert corner.image[0, 8, 0] == 150 and corner.image[8, 0, 0] == 200
    assert (corner.label[8:, 8:] == IGNORE).all() and (corner.label[:8, 8:] == BUILDING).all()


def test_banepa_holds_its_east_out(tmp_path: Path) -> None:
    for column in (3, 4, 5):
        _tile(tmp_path, f"OAM-{column}-1-19", 50)
    held = [place.label.shape for place in sources.read_banepa(tmp_path) if place.held_out]
    assert held == [(8, 8)]


def test_dubai_blocks_have_a_core_and_an_unknown_rim(tmp_path: Path) -> None:
    classes = np.full((60, 60), 2)
    classes[20:45, 20:45] = 4
    classes[:, 55:] = 0
    _write(tmp_path / "images" / "tile.png", np.zeros((60, 60, 3)))
    _write(tmp_path / "masks" / "tile.png", classes)
    label = sources.read_dubai(tmp_path)[0].label
    assert (
        label[32, 32] == BUILDING and label[21, 21] == IGNORE and label[2, 2] == BACKGROUND and label[2, 57] == IGNORE
    )
    left = sources.read_dubai_blocks(tmp_path)[0].label
    assert left[32, 32] == IGNORE and (left == BUILDING).sum() == 0


def test_estonian_boxes_are_sure_only_in_the_middle_and_when_small(tmp_path: Path) -> None:
    _write(tmp_path / "images" / "test_a.png", np.zeros((400, 400, 3)))
    _write(tmp_path / "images" / "train_b.png", np.zeros((20, 20, 3)))
    boxes = {"test_a.png": [[10, 10, 60, 60], [150, 150, 200, 200]]}
    (tmp_path / "building_boxes_xywh.json").write_text(json.dumps(boxes))
    (place,) = sources.read_estonia(tmp_path)
    assert place.label[40, 40] == BUILDING and place.label[12, 12] == IGNORE and place.label[100, 100] == BACKGROUND
    assert (place.label[150:350, 150:350] == IGNORE).all()
    (rest,) = sources.read_estonia_rest(tmp_path)
    assert (rest.label == IGNORE).all()


def test_south_tyrol_images_and_masks_are_different_places(tmp_path: Path) -> None:
    for index in range(4):
        _tile(tmp_path, f"t{index}", 150)
    unlabelled, held = sources.read_south_tyrol_images(tmp_path), sources.read_south_tyrol(tmp_path)
    assert not {p.name for p in unlabelled} & {p.name for p in held}
    assert all(p.held_out for p in held) and not any((p.label == BUILDING).any() for p in unlabelled)


def test_every_source_reads_the_real_imagery(shared_data: Path) -> None:
    for name in ("banepa", "spacenet2"):
        found = sources.SOURCES[name](shared_data / "train" / name)
        assert any(place.held_out for place in found) and any(not place.held_out for place in found)
        assert all(place.image.shape[:2] == place.label.shape for place in found)


def test_a_source_that_nobody_knows_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'banpea' is not known") as caught:
        sources.read_source("banpea", tmp_path / "banpea")
    assert "banepa" in caught.value.hint


def test_any_other_folder_with_images_and_masks_is_a_source(tmp_path: Path) -> None:
    for index in range(2):
        _tile(tmp_path, f"t{index}", 150)
    found = sources.read_source("mine", tmp_path, 0.4)
    assert [(place.gsd, place.held_out) for place in found] == [(0.4, False), (0.4, True)]
    assert all((place.label == BUILDING).all() for place in found)


@pytest.mark.parametrize("read_own", [read_images, read_class_images])
def test_reading_a_source_can_be_cancelled_at_every_image(tmp_path: Path, read_own: sources.ReadOwn) -> None:
    for index in range(3):
        _write(tmp_path / "images" / f"t{index}.png", np.full((8, 8, 3), 90))
        _write(tmp_path / "masks" / f"t{index}.png", np.eye(8))

    def check() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Cancelled()

    for last in range(3):
        left = last
        with pytest.raises(Cancelled):
            sources.read_source("mine", tmp_path, 0.4, read_own=read_own, check=check)
    left = 9
    assert len(sources.read_source("mine", tmp_path, 0.4, read_own=read_own, check=check)) == 3


def test_a_folder_of_ones_own_may_have_the_name_of_this_projects_imagery(tmp_path: Path) -> None:
    for name in sources.SOURCES:
        for index in range(2):
            _write(tmp_path / name / "images" / f"t{index}.png", np.full((8, 8, 3), 90))
            _write(tmp_path / name / "masks" / f"t{index}.png", np.eye(8))
        found = sources.read_source(name, tmp_path / name, 0.4)
        assert [(place.gsd, place.held_out) for place in found] == [(0.4, False), (0.4, True)]
        assert all((place.label == np.eye(8)).all() for place in found)
        with pytest.raises(InputError, match=f"{name}.*would not count") as caught:
            sources.read_source(name, tmp_path / name, 0.4, project_imagery=True)
        assert caught.value.code == "bad_value"


def test_this_projects_imagery_is_read_by_its_name_where_that_is_said(tmp_path: Path) -> None:
    for index in range(4):
        _tile(tmp_path, f"t{index}", 150)
    found = sources.read_source("south_tyrol", tmp_path, project_imagery=True)
    assert [(place.name, place.gsd, place.held_out) for place in found] == [("t1", 0.27, True), ("t3", 0.27, True)]
