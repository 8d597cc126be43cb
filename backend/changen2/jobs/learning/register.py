"""Adding a detector that was trained here to the installed models: its name, its card, its weights."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

from torch import nn

from changen2.errors import InputError
from changen2.jobs.learning.terms import under_terms
from changen2.models import store
from changen2.models.catalogue import UNSTATED
from changen2.models.registry import ModelCard, cards
from changen2.training.config import TrainingConfig
from changen2.training.export import compact, digest

ALIKE = {"buildings": "tiny", "landcover": "tiny-landcover", "anything": "tiny-anything"}
"""The embedded detector of the same kind, by network."""

FINDS = {
    "buildings": "buildings that came or went",
    "landcover": "change of land cover, and from which to which",
    "anything": "anything that came, went or changed",
}


def require_free(name: str, replace: bool = False) -> None:
    """Raise where a model trained here cannot be given this name.

    Args:
        name: to be given.
        replace: an earlier model that was trained here may have it.

    Raises:
        InputError: ``bad_name`` or ``name_taken``; embedded and published names are always taken.
    """
    taken = cards().get(("detect", name))
    if taken and taken.embedded:
        raise InputError(f"{name} is embedded.", hint="Choose another name.", code="name_taken")
    store.check_name(name, replace=replace)


def register(
    name: str, model: nn.Module, config: TrainingConfig, trained: dict[str, Any], replace: bool = False
) -> ModelCard:
    """Add a detector that was trained from one configuration to the installed models, its encoder included.

    Args:
        name: of the new model.
        model: the calibrated detector.
        config: what it was trained from.
        trained: ``calibration``, ``held_out_f1`` and ``held_out_pairs``, None each where nothing is held out.
        replace: an earlier model of this name.

    Raises:
        InputError: see :func:`require_free`.
        JobError: the models' folder does not take the weights.
    """
    require_free(name, replace)
    return store.write_model(card_of_training(name, model, config, trained), compact(model))


def card_of_training(name: str, model: nn.Module, config: TrainingConfig, trained: dict[str, Any]) -> ModelCard:
    """Return the card of a newly trained detector; its weights' digest is filled in when they are written."""
    alike = cards()["detect", ALIKE[config.network]]
    low, high = config.gsd_range
    learned_from = [*config.sources, *(folder for folder in config.pairs if folder not in config.sources)]
    encoder = "" if config.encoder == "lite0" else f"-{config.encoder}"
    measured: dict[str, Any] = {}
    if trained["held_out_f1"] is not None:
        measured["held out: change"] = {"f1": trained["held_out_f1"], "images": trained["held_out_pairs"]}
        measured["note"] = held_out_note(config)
    return ModelCard.model_validate(
        {
            "name": name,
            "architecture": f"{alike.architecture}{encoder}",
            "title": f"{name}: trained here",
            "summary": f"Finds {FINDS[config.network]}. Trained here on {', '.join(learned_from)}.",
            "classes": alike.classes,
            "gsd_min": low,
            "gsd_max": high,
            "gsd_native": min(max(round(math.sqrt(low * high), 3), low), high),
            "tile_size": alike.tile_size,
            "overlap": alike.overlap,
            "threshold": 0.5,
            **under_terms({"licence": UNSTATED}, map(config.folder, learned_from)),
            "sha256": "",
            "embedded": False,
            "origin": "trained here",
            "installed_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "training": _told(config),
            "measured": measured,
            **({"calibration": trained["calibration"]} if trained["calibration"] else {}),
        }
    )


def _told(config: TrainingConfig) -> dict[str, Any]:
    """What a card tells of a configuration: a start by its name and digest, as its path means nothing elsewhere."""
    told = config.model_dump(mode="json", include={"steps", "batch_size", "crop_size", "seed", "sources", "pairs"})
    start = config.start_from
    return {**told, "start_from": start and {"name": start.name, "sha256": digest(start)}}


def held_out_note(config: TrainingConfig) -> str:
    """What the held-out pairs were used for beside measuring: their figure is somewhat better than others will be."""
    return f"The held-out pairs also chose {'the step, ' if config.look_every else ''}the bias and the calibration."
