"""The embedded detector: its shape, its symmetry, and that the weights that ship do find change."""

import numpy as np
import pytest
import torch

from changen2.models.changestar_tiny import ChangeStarTiny, changestar_tiny, fuse, pad_to_stride
from changen2.models.detection import normalize
from changen2.models.efficientnet_lite import EfficientNetLite, SameConv2d
from changen2.models.registry import card_of, load_model
from changen2.scenes import SceneStyle, draw_pair


@pytest.fixture(scope="module")
def model() -> ChangeStarTiny:
    torch.manual_seed(0)
    return changestar_tiny().eval()


@pytest.fixture(scope="module")
def trained() -> torch.nn.Module:
    return load_model(card_of("tiny"))


def _images(height: int, width: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height * 7 + width)
    return tuple(torch.randn(batch, 3, height, width, generator=generator) for _ in range(2))


@pytest.mark.parametrize("size", ["lite0", "lite1", "lite2"])
def test_encoder_gives_four_strides(size: str) -> None:
    encoder = EfficientNetLite(size).eval()
    features = encoder(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape[2:]) for f in features] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [f.shape[1] for f in features] == encoder.widths


def test_strided_convolution_pads_more_at_the_end() -> None:
    conv = SameConv2d(1, 1, 3, stride=2)
    torch.nn.init.ones_(conv.weight)
    out = conv(torch.ones(1, 1, 4, 4))
    # Of a 4 x 4 image only the last row and column of windows reach over the edge.
    assert out[0, 0].tolist() == [[9.0, 6.0], [6.0, 4.0]]


@pytest.mark.parametrize("shape", [(64, 96), (70, 101), (20, 33)])
def test_any_size_comes_back_as_it_went_in(model: ChangeStarTiny, shape: tuple[int, int]) -> None:
    with torch.no_grad():
        detection = model(*_images(*shape))
    for key in ("change", "semantic_before", "semantic_after"):
        assert detection[key].shape == (1, 1, *shape)
        assert detection[key].min() >= 0 and detection[key].max() <= 1


def test_padding_mirrors_without_repeating_the_edge() -> None:
    row = torch.arange(5.0).view(1, 1, 1, 5)
    assert pad_to_stride(row)[0, 0, 0, :12].tolist() == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3]
    assert pad_to_stride(row).shape == (1, 1, 64, 64)


def test_change_does_not_depend_on_the_order_of_dates(model: ChangeStarTiny) -> None:
    before, after = _images(64, 64)
    with torch.no_grad():
        there, back = model(before, after), model(after, before)
    torch.testing.assert_close(there.change, back.change)
    torch.testing.assert_close(there.semantic_before, back.semantic_after)


def test_a_mirrored_pair_gives_a_mirrored_answer(model: ChangeStarTiny) -> None:
    before, after = _images(64, 128)
    with torch.no_grad():
        straight, mirrored = model(before, after), model(before.flip(3), after.flip(3))
    torch.testing.assert_close(mirrored.change.flip(3), straight.change, rtol=1e-4, atol=1e-5)


def test_dates_one_after_the_other_are_the_dates_together(model: ChangeStarTiny) -> None:
    """Training looks at both at once, for its batch norms to measure; with these held it sees the same."""
    before, after = torch.rand(2, 2, 3, 64, 128)
    apart = model.logits(before, after)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    together = model.logits(before, after)
    model.eval()
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_change_needs_both_heads_to_agree() -> None:
    sure, never = torch.full((1, 1, 1, 1), 9.0), torch.full((1, 1, 1, 1), -9.0)
    assert fuse(sure, never, sure).change > 0.99
    assert fuse(sure, sure, never).change > 0.99
    assert fuse(sure, sure, sure).change < 0.05
    assert fuse(never, never, sure).change < 0.05


def test_each_pair_of_a_batch_is_its_own(model: ChangeStarTiny) -> None:
    before, after = _images(64, 64, batch=2)
    with torch.no_grad():
        both, second = model(before, after), model(before[1:], after[1:])
    torch.testing.assert_close(both.change[1:], second.change, rtol=1e-4, atol=1e-5)


def test_semantic_logits_are_those_of_a_pair(model: ChangeStarTiny) -> None:
    before, after = _images(64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.semantic_logits(after), model.logits(before, after)[2])


def test_embedded_weights_find_new_houses_and_nothing_else(trained: torch.nn.Module) -> None:
    found = wrong = true = 0
    for seed in (3, 5):
        style = SceneStyle.random(np.random.default_rng(seed), "suburb")
        pair = draw_pair(9000 + seed, 128, 128, 0.5, style)
        before, after = (normalize(torch.tensor(p).permute(2, 0, 1)[None]) for p in (pair.before, pair.after))
        with torch.no_grad():
            change = trained(before, after).change[0, 0].numpy() >= 0.5
        found, wrong = found + (change & pair.change).sum(), wrong + (change & ~pair.change).sum()
        true += pair.change.sum()
    assert true > 0
    assert found > 0.5 * true
    assert wrong < 0.5 * found


def test_embedded_weights_see_no_change_between_two_lights(trained: torch.nn.Module) -> None:
    picture = torch.tensor(draw_pair(11, 128, 128, 0.4).after).permute(2, 0, 1)[None].float()
    hazy = (picture * torch.tensor([0.8, 0.85, 0.95]).view(1, 3, 1, 1) + 30).roll((2, 1), (2, 3))
    with torch.no_grad():
        change = trained(normalize(picture), normalize(hazy)).change
    assert (change >= 0.5).float().mean() < 0.01
