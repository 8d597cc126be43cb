"""What is said of parameters that a schema refuses: the value, what is allowed in plain words, the next step."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from changen2.errors import InputError
from changen2.redaction import redact

KINDS = {"integer": "a whole number", "number": "a finite number", "string": "a text", "boolean": "true or false"}
"""Of JSON schema, in words."""

LONGEST = 80
"""Characters of a value that are said."""


def refusal(schema: type[BaseModel], params: dict[str, Any], error: ValidationError) -> InputError:
    """The refusal of a request, one sentence for each parameter.

    Args:
        schema: of the request.
        params: as given.
        error: what the schema says of them.

    Returns:
        ``bad_band`` where it is of bands, else ``bad_value``.
    """
    names = list(dict.fromkeys(str(detail["loc"][0]) for detail in error.errors(include_url=False)))
    said = [_said(schema, params, name) for name in names]
    code = "bad_band" if any(name.startswith("bands") for name in names) else "bad_value"
    return InputError(" ".join(message for message, _ in said), hint=" ".join(hint for _, hint in said), code=code)


def _said(schema: type[BaseModel], params: dict[str, Any], name: str) -> tuple[str, str]:
    """Message and hint for one parameter."""
    known = schema.model_fields
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}." if known else "Leave it out."
        return f"There is no parameter {name!r}.", hint
    words = allowed(schema.model_json_schema()["properties"][name])
    if name not in params:
        return f"{name} is missing.", f"Give {name}: {words}."
    field, hint = known[name], f"Change {name}"
    if not field.is_required():
        hint += ", or leave it out" if field.default in (None, "") else f", or leave it out to use {field.default}"
    return f"{name} is {_short(params[name])}; allowed: {words}.", f"{hint}."


def _short(value: Any) -> str:
    said = redact(repr(value))  # before it is cut, lest half a password is not known for one
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def allowed(field: dict[str, Any]) -> str:
    """What a parameter may be, in words: those of its description, where there is one.

    Args:
        field: its JSON schema.
    """
    if "description" in field:
        return str(field["description"])
    if "anyOf" in field:
        return _either([allowed(each) for each in field["anyOf"] if each["type"] != "null"])
    if values := field.get("enum", [field["const"]] if "const" in field else []):
        return _either(values)
    return KINDS[field["type"]] + _range(field)


def _range(field: dict[str, Any]) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    if field["type"] == "integer" and "exclusiveMaximum" in field:
        most = field["exclusiveMaximum"] - 1
    above = field.get("exclusiveMinimum")
    words = ""
    if least is not None:
        words = f" of at least {least}" if most is None else f" from {least} to {most}"
    elif above is not None:
        words = f" above {above}" if most is None else f" above {above}, at most {most}"
    return f"{words}, a multiple of {field['multipleOf']}" if "multipleOf" in field else words


def _either(words: list[str]) -> str:
    """Words parted by commas, ``or`` before the last."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
