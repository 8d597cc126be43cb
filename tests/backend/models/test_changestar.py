"""ChangeStar 1×256 on any size, and what keeps its numbers from depending on how they are computed."""

import pytest
import torch

from changen2.errors import InputError
from changen2.models import sam_vit
from changen2.models.changestar import ChangeStar
from changen2.models.sam_vit import Attention, PerSize, ViTConfig, relative_positions


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ChangeStar(ViTConfig(2, 32, 2, (1,)), semantic_classes=9, change_classes=5).eval()


def images(height, width, count=1):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, count, 3, height, width, generator=generator)


@pytest.mark.parametrize("height, width", [(64, 96), (50, 71), (7, 40), (1, 1)])
def test_any_size(model, height, width):
    with torch.inference_mode():
        out = model(*images(height, width))
    assert out.change.shape == (1, 5, height, width)
    assert out.semantic_before.shape == out.semantic_after.shape == (1, 9, height, width)
    for probabilities in out.values():
        assert torch.allclose(probabilities.sum(dim=1), torch.ones(1, height, width), atol=1e-5)


def test_padding_is_the_mirrored_image(model):
    before, after = images(64, 50)
    mirrored = [torch.nn.functional.pad(x, (0, 14, 0, 0), mode="reflect") for x in (before, after)]
    with torch.inference_mode():
        assert torch.equal(model(before, after).change, model(*mirrored).change[..., :50])


def test_change_is_symmetric_in_time_and_semantics_swap(model):
    before, after = images(64, 64)
    with torch.inference_mode():
        forth, back = model(before, after), model(after, before)
    assert torch.allclose(forth.change, back.change, atol=1e-6)
    assert torch.allclose(forth.semantic_before, back.semantic_after, atol=1e-6)


def test_pairs_of_a_batch_do_not_mix(model):
    before, after = images(64, 64, count=2)
    with torch.inference_mode():
        together = model(before, after)
        alone = model(before[1:], after[1:])
    assert torch.allclose(together.change[1:], alone.change, atol=1e-6)
    assert torch.allclose(together.semantic_after[1:], alone.semantic_after, atol=1e-6)


def test_dates_of_different_shape_are_refused(model):
    with pytest.raises(InputError, match="both must be"):
        model(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 32))


@pytest.mark.parametrize("window", [None, 4])
def test_attention_equals_its_definition(window):
    """Softmax of scaled logits plus the unscaled query's products with the relative positions."""
    torch.manual_seed(0)
    n, heads, depth, h, w = 2, 2, 8, 5, 6
    attention = Attention(heads * depth, heads, window)
    torch.nn.init.normal_(attention.rel_pos_h)
    torch.nn.init.normal_(attention.rel_pos_w)
    with torch.inference_mode():
        x = torch.randn(n, h * w, 3 * heads * depth)
        q, k, v = x.view(n, h * w, 3, heads, depth).permute(2, 0, 3, 1, 4)
        rows, columns = torch.arange(h * w) // w, torch.arange(h * w) % w
        relative = (
            relative_positions(attention.rel_pos_h, h)[rows[:, None], rows]
            + relative_positions(attention.rel_pos_w, w)[columns[:, None], columns]
        )
        logits = q @ k.transpose(-1, -2) / depth**0.5 + torch.einsum("nhqd,qkd->nhqk", q, relative)
        expected = (logits.softmax(-1) @ v).transpose(1, 2).reshape(n, h * w, -1)
        assert torch.allclose(attention.attend(x, h, w), expected, atol=1e-5)


def test_attention_in_slices_equals_attention_at_once(model, monkeypatch):
    pair = images(96, 128)
    with torch.inference_mode():
        at_once = model(*pair)
        monkeypatch.setitem(sam_vit.BIAS_ELEMENTS, "cpu", 1)
        sliced = model(*pair)
    assert torch.allclose(at_once.change, sliced.change, atol=1e-6)


def test_resampled_tables_are_kept_until_the_parameter_changes():
    made = []
    keeper = PerSize(lambda table, n: made.append(n) or table * n)
    table = torch.nn.Parameter(torch.ones(3))
    with torch.no_grad():
        assert keeper(table, 2) is keeper(table, 2)
        keeper(table, 3)
        table.add_(1)
        assert torch.equal(keeper(table, 2), torch.full((3,), 4.0))
    assert made == [2, 3, 2]
    assert keeper(table, 2).requires_grad  # training always resamples


def test_gradients_reach_every_parameter(model):
    detection = model(*images(64, 64))
    (detection.change.log().sum() + detection.semantic_before.log().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    model.zero_grad()
