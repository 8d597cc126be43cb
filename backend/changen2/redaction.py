"""Texts without credentials: what is written down, sent or shown of a source holds no password, key or signature."""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

_SECRET = re.compile(
    r"""(?ix)(?: \b | (?<=%3F) | (?<=%26) )
        ( (?: [\w-]*(?: key | token | password | passwd | pwd | secret | sig | signature | credential | authorization
                         | authcfg | accessid | keyid | key-pair-id | user | username ) | tk | ak ) (?: = | %3D ) )
        (?: '[^']*' | "[^"]*" | [^&\s'"]+ )"""
)
# A path that was made short has one slash left of two; C:/ is a drive.
_USERINFO = re.compile(r"(?i)(\w\w:/{1,2}|%3A%2F%2F)(?:(?!%2F)[^/?\s])+(@|%40)")


def redact(text: str) -> str:
    """Hide credentials in a layer source, or in what is said of one.

    These are keys and passwords in queries, and user:password@host.
    """
    return _USERINFO.sub(r"\1***\2", _SECRET.sub(r"\1***", text))


def redacted(content: Any) -> Any:
    """Return what JSON can hold of some content, without the credentials in any of its texts, keys included."""
    if isinstance(content, dict):
        return {redact(str(key)): redacted(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [redacted(value) for value in content]
    return content if content is None or isinstance(content, bool | int | float) else redact(str(content))


def redacted_result(result: dict[str, Any]) -> dict[str, Any]:
    """Return a job's result without the credentials in its warnings and outputs; outputs that are files stay."""
    told = dict(result)
    if "warnings" in result:
        told["warnings"] = redacted(result["warnings"])
    if "outputs" in result:
        told["outputs"] = {
            name: path if os.path.exists(path) else redact(str(path))  # noqa: PTH110 - also false for what is no path
            for name, path in result["outputs"].items()
        }
    return told


def redact_warnings() -> None:
    """Let this process print Python's warnings, among them what GDAL says of layers, without credentials."""
    spell = warnings.formatwarning

    def formatwarning(*told: Any, **more: Any) -> str:
        return redact(spell(*told, **more))

    warnings.formatwarning = formatwarning
