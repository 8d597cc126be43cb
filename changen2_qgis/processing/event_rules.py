"""What may happen to a label map, as parameters of the algorithms that simulate change events."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .base import advanced

KINDS = ("create", "remove", "edit")
"""Kinds of events, as the backend names them."""

LARGEST_SEED = 2**31 - 1
"""Processing's whole numbers have 32 bits."""


def kinds_parameter(text: str, default: list[str] | None) -> QgsProcessingParameterEnum:
    """SIMULATE: which kinds of events to simulate."""
    return QgsProcessingParameterEnum(
        "SIMULATE", text, list(KINDS), allowMultiple=True, defaultValue=default, optional=True, usesStaticStrings=True
    )


def seed_parameter() -> QgsProcessingParameterNumber:
    """SEED: the same seed gives the same result."""
    number = QgsProcessingParameterNumber
    return number("SEED", "Seed", number.Type.Integer, 0, minValue=0, maxValue=LARGEST_SEED)


def classes_parameter() -> QgsProcessingParameterFile:
    """CLASSES: a class table."""
    return QgsProcessingParameterFile(
        "CLASSES", "Class table (CSV: index, name, colour; empty: that of the labels)", extension="csv", optional=True
    )


def declare_event_rules(algorithm: QgsProcessingAlgorithm) -> None:
    """Add the advanced parameters that say what may happen, and how much of it."""
    number, text = QgsProcessingParameterNumber, QgsProcessingParameterString
    for parameter in (
        number("LEAST", "Objects created or removed in a step, at least", number.Type.Integer, 1, minValue=0),
        number("MOST", "Objects created or removed in a step, at most", number.Type.Integer, 5, minValue=0),
        number(
            "EDIT_PROBABILITY",
            "Probability of an object to change its class",
            number.Type.Double,
            0.3,
            minValue=0,
            maxValue=1,
        ),
        number(
            "REMOVAL_PROBABILITY",
            "Probability of an object to go, where there are no labels",
            number.Type.Double,
            0.1,
            optional=True,
            minValue=0,
            maxValue=1,
        ),
        text("OBJECT_CLASSES", "Classes that are created and removed (empty: buildings)", "", optional=True),
        text("BACKGROUND", "Class that removal leaves", "0", optional=True),
        QgsProcessingParameterFile(
            "TRANSITIONS",
            "Allowed changes of class (CSV: from, to; empty: as published)",
            extension="csv",
            optional=True,
        ),
    ):
        algorithm.addParameter(advanced(parameter))


def event_rules(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> dict[str, Any]:
    """What the backend takes of the parameters above; what is empty is left to its defaults."""
    rules: dict[str, Any] = {
        "seed": algorithm.parameterAsInt(parameters, "SEED", context),
        "least": algorithm.parameterAsInt(parameters, "LEAST", context),
        "most": algorithm.parameterAsInt(parameters, "MOST", context),
        "edit_probability": algorithm.parameterAsDouble(parameters, "EDIT_PROBABILITY", context),
        "removal_probability": algorithm.parameterAsDouble(parameters, "REMOVAL_PROBABILITY", context),
    }
    for name in ("OBJECT_CLASSES", "BACKGROUND"):
        rules[name.lower()] = algorithm.parameterAsString(parameters, name, context).strip()
    for name in ("CLASSES", "TRANSITIONS"):
        path = algorithm.parameterAsFile(parameters, name, context)
        rules[name.lower()] = os.path.abspath(path) if path else ""
    return {name: value for name, value in rules.items() if value != ""}


def kinds_of(algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext) -> list[str]:
    """The kinds of events to simulate; empty where none are chosen."""
    given = parameters.get("SIMULATE")
    if isinstance(given, str):  # "create,remove" as qgis_process gives it
        given = given.replace(";", ",").split(",")
    elif given is None:
        given = algorithm.parameterAsEnumStrings(parameters, "SIMULATE", context)  # the default
    return [str(kind).strip().lower() for kind in given if str(kind).strip()]
