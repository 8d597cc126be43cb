"""How the probabilities were scaled that a calibration was measured on: a card takes both scalings as one."""

from __future__ import annotations

from pathlib import Path

from changen2.errors import InputError
from changen2.jobs.detection.calibrated import scaling_of
from changen2.jobs.detection.origin import origins_of
from changen2.jobs.evaluation.compare import matched
from changen2.jobs.evaluation.truth import PROBABILITY, ChangeMap
from changen2.models.registry import ModelCard
from changen2.raster.calibration import Platt


def scaling_before(card: ModelCard, prediction: str | Path, reference: str | Path) -> Platt:
    """Return the scaling of one or several probabilities, which is ``Platt()`` where there was none.

    Args:
        card: of the model that made them.
        prediction: the probability, or a folder.
        reference: what it was compared with.

    Raises:
        InputError: ``bad_value``: another model made one, they were not scaled alike, or nothing tells whether one was.
    """
    there = Path(prediction)
    folder = there if there.is_dir() else there.parent
    found: dict[Platt, str | Path] = {}
    for path in _probabilities(prediction, reference):
        for origin in origins_of(path, folder):
            if origin.model not in (None, card.name):
                raise InputError(
                    f"{path} was made by {origin.model}: how its probabilities are to be scaled says nothing of "
                    f"{card.name}.",
                    hint=f"Name the model that made it, or give a change_probability.tif of {card.name}.",
                    code="bad_value",
                )
            if origin.scaling is None and scaling_of(card):
                raise InputError(
                    f"{card.name} has a scaling, and nothing tells whether it was applied to {path}.",
                    hint="Give the map in the folder of its detection, beside manifest.json.",
                    code="bad_value",
                )
            found.setdefault(origin.scaling or Platt(), path)
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise InputError(
            f"{first} and {second} were scaled differently (a = {one.a:.3f}, b = {one.b:.3f}, and a = {other.a:.3f}, "
            f"b = {other.b:.3f}): what is measured on both together holds for neither.",
            hint="Detect with the same card, or compare them one by one.",
            code="bad_value",
        )
    return next(iter(found))


def _probabilities(prediction: str | Path, reference: str | Path) -> list[str | Path]:
    """The maps of which a calibration was measured; among others in a folder may be 0/1 maps."""
    if not Path(prediction).is_dir():
        return [prediction]
    maps = [pair.prediction for pair in matched(prediction, reference, None, None)]
    return [path for path in maps if _is_probability(path)]


def _is_probability(path: str | Path) -> bool:
    with ChangeMap(path, threshold=0.5) as mapped:
        return mapped.taken_for == PROBABILITY
