"""The published models yield the published implementation's numbers, and refuse weights that are not theirs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rebuilt_weights
import torch

from changen2.errors import InputError
from changen2.models.changestar import ChangeStar
from changen2.models.published import CHANGESTAR_KINDS, load_published
from changen2.models.rsdit import RSDIT_SIZES, RSDiT
from changen2.models.sam_vit import VIT_SIZES

CHANGESTAR_TOLERANCE = 2e-5
RSDIT_TOLERANCE = 2e-4
OUTPUTS = {
    "change": "change_prediction",
    "semantic_before": "t1_semantic_prediction",
    "semantic_after": "t2_semantic_prediction",
}
# A few values of torchange 0.0.4's outputs for rebuilt weights, evenly spaced over the flattened array.
SAMPLES = json.loads(Path(__file__).with_name("torchange_samples.json").read_text())


def bare(name, labels=1):
    """The network `name` without memory for its weights."""
    with torch.device("meta"):
        if name.startswith("rsdit"):
            return RSDiT(replace(RSDIT_SIZES[name.removeprefix("rsdit-")], label_channels=labels))
        kind = CHANGESTAR_KINDS[name]
        return ChangeStar(VIT_SIZES[kind.encoder], kind.semantic_classes, kind.change_classes)


@pytest.fixture(scope="module")
def s1c1(rebuild):
    return rebuild(bare("changestar-vitb-s1c1"))


@pytest.fixture
def weights(rebuild, s1c1):
    """Like `rebuild`, but what a ViT-B detector shares with s1c1 is not drawn again."""

    def state_dict(shapes):
        shared = {name: s1c1[name] for name in shapes.keys() & s1c1.keys() if s1c1[name].shape == shapes[name]}
        return shared | rebuild({name: shape for name, shape in shapes.items() if name not in shared})

    return state_dict


def detect(model, height, width):
    x = torch.from_numpy(rebuilt_weights.pair(height, width))
    with torch.inference_mode():
        return model(x[:, :3], x[:, 3:])


def denoise(model, height, width, labels=1):
    with torch.inference_mode():
        return model(*(torch.from_numpy(array) for array in rebuilt_weights.latents(height, width, labels)))


@pytest.mark.parametrize("kind, size", [("s1c1", 256), ("s9c1", 320)])
def test_changestar_reference(shared_reference, weights, kind, size):
    case = f"changestar_vitb_{kind}_{size}x{size}"
    shapes = rebuilt_weights.read_shapes((shared_reference / f"{case}.keys.txt").read_text())
    out = detect(load_published(f"changestar-vitb-{kind}", weights(shapes)), size, size)
    with np.load(shared_reference / f"{case}.npz") as expected:
        for ours, theirs in OUTPUTS.items():
            assert np.abs(out[ours].numpy() - expected[theirs]).max() < CHANGESTAR_TOLERANCE


@pytest.mark.parametrize("size, height, width", [("s2", 32, 48), ("b2", 32, 32)])
def test_rsdit_reference(shared_reference, rebuild, size, height, width):
    case = f"rsdit_{size}_labels1_{height}x{width}"
    shapes = rebuilt_weights.read_shapes((shared_reference / f"{case}.keys.txt").read_text())
    out = denoise(load_published(f"rsdit-{size}", rebuild(shapes)), height, width)
    with np.load(shared_reference / f"{case}.npz") as expected:
        assert np.abs(out.numpy() - expected["output"]).max() < RSDIT_TOLERANCE


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_the_published_implementation(weights, name, monkeypatch):
    expected = dict(SAMPLES[name])
    size, labels = expected.pop("size"), expected.pop("labels", 1)
    if depth := expected.pop("depth", None):  # the first blocks alone: drawing all of L/2 takes half a minute
        monkeypatch.setitem(RSDIT_SIZES, "l2", replace(RSDIT_SIZES["l2"], depth=depth))
    shapes = {key: tuple(value.shape) for key, value in bare(name, labels).state_dict().items()}
    model = load_published(name, weights(shapes))
    out = {"output": denoise(model, *size, labels)} if name.startswith("rsdit") else detect(model, *size)
    tolerance = RSDIT_TOLERANCE if name.startswith("rsdit") else CHANGESTAR_TOLERANCE
    for key, values in expected.items():
        array = out[key].numpy().ravel()
        places = np.linspace(0, array.size - 1, len(values)).astype(int)
        assert np.abs(array[places] - values).max() < tolerance


def test_classes_and_labels_are_read_off_the_weights(rebuild):
    assert load_published("rsdit-s2", rebuild(bare("rsdit-s2", 9))).config.label_channels == 9


def test_weights_are_copied(s1c1):
    model = load_published("changestar-vitb-s1c1", s1c1)
    before = s1c1["head.conv.1.bias"].clone()
    with torch.no_grad():
        model.head.conv[1].bias.add_(1)
    assert torch.equal(s1c1["head.conv.1.bias"], before)


def test_unknown_name():
    with pytest.raises(InputError, match="changestar-vitx") as caught:
        load_published("changestar-vitx", {})
    assert "changestar-vitb-s1c1" in caught.value.hint


@pytest.mark.parametrize(
    "spoil, named",
    [
        (lambda s: s.pop("head.conv.0.weight"), "missing: head.conv.0.weight"),
        (lambda s: s.update(stray=torch.zeros(1)), "not part of it: stray"),
        (lambda s: s.update({"head.conv.1.bias": torch.zeros(7)}), r"head.conv.1.bias \(7, not 256\)"),
        (lambda s: s.update({"head.conv.1.bias": "x"}), r"head.conv.1.bias \(a str, not 256\)"),
    ],
)
def test_wrong_entries_are_refused_by_name(s1c1, spoil, named):
    state = dict(s1c1)
    spoil(state)
    with pytest.raises(InputError, match=named) as caught:
        load_published("changestar-vitb-s1c1", state)
    assert caught.value.code == "wrong_weights"


def test_a_kind_under_another_name_is_refused(s1c1):
    with pytest.raises(InputError, match=r"head.semantic_conv.0.weight \(1×256×1×1, not 9×256×1×1\)"):
        load_published("changestar-vitb-s9c1", s1c1)


def test_start_of_training_may_lack_its_heads_and_does_not_detect(s1c1):
    headless = {name: value for name, value in s1c1.items() if not name.startswith("head.")}
    model = load_published("changestar-vitb-s0", headless)
    assert model.training_start
    with pytest.raises(InputError, match="starting point for training"):
        detect(model, 64, 64)
    model.train()
    assert detect(model, 64, 64).change.isfinite().all()
    with pytest.raises(InputError, match=r"missing: encoder.vit.pos_embed"):
        load_published("changestar-vitb-s0", {k: v for k, v in headless.items() if "pos_embed" not in k})


def test_a_start_of_training_keeps_what_its_weights_have_of_the_heads(s1c1):
    lost = {"head.semantic_conv.0.weight", "head.semantic_conv.0.bias"}
    model = load_published("changestar-vitb-s0", {name: value for name, value in s1c1.items() if name not in lost})
    found = model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in s1c1.items() if name not in lost)
    assert all(found[name].isfinite().all() for name in lost)


def test_s0_reads_its_classes_off_the_weights(s1c1):
    damage = s1c1 | {"head.change_conv.0.weight": torch.zeros(5, 256, 1, 1), "head.change_conv.0.bias": torch.zeros(5)}
    assert load_published("changestar-vitb-s0", damage).head.change_conv[0].out_channels == 5
