"""RS-DiT on any size, with its label embedding made once."""

import pytest
import torch

from changen2.errors import InputError
from changen2.models.rsdit import LabelEmbedder, RSDiT, RSDiTConfig


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return RSDiT(RSDiTConfig(depth=4, hidden=32, heads=2, label_channels=3)).eval()


def inputs(height, width, count=2):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, height, width, generator=generator)
    y = torch.randint(0, 2, (count, 3, 8 * height, 8 * width), generator=generator).float()
    return x, torch.tensor([17, 803][:count]), y


@pytest.mark.parametrize("height, width", [(16, 16), (6, 20), (7, 13), (1, 1)])
def test_any_size(model, height, width):
    with torch.inference_mode():
        out = model(*inputs(height, width))
    assert out.shape == (2, 8, height, width)
    assert out.isfinite().all()


def test_label_embedding_made_once_gives_the_same(model):
    x, t, y = inputs(10, 14)
    with torch.inference_mode():
        assert torch.equal(model(x, t, y), model(x, t, label_embedding=model.embed_labels(y)))


def test_one_label_embedding_serves_a_batch(model):
    x, t, y = inputs(8, 8)
    with torch.inference_mode():
        shared = model(x, t, label_embedding=model.embed_labels(y[:1]))
        assert torch.allclose(shared, model(x, t, y[:1].expand_as(y)), atol=1e-6)


def test_last_label_convolution_skips_what_no_token_reads():
    torch.manual_seed(0)
    embedder = LabelEmbedder(2, 16).eval()
    y = torch.randn(1, 2, 64, 96)
    with torch.inference_mode():
        strided = embedder(y)
        embedder.convs[-2].stride = (1, 1)
        full = embedder(y).permute(0, 3, 1, 2)
        tokens = torch.nn.functional.interpolate(full, size=(4, 6), mode="nearest").permute(0, 2, 3, 1)
    assert torch.allclose(strided, tokens, atol=1e-6)


def test_samples_of_a_batch_do_not_mix(model):
    x, t, y = inputs(10, 10)
    with torch.inference_mode():
        assert torch.allclose(model(x, t, y)[1:], model(x[1:], t[1:], y[1:]), atol=1e-5)


def test_labels_of_any_dtype(model):
    x, t, y = inputs(8, 8)
    with torch.inference_mode():
        assert torch.equal(model(x, t, y.to(torch.uint8)), model(x, t, y))


def test_gradients_reach_every_parameter(model):
    model(*inputs(8, 8)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    model.zero_grad()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, t, y: (x, t, y[..., 8:]), "takes a condition of 64×64; it got 64×56"),
        (lambda x, t, y: (x, t, y[:, :2]), "2 label channels; this RS-DiT takes 3"),
        (lambda x, t, y: (x, t), "it got none"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(model, change, message):
    with pytest.raises(InputError, match=message):
        model(*change(*inputs(8, 8)))
