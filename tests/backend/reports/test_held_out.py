import numpy as np
import pytest

from changen2.errors import InputError
from changen2.models.rsdit_tiny import BUILDING, CONTOUR
from changen2.reports.held_out import GSD, cut_tiles, held_out_places, held_out_tiles
from changen2.training.places import IGNORE, Place


def place(label, source="dubai", gsd=0.25):
    image = np.random.default_rng(0).integers(0, 255, (*label.shape, 3)).astype(np.uint8)
    return Place(source, "here", image, label.astype(np.uint8), gsd)


def test_tiles_do_not_overlap_and_have_the_wanted_scale():
    label = np.zeros((300, 270))
    label[:128] = BUILDING
    tiles = cut_tiles(place(label), 0.5, 64)
    assert [tile.name for tile in tiles] == ["here 0 0", "here 0 128", "here 128 0", "here 128 128"]
    assert tiles[0].image.shape == (3, 64, 64) and tiles[0].gsd == 0.5
    assert tiles[0].buildings.all() and not tiles[2].buildings.any()


def test_a_tile_of_unknown_class_is_left_out():
    label = np.zeros((64, 128))
    label[:10, :64] = IGNORE
    assert [tile.name for tile in cut_tiles(place(label), 0.25, 64)] == ["here 0 64"]


def test_without_labels_a_tile_has_contours():
    (tile,) = cut_tiles(place(np.full((64, 64), IGNORE)), 0.25, 64)
    assert (tile.label == CONTOUR).any() and not (tile.label == IGNORE).any()


def test_tiles_come_in_turn_from_each_source():
    mine = {"dubai": [place(np.zeros((640, 640)), gsd=0.5)], "estonia": [place(np.zeros((64, 64)), "estonia", 0.3)]}
    assert [tile.source for tile in held_out_tiles(mine, 64, 4)] == ["dubai", "estonia", "dubai", "dubai"]
    assert not held_out_tiles(mine, 64, 4, with_buildings=True)


def test_missing_imagery_is_said(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        held_out_places(tmp_path)


def test_every_source_holds_something_out(shared_data):
    found = held_out_places(shared_data)
    assert set(found) == set(GSD)
    assert all(place.held_out for mine in found.values() for place in mine)
    assert all(mine for mine in found.values())
