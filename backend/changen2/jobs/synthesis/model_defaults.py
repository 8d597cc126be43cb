"""What a request leaves to the card of its generator."""

from __future__ import annotations

from typing import TypeVar

from changen2.diffusion.guidance import GUIDED_FROM
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


def unheard(asked: Drawing, request: Drawing) -> list[str]:
    """A warning where somebody gave labels a weight that never comes to bear.

    Args:
        asked: as it came.
        request: the same, settled.
    """
    weight, level = asked.label_guidance, request.exemplar_level
    if weight in (None, 1) or request.init != "exemplar" or level >= GUIDED_FROM:
        return []
    return [
        f"The weight of the labels ({weight:g}) has no effect: it acts above a noise level of {GUIDED_FROM:g}, and "
        f"what is drawn starts from an exemplar at {level:g}. Raise that level, or start from noise."
    ]
