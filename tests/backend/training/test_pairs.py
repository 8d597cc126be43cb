"""Made pairs: the change label is always the exclusive or of what stands on both dates."""

import numpy as np
import pytest

from changen2.training.crops import Crop
from changen2.training.pairs import (
    blob,
    change_label,
    objects,
    overlay,
    paste_objects,
    remove_objects,
    second_date,
    shifted,
)
from changen2.training.places import IGNORE


def _crop(boxes: list[tuple[int, int, int, int]], ground: int, roof: int, size: int = 64) -> Crop:
    label = np.zeros((size, size), np.uint8)
    for top, left, height, width in boxes:
        label[top : top + height, left : left + width] = 1
    image = np.where(label[..., None] == 1, roof, ground).astype(np.float32).repeat(3, axis=2)
    return Crop(image, label)


VILLAGE = [(5, 5, 12, 10), (40, 10, 10, 14)]


def test_unknown_on_either_date_is_unknown_change() -> None:
    before, after = np.array([0, 0, 1, 1, IGNORE, 0], np.uint8), np.array([0, 1, 0, 1, 1, IGNORE], np.uint8)
    assert change_label(before, after).tolist() == [0, 1, 1, 0, IGNORE, IGNORE]


def test_overlay_takes_label_and_colour_from_the_donor_inside_only() -> None:
    base, donor = _crop([], 50, 0), _crop(VILLAGE, 100, 200)
    alpha = np.zeros((64, 64), np.float32)
    alpha[:30] = 1
    mixed = overlay(base, donor, alpha)
    np.testing.assert_array_equal(mixed.label[:30], donor.label[:30])
    assert (mixed.label[30:] == 0).all() and (mixed.image[30:] == 50).all()


def test_pasted_objects_stand_on_free_ground() -> None:
    base, donor = _crop([(30, 30, 20, 20)], 50, 90), _crop(VILLAGE, 100, 200)
    pasted = paste_objects(base, donor, np.random.default_rng(1), 3)
    assert (pasted.label >= base.label).all()
    assert pasted.label.sum() > base.label.sum()


def test_removed_objects_leave_ground() -> None:
    base, donor = _crop(VILLAGE, 50, 90), _crop([], 70, 0)
    for seed in range(4):
        removed = remove_objects(base, donor, np.random.default_rng(seed), 2)
        assert removed.label.sum() == 0
        # Colours are brought only part of the way to the base's, which holds few roof pixels.
        assert removed.image[8:14, 7:12].max() < 80


def test_objects_at_the_edge_are_not_whole() -> None:
    found = objects(_crop([(0, 5, 10, 10), (30, 30, 10, 10), (50, 50, 2, 2)], 0, 1).label)
    assert [mask.shape for mask, _ in found] == [(10, 10)]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_blob_covers_its_share(share: float) -> None:
    for seed in range(5):
        assert abs(blob(96, np.random.default_rng(seed), share).mean() - share) < 0.06


def test_shifted_moves_image_and_label_alike() -> None:
    moved = shifted(_crop(VILLAGE, 0, 255), 3, -2)
    assert ((moved.image[..., 0] > 0) == (moved.label == 1)).all()


def test_nothing_changes_where_nothing_should() -> None:
    base = _crop(VILLAGE, 50, 90)

    def no_donor() -> Crop:
        raise AssertionError("a pair without change needs no donor")

    assert second_date(base, no_donor, "none", np.random.default_rng(0)) is base


@pytest.mark.parametrize("kind", ["star", "region", "create", "remove", "mixed"])
def test_every_kind_keeps_image_and_label_together(kind: str) -> None:
    base, donor = _crop(VILLAGE, 50, 250), _crop([(20, 40, 15, 15)], 60, 240)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        second = second_date(base, lambda: donor, kind, rng)
        roof = second.image.mean(axis=2) > 150
        assert (roof == (second.label == 1)).mean() > 0.95
