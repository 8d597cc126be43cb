"""The detector of any change: its change head alone says what is change, whatever the classes are."""

import pytest
import torch

from changen2.models.changestar_anything import ChangeStarAnything
from changen2.models.changestar_landcover import ChangeStarLandCover


@pytest.fixture
def model() -> ChangeStarAnything:
    torch.manual_seed(0)
    return ChangeStarAnything().eval()


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(1, 3, 70, 64, generator=generator) for _ in range(2))


def test_it_sees_what_the_detector_of_land_cover_sees_and_asks_for_no_class(model: ChangeStarAnything) -> None:
    alike = ChangeStarLandCover().eval()
    alike.load_state_dict(model.state_dict())
    with torch.no_grad():
        found, of_classes = model(*_images()), alike(*_images())
    for date in ("semantic_before", "semantic_after"):
        torch.testing.assert_close(found[date], of_classes[date])
    assert found.change.shape == (1, 1, 70, 64)
    assert (found.change > of_classes.change**2).all()  # the other's is its root with the classes' difference

    renewed = model.fused(torch.full((1, 1, 1, 1), 9.0), *(torch.zeros(1, 5, 1, 1),) * 2)
    assert renewed.change > 0.99


def test_what_is_asked_for_in_training_leaves_the_change_as_it_was(model: ChangeStarAnything) -> None:
    with torch.no_grad():
        before = model(*_images()).change
        model.ask_of_classes()
        assert model.logits(*(torch.zeros(1, 3, 64, 64),) * 2)[0].shape[1] == 6
        torch.testing.assert_close(model(*_images()).change, before)
        model.ask_of_change_alone()
        torch.testing.assert_close(model(*_images()).change, before)
    assert model.state_dict().keys() == ChangeStarLandCover().state_dict().keys()
