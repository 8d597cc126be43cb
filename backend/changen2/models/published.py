"""The authors' published models, by name, from their published parameters.

The networks are `ChangeStar`, `RSDiT` and `AutoencoderKL`; this file says which names exist and refuses weights
that are not the ones named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.models.autoencoder_kl import AutoencoderKL, current_names
from changen2.models.changestar import ChangeStar
from changen2.models.rsdit import RSDIT_SIZES, RSDiT
from changen2.models.sam_vit import VIT_SIZES

SHOWN = 4  # entries named in a refusal


@dataclass(frozen=True)
class ChangeStarKind:
    """One published detector.

    Attributes:
        encoder: key of `VIT_SIZES`.
        semantic_classes: 1 (buildings) or 9 (land cover).
        change_classes: 1, or 5 grades of damage.
        training_start: pre-trained only: its heads may be missing, and it does not detect.
    """

    encoder: str
    semantic_classes: int
    change_classes: int
    training_start: bool = False


CHANGESTAR_KINDS = {
    "changestar-vitb-s1c1": ChangeStarKind("vitb", 1, 1),
    "changestar-vitl-s1c1": ChangeStarKind("vitl", 1, 1),
    "changestar-vitb-s9c1": ChangeStarKind("vitb", 9, 1),
    "changestar-vitb-s1c5": ChangeStarKind("vitb", 1, 5),
    "changestar-vitb-s0": ChangeStarKind("vitb", 1, 1, training_start=True),
}
AUTOENCODER = "autoencoder-kl"
PUBLISHED = (*CHANGESTAR_KINDS, *(f"rsdit-{size}" for size in RSDIT_SIZES), AUTOENCODER)


def load_published(name: str, state_dict: Mapping[str, Tensor]) -> nn.Module:
    """Build a published model and give it its weights.

    Args:
        name: one of `PUBLISHED`.
        state_dict: the published parameters under their published names; copied.

    Returns:
        The model in evaluation mode, float32, on the CPU: a `ChangeStar`, ``model(before, after)``, an `RSDiT`,
        ``model(x, t, y)``, or the `AutoencoderKL` that the latter works in. Label channels and, for a start of
        training, classes are read off the weights.

    Raises:
        InputError: for an unknown name, or if entries are missing, left over or of another shape.
    """
    model, state_dict, absent = fit(name, state_dict)
    model.to_empty(device="cpu")
    model.load_state_dict(dict(state_dict), strict=not absent)
    if absent:
        for name, part in model.named_modules():  # what was given stays
            if isinstance(part, nn.Conv2d | nn.LayerNorm) and absent & {f"{name}.weight", f"{name}.bias"}:
                part.reset_parameters()
    return model.eval()


def fit(name: str, state_dict: Mapping[str, Tensor]) -> tuple[nn.Module, Mapping[str, Tensor], set[str]]:
    """Check that weights are those of a published model, without taking memory for it.

    Returns:
        The model without memory for its weights, the weights under the names in use, the entries that may be absent
        and are.

    Raises:
        InputError: as `load_published`.
    """
    if name not in PUBLISHED:
        raise InputError(
            f"There is no published model {name!r}.",
            hint=f"Choose one of {', '.join(PUBLISHED)}.",
            code="unknown_model",
        )
    if name == AUTOENCODER:
        state_dict = current_names(state_dict)
    with torch.device("meta"):  # the shapes alone: nothing is drawn at random to be overwritten
        model = blueprint(name, state_dict)
    return model, state_dict, check_entries(name, model, state_dict)


def blueprint(name: str, state_dict: Mapping[str, Tensor]) -> nn.Module:
    """The network `name`, with the numbers of channels that its weights tell."""
    if name.startswith("rsdit-"):
        config = RSDIT_SIZES[name.removeprefix("rsdit-")]
        labels = leading_size(state_dict, "y_embedder.convs.0.weight", axis=1, default=1)
        return RSDiT(replace(config, label_channels=labels))
    if name == AUTOENCODER:
        return AutoencoderKL()
    kind = CHANGESTAR_KINDS[name]
    semantic, change = kind.semantic_classes, kind.change_classes
    if kind.training_start:
        semantic = leading_size(state_dict, "head.semantic_conv.0.weight", axis=0, default=semantic)
        change = leading_size(state_dict, "head.change_conv.0.weight", axis=0, default=change)
    model = ChangeStar(VIT_SIZES[kind.encoder], semantic, change)
    model.training_start = kind.training_start
    return model


def leading_size(state_dict: Mapping[str, Tensor], entry: str, *, axis: int, default: int) -> int:
    """Size of a convolution's weight along `axis`, or `default` where there is no such convolution."""
    weight = state_dict.get(entry)
    return weight.shape[axis] if isinstance(weight, Tensor) and weight.ndim == 4 else default


def check_entries(name: str, model: nn.Module, state_dict: Mapping[str, Tensor]) -> set[str]:
    """Hold weights against the network they should fill.

    Returns:
        The entries that may be absent and are: heads of a start of training.

    Raises:
        InputError: naming what is missing, left over or misshapen.
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    missing = expected.keys() - state_dict.keys()
    absent = {key for key in missing if key.startswith("head.")} if getattr(model, "training_start", False) else set()
    missing -= absent
    extra = state_dict.keys() - expected.keys()
    misshapen = [
        f"{key} ({shape_of(state_dict[key])}, not {'×'.join(map(str, shape))})"
        for key, shape in expected.items()
        if key in state_dict and shape_of(state_dict[key]) != "×".join(map(str, shape))
    ]
    faults = [
        listed("missing", sorted(missing)),
        listed("not part of it", sorted(extra)),
        listed("of another shape", misshapen),
    ]
    if any(faults):
        raise InputError(
            f"These weights are not those of {name}: {'; '.join(fault for fault in faults if fault)}.",
            hint="Check which model the file belongs to and give that name; get it again if it was cut short.",
            code="wrong_weights",
        )
    return absent


def shape_of(value: object) -> str:
    """A tensor's shape in words, or what the thing is instead."""
    return "×".join(map(str, value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def listed(what: str, entries: Iterable[str]) -> str:
    """``what: a, b, c and 3 more``, or nothing where there are no entries."""
    entries = list(entries)
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return f"{what}: {', '.join(entries[:SHOWN])}{more}" if entries else ""
