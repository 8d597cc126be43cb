"""The land-cover detector: class maps that sum to one, and change only between different classes."""

import pytest
import torch

from changen2.models.changestar_landcover import (
    ChangeStarLandCover,
    changestar_landcover,
    fuse_classes,
    without_encoder,
)


@pytest.fixture(scope="module")
def model() -> ChangeStarLandCover:
    torch.manual_seed(0)
    return changestar_landcover().eval()


def _images(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height * 7 + width)
    return tuple(torch.randn(1, 3, height, width, generator=generator) for _ in range(2))


def _sure_of(index: int) -> torch.Tensor:
    return torch.full((1, 5, 1, 1), -9.0).index_fill_(1, torch.tensor(index), 9.0)


@pytest.mark.parametrize("shape", [(64, 96), (70, 33)])
def test_any_size_comes_back_with_six_channels_of_classes(model: ChangeStarLandCover, shape: tuple[int, int]) -> None:
    with torch.no_grad():
        detection = model(*_images(*shape))
    assert detection.change.shape == (1, 1, *shape)
    assert detection.change.min() >= 0 and detection.change.max() <= 1
    for classes in (detection.semantic_before, detection.semantic_after):
        assert classes.shape == (1, 6, *shape)
        torch.testing.assert_close(classes.sum(dim=1), torch.ones(1, *shape))
        assert (classes[:, 0] == 0).all()  # 0 is what nobody labelled: never said


def test_the_order_of_dates_swaps_the_classes_and_nothing_else(model: ChangeStarLandCover) -> None:
    before, after = _images(64, 64)
    with torch.no_grad():
        there, back = model(before, after), model(after, before)
    torch.testing.assert_close(there.change, back.change)
    torch.testing.assert_close(there.semantic_before, back.semantic_after)


def test_change_is_between_two_classes() -> None:
    sure, never = torch.full((1, 1, 1, 1), 9.0), torch.full((1, 1, 1, 1), -9.0)
    land, building = _sure_of(1), _sure_of(3)
    found = fuse_classes(sure, land, building)
    assert found.change > 0.99
    assert (int(found.semantic_before.argmax(1)), int(found.semantic_after.argmax(1))) == (2, 4)
    assert fuse_classes(sure, building, building).change < 0.05
    assert fuse_classes(never, land, building).change < 0.05


def test_the_score_can_be_learned_from_where_it_is_nothing() -> None:
    change, before, after = (x.requires_grad_() for x in (torch.full((1, 1, 1, 1), -99.0), _sure_of(1), _sure_of(1)))
    fuse_classes(change, before, after).change.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in (change, before, after))


def test_its_own_weights_are_small_beside_the_encoder(model: ChangeStarLandCover) -> None:
    own = without_encoder(model.state_dict())
    assert {name.split(".")[0] for name in own} == {"decoder", "change", "semantic"}
    assert sum(value.numel() for value in own.values()) < 0.8e6
