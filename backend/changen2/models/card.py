"""What is known of a model, as a person and a job need it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


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
        unchanged_classes: indices of those that mean that nothing changed, such as a building without damage.
        gsd_min, gsd_max: metres it was trained at; outside, a job warns.
        gsd_native: metres that ``--gsd auto`` resamples to.
        tile_size, overlap: pixels; the smallest overlap that keeps seams invisible.
        threshold: recommended change threshold, 0..1.
        init: what a generator does best from: ``noise`` or ``exemplar``.
        label_guidance: recommended weight of the labels, from 1; None where a generator was not trained for it.
        weights: file name of the weights beside the card; the card's name by default.
        sha256: of the weights file.
        encoder_of: name of the embedded detector whose encoder the weights go with; empty where they are whole.
        training_start: weights that were only pre-trained: they are trained further, they do not detect.
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
    unchanged_classes: list[int] = [0]
    gsd_min: float
    gsd_max: float
    gsd_native: float
    tile_size: int = 512
    overlap: int = 64
    threshold: float = 0.5
    init: Literal["noise", "exemplar"] = "noise"
    label_guidance: float | None = None
    licence: str
    noncommercial: bool = False
    size_bytes: int = 0
    weights: str = ""
    sha256: str
    encoder_of: str = ""
    installed: bool = True
    embedded: bool = True
    training_start: bool = False
