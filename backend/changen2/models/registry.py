"""Which models there are: their cards, their weights, and what may be done with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch import nn

from changen2.errors import InputError

EMBEDDED = Path(__file__).parent.parent / "weights"


class ModelClass(BaseModel):
    """One class of a semantic head."""

    model_config = ConfigDict(frozen=True)

    index: int
    name: str
    color: str


class ModelCard(BaseModel):
    """What a person and a job need to know of a model; stored as JSON beside its weights.

    Attributes:
        name: what ``--model`` takes; unique among the models of one task.
        architecture: key of ``ARCHITECTURES``.
        task: what it does.
        classes: of the semantic head, by index; class 0 is background where there are two.
        change_classes: of a change head with more than one channel (such as damage levels), else empty.
        gsd_min, gsd_max: metres it was trained at; outside, a job warns.
        gsd_native: metres that ``--gsd auto`` resamples to.
        tile_size, overlap: pixels; the smallest overlap that keeps seams invisible.
        threshold: recommended change threshold, 0..1.
        weights: file name of the weights beside the card; the card's name by default.
        sha256: of the weights file.
        details: everything else worth keeping (data, credits, training, measured numbers).
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    architecture: str
    title: str
    task: Literal["detect", "synthesize"] = "detect"
    summary: str = ""
    classes: list[ModelClass] = []
    change_classes: list[ModelClass] = []
    gsd_min: float
    gsd_max: float
    gsd_native: float
    tile_size: int = 512
    overlap: int = 64
    threshold: float = 0.5
    licence: str
    noncommercial: bool = False
    size_bytes: int = 0
    weights: str = ""
    sha256: str
    installed: bool = True
    embedded: bool = True


def cards() -> dict[tuple[str, str], ModelCard]:
    """Return every known model's card by task and name: ``tiny`` detects, and another ``tiny`` synthesizes."""
    found: dict[tuple[str, str], ModelCard] = {}
    for path in sorted(EMBEDDED.glob("*.json")):
        card = ModelCard.model_validate_json(path.read_text(encoding="utf8"))
        found[card.task, card.name] = card
    return found


def card_of(name: str, task: str = "detect") -> ModelCard:
    """Return one card.

    Raises:
        InputError: ``unknown_model``.
    """
    known = {card_name: card for (card_task, card_name), card in cards().items() if card_task == task}
    if name not in known:
        raise InputError(
            f"There is no model {name!r} to {task} with; known: {', '.join(known) or 'none'}.",
            hint="Run `changen2 models list` to see what is installed.",
            code="unknown_model",
        )
    return known[name]


def weights_path(card: ModelCard) -> Path:
    """Return where a model's weights lie."""
    return EMBEDDED / (card.weights or f"{card.name}.safetensors")


def load_model(card: ModelCard) -> nn.Module:
    """Build a model and load its weights (float32, eval mode, on the CPU) after checking their digest.

    Raises:
        InputError: ``missing_file`` or ``tampered``.
    """
    path = weights_path(card)
    if not path.exists():
        raise InputError(
            f"The weights of {card.name} are not installed: there is no {path.name}.",
            hint="Install the backend again; the embedded weights come with it.",
            code="missing_file",
        )
    found = _sha256(path)
    if found != card.sha256:
        raise InputError(
            f"The weights {path.name} are not the ones the card names: SHA-256 {found[:12]}…, expected "
            f"{card.sha256[:12]}….",
            hint="The file is damaged or was exchanged; install it again.",
            code="tampered",
        )
    model = _architectures()[card.architecture]()
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return model.eval()


def _architectures() -> dict[str, Callable[[], nn.Module]]:
    from changen2.models.changestar_tiny import changestar_tiny
    from changen2.models.generator_tiny import TinyGenerator

    return {"changestar-tiny": changestar_tiny, "generator-tiny": TinyGenerator}


@lru_cache(maxsize=16)
def _sha256_of(path: Path, size: int, modified: float) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256_of(path, stat.st_size, stat.st_mtime)


def torch_version() -> str:
    """Return the version of torch in use."""
    return str(torch.__version__)
