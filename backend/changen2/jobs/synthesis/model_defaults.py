"""What a request leaves to the card of its generator."""

from __future__ import annotations

from typing import TypeVar

from changen2.errors import InputError
from changen2.models.card import ModelCard
from changen2.protocol import GenerateRequest, SynthesizeRequest

Drawing = TypeVar("Drawing", SynthesizeRequest, GenerateRequest)


def settled(request: Drawing, card: ModelCard) -> Drawing:
    """The request with its start and its labels' weight, so that all that follows and the manifest name them.

    Raises:
        InputError: guidance by labels is wanted of a generator that was not trained for it.
    """
    wanted = request.label_guidance
    if card.label_guidance is None and wanted is not None and wanted != 1:
        raise InputError(
            f"Label guidance {wanted:g} is wanted, but {card.name} was not trained for it.",
            hint="Leave --label-guidance out.",
            code="bad_value",
        )
    guidance = wanted or card.label_guidance or 1.0
    return request.model_copy(update={"init": request.init or card.init, "label_guidance": guidance})
