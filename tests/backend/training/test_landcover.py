"""Land cover to train on: what is known of it, and what two dates tell of its change."""

from pathlib import Path

import numpy as np
import pytest

from changen2.scenes.classes import BUILDING, LAND, ROAD, VEGETATION, WATER
from changen2.training.landcover import (
    NOT_BUILDING,
    SOURCES,
    class_change,
    from_buildings,
    greenness,
    read_dubai,
    region_change,
)
from changen2.training.places import IGNORE, Place


def test_grey_is_not_green_at_any_brightness_and_grass_is() -> None:
    pixels = np.array([[[20, 20, 20], [250, 250, 250], [60, 110, 50], [120, 90, 60]]], np.uint8)
    assert (greenness(pixels) > 0.09).tolist() == [[False, False, True, False]]


def test_a_map_of_buildings_tells_buildings_greenery_and_what_is_no_building() -> None:
    image = np.full((9, 9, 3), 128, np.uint8)
    image[:, :4] = (60, 110, 50)
    image[6:8, 6:] = (10, 20, 10)  # dark and greenish: it may be water
    label = np.zeros((9, 9), np.uint8)
    label[:4], label[8] = 1, 255
    classes = from_buildings(Place("x", "x", image, label, 0.3)).label
    assert (classes[:4] == BUILDING).all()
    assert (classes[5:8, :3] == VEGETATION).all() and (classes[5:8, 6:] == NOT_BUILDING).all()
    assert (classes[8] == IGNORE).all()


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (WATER, LAND, 1),
        (ROAD, ROAD, 0),
        (LAND, VEGETATION, IGNORE),  # a field may be either, by season
        (NOT_BUILDING, BUILDING, 1),
        (NOT_BUILDING, ROAD, IGNORE),
        (NOT_BUILDING, NOT_BUILDING, IGNORE),
        (IGNORE, BUILDING, IGNORE),
    ],
)
def test_change_is_said_only_of_what_both_dates_tell(before: int, after: int, change: int) -> None:
    maps = [np.full((1, 1), value, np.uint8) for value in (before, after)]
    assert class_change(*maps).item() == class_change(*maps[::-1]).item() == change


def test_thin_differences_of_one_scene_are_left_open() -> None:
    before = np.full((20, 20), LAND, np.uint8)
    after, certain = before.copy(), np.zeros((20, 20), bool)
    after[2:10, 2:10], after[:, 15], certain[18, 18] = WATER, ROAD, True
    before[12:14], after[12:13] = IGNORE, IGNORE  # a terrace, the half of which is another class now
    change = region_change(before, after, certain)
    assert change[5, 5] == 1 and change[18, 18] == 1
    assert change[5, 15] == IGNORE and change[16, 5] == 0
    assert change[12, 5] == 0 and change[13, 5] == IGNORE


def test_dubai_has_all_classes_in_both_parts(shared_data: Path) -> None:
    places = read_dubai(shared_data / "train" / "dubai")
    for held_out in (True, False):
        known = {int(value) for p in places if p.held_out is held_out for value in np.unique(p.label[::8, ::8])}
        assert known - {IGNORE} == {WATER, LAND, ROAD, BUILDING, VEGETATION}


def test_every_source_is_read_into_known_codes(shared_data: Path) -> None:
    codes = {WATER, LAND, ROAD, BUILDING, VEGETATION, NOT_BUILDING, IGNORE}
    for source in ("spacenet2", "spacenet1_rio"):
        for place in SOURCES[source](shared_data / "train" / source):
            assert set(np.unique(place.label)) <= codes
