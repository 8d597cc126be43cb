"""Crops: image and classes stay together, what was never seen stays out, shards are kept."""

from pathlib import Path

import numpy as np
import pytest

from changen2.errors import InputError
from changen2.models.rsdit_tiny import BACKGROUND, BUILDING, CONTOUR, WATER
from changen2.training.generator import crops, imagery
from changen2.training.generator.config import CropsConfig
from changen2.training.places import IGNORE, Place


def _config(out: Path, **changes: object) -> CropsConfig:
    settings = {"data": out, "out": out, "sources": {"scenes": 1.0}, "count": 3, "size": 64, "colour_strength": 0.0}
    return CropsConfig.model_validate({**settings, "scene_count": 1, "scene_size": 96, **changes})


def _place(label: np.ndarray, image: np.ndarray | None = None) -> Place:
    if image is None:
        image = np.repeat(label[..., None] * np.uint8(40), 3, axis=2)
    return Place("drawn", "one", image, label, 0.3)


def test_classes_follow_the_image(tmp_path: Path) -> None:
    label = np.zeros((200, 200), np.uint8)
    label[:, 100:] = WATER
    label[100:, :] = BUILDING
    places = {"scenes": [_place(label)]}
    agreement = []
    for index in range(12):
        crop = crops.draw_crop(places, _config(tmp_path), index)
        assert crop.image.shape == (3, 64, 64)
        assert 0.24 < crop.gsd < 0.62
        agreement.append((np.rint(crop.image[0] / 40) == crop.label).mean())
    assert min(agreement) > 0.85  # all but the blurred borders between classes


def test_what_was_not_seen_is_cut_around(tmp_path: Path) -> None:
    label = np.full((160, 400), BUILDING, np.uint8)
    label[:, 240:] = IGNORE
    for index in range(6):
        crop = crops.draw_crop({"scenes": [_place(label)]}, _config(tmp_path), index)
        assert set(np.unique(crop.label)) <= {BUILDING, BACKGROUND}
        assert (crop.label == BUILDING).mean() > 0.97


def test_an_image_that_was_hardly_seen_is_refused(tmp_path: Path) -> None:
    label = np.full((160, 160), IGNORE, np.uint8)
    label[:20, :20] = BUILDING
    with pytest.raises(InputError, match="No seen area"):
        crops.draw_crop({"scenes": [_place(label)]}, _config(tmp_path), 0)


def test_without_labels_the_condition_is_contours(tmp_path: Path) -> None:
    image = np.full((160, 160, 3), 60, np.uint8)
    image[40:120, 40:120] = 200
    place = _place(np.full((160, 160), IGNORE, np.uint8), image)
    crop = crops.draw_crop({"scenes": [place]}, _config(tmp_path, gsd_range=(0.6, 0.6)), 0)
    assert set(np.unique(crop.label)) == {BACKGROUND, CONTOUR}


def test_crops_are_drawn_once_and_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "SHARD", 2)
    stages: list[str] = []
    crops.draw_crops(_config(tmp_path), lambda stage, done, total: stages.append(stage))
    assert stages == ["scenes", "crops", "crops", "crops"]
    first = [np.array(shard) for shard in crops.CropStore(tmp_path).images]
    crops.draw_crops(_config(tmp_path), lambda stage, done, total: stages.append("again"))
    assert "again" not in stages
    crops.draw_crops(_config(tmp_path, count=6), lambda stage, done, total: None)
    store = crops.CropStore(tmp_path)
    assert [len(shard) for shard in store.images] == [2, 1, 2]
    assert [store.place(index) for index in range(len(store))] == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]
    np.testing.assert_array_equal(store.images[0], first[0])


@pytest.mark.parametrize("other", [{"seed": 1}, {"colour_strength": 0.5}, {"sources": {"scenes": 2.0}}, {"size": 96}])
def test_crops_of_other_settings_are_refused_and_kept(tmp_path: Path, other: dict[str, object]) -> None:
    crops.draw_crops(_config(tmp_path), lambda stage, done, total: None)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(InputError, match=f"other values of {next(iter(other))}") as caught:
        crops.draw_crops(_config(tmp_path, **other), lambda stage, done, total: None)
    assert caught.value.code == "other_crops"
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_unknown_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'moon' is not known"):
        imagery.read_places(_config(tmp_path, sources={"moon": 1.0}), lambda done, total: None)


@pytest.mark.parametrize("source", ["banepa", "dubai", "spacenet1_rio"])
def test_real_sources_hold_something_out(shared_data: Path, source: str) -> None:
    found = imagery.READERS[source](shared_data / "train" / source)
    assert {place.held_out for place in found} == {True, False}
    assert BUILDING in np.unique(found[0].label)
