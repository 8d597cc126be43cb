"""Change masks: what they cover, and what the denoiser is told beside them."""

import numpy as np
import pytest

from changen2.models.rsdit_tiny import BACKGROUND, BUILDING, LAND
from changen2.training.generator import masks


@pytest.fixture
def label() -> np.ndarray:
    label = np.full((64, 96), LAND, np.uint8)
    label[8:20, 8:20] = BUILDING
    label[40:52, 60:80] = BUILDING
    return label


def _only(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "KINDS", {name: float(name == kind) for name in masks.KINDS})


def test_whole_tiles(label: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(masks.WHOLE, monkeypatch)
    assert masks.draw_mask(label, label, np.random.default_rng(0)).all()


def test_own_footprints_are_covered_with_and_without_a_margin(
    label: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(masks.OWN, monkeypatch)
    houses = masks.on_latents(label == BUILDING)
    margins = set()
    for seed in range(16):
        mask = masks.draw_mask(label, label, np.random.default_rng(seed))
        assert mask.shape == (16, 24)
        assert (mask & houses).any()
        margins.add(bool((mask & ~houses).any()))
        for house in ((slice(2, 5), slice(2, 5)), (slice(10, 13), slice(15, 20))):
            assert mask[house].mean() in (0.0, 1.0), "a house is chosen whole or left alone"
    assert margins == {True, False}


def test_borrowed_footprints_come_from_the_other_image(label: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(masks.BORROWED, monkeypatch)
    empty = np.zeros_like(label)
    mask = masks.draw_mask(empty, label, np.random.default_rng(0))
    assert (mask & masks.on_latents(label == BUILDING)).any()


@pytest.mark.parametrize("kind", [masks.OWN, masks.BORROWED, masks.BLOB])
def test_without_buildings_the_change_is_a_blob(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(kind, monkeypatch)
    empty = np.zeros((64, 64), np.uint8)
    for seed in range(8):
        assert 0 < masks.draw_mask(empty, empty, np.random.default_rng(seed)).mean() <= 0.55


def test_a_latent_place_counts_with_any_of_its_pixels() -> None:
    pixels = np.zeros((8, 8), bool)
    pixels[7, 4] = True
    np.testing.assert_array_equal(masks.on_latents(pixels), [[False, False], [False, True]])


def test_untold_labels_stay_inside_the_change(label: np.ndarray) -> None:
    mask = masks.on_latents(label == BUILDING)
    told = [masks.untell(label, mask, np.random.default_rng(seed)) for seed in range(20)]
    whole = sum(np.array_equal(one, label) for one in told)
    assert 0 < whole < 20
    untold = next(one for one in told if not np.array_equal(one, label))
    inside = np.kron(mask, np.ones((4, 4), bool))
    np.testing.assert_array_equal(untold[inside], label[inside])
    assert (untold[~inside] == BACKGROUND).all()
