"""The rules of simulated events, from what a request says and which classes there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError
from changen2.gpcm.classes import ClassTable
from changen2.gpcm.simulation import Rules
from changen2.gpcm.transitions import default_transitions, read_transitions
from changen2.protocol import EventRules


def make_rules(request: EventRules, classes: ClassTable, kinds: tuple[str, ...]) -> Rules:
    """What a request lets happen.

    Raises:
        InputError: contradicting counts, an unknown class, no transition table, removal that leaves no class or an
            object.
    """
    if request.least > request.most:
        raise InputError(
            f"At least {request.least} and at most {request.most} objects a step.",
            hint="The least number must not exceed the most.",
            code="bad_value",
        )
    background = background_class(request, classes, needed="remove" in kinds)
    if request.object_classes is not None:
        objects = frozenset(classes.resolve(part) for part in request.object_classes.split(",") if part.strip())
    else:
        named = {index for index, name in classes.names.items() if name.casefold() == "building"}
        objects = frozenset(named or set(classes.names) - {background})
    if "remove" in kinds and background in objects:
        raise InputError(
            f"{classes.names[background]} is what removal leaves (--background), and one of the objects.",
            hint="Leave it out of the objects (--object-classes), or name another background.",
            code="bad_class",
        )
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


def background_class(request: EventRules, classes: ClassTable, *, needed: bool) -> int:
    """The class that removal leaves.

    Args:
        request: names it.
        classes: those of the labels.
        needed: whether anything is removed; else a table may lack the class of the default's number.

    Raises:
        InputError: ``bad_class``.
    """
    try:
        return classes.resolve(request.background)
    except InputError as error:
        usual = type(request).model_fields["background"].default
        if request.background == usual and not needed:
            return int(usual)
        raise InputError(
            f"The background, which removal leaves, is none of the classes. {error.message}",
            hint="Say which class is left where something is removed (--background).",
            code="bad_class",
        ) from error


def drawable(rules: Rules, numbers: NDArray[np.uint8], classes: ClassTable) -> tuple[Rules, list[str]]:
    """Rules without the edits that a generator would draw alike, and what to say of these.

    Args:
        rules: what may happen.
        numbers: the generator's class for each class [256].
        classes: names.
    """
    pairs = [(source, target) for source, allowed in (rules.transitions or {}).items() for target in allowed]
    alike = {(source, target) for source, target in pairs if numbers[source] == numbers[target]}
    if rules.transitions is None or not alike:
        return rules, []
    kept = {
        source: tuple(target for target in allowed if (source, target) not in alike)
        for source, allowed in rules.transitions.items()
    }
    left_out = ", ".join(f"{classes.names[source]} to {classes.names[target]}" for source, target in sorted(alike))
    said = f"The generator draws some classes alike, so these edits do not happen: {left_out}."
    return replace(rules, transitions=kept), [said]
