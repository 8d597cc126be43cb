"""The rules of simulated events, from what a request says and which classes there are."""

from __future__ import annotations

from changen2.errors import InputError
from changen2.gpcm.classes import ClassTable
from changen2.gpcm.simulation import Rules
from changen2.gpcm.transitions import default_transitions, read_transitions
from changen2.protocol import EventRules


def make_rules(request: EventRules, classes: ClassTable, kinds: tuple[str, ...], background: int) -> Rules:
    """What a request lets happen.

    Raises:
        InputError: contradicting counts, an unknown class, no transition table.
    """
    if request.least > request.most:
        raise InputError(
            f"At least {request.least} and at most {request.most} objects a step.",
            hint="The least number must not exceed the most.",
            code="bad_value",
        )
    if request.object_classes is not None:
        objects = frozenset(classes.resolve(part) for part in request.object_classes.split(",") if part.strip())
    else:
        named = {index for index, name in classes.names.items() if name.casefold() == "building"}
        objects = frozenset(named or set(classes.names) - {background})
    transitions = None
    if "edit" in kinds:
        given = request.transitions
        transitions = read_transitions(given, classes) if given else default_transitions(classes)
    return Rules(
        kinds=kinds,
        object_classes=objects,
        background=background,
        count=(request.least, request.most),
        edit_probability=request.edit_probability,
        transitions=transitions,
    )
