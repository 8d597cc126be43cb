"""Every error the plugin raises on purpose.

    PluginError
    ├── InputError          a layer, extent or parameter that cannot work; the user can mend it
    ├── SetupError          no usable backend environment, or building one failed
    ├── BackendError        the backend answered a request with an error
    │   └── BackendCrashed  the backend's process ended or fell silent during a request
    └── Cancelled           the user asked for it

A message says what is wrong, with the value; a hint says the next step.
"""

from __future__ import annotations

from .next_steps import IN_QGIS, NEXT_STEPS


class PluginError(Exception):
    """Root of the tree.

    Args:
        message: what is wrong, for a person.
        hint: the next step, one sentence; may be empty.
        code: a stable name for programs, such as ``"no_overlap"``; may be empty.
    """

    def __init__(self, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(PluginError):
    """A layer, extent or parameter that cannot work; nothing was done."""


class SetupError(PluginError):
    """There is no usable backend environment, or building one failed."""


class BackendError(PluginError):
    """The backend answered a request with an error; where its next step is for a terminal, the one here is told."""

    def __init__(self, message: str, hint: str = "", code: str = "") -> None:
        told = NEXT_STEPS.get(code, hint) if "`changen2 " in hint else hint
        for option, words in IN_QGIS.items():
            told = told.replace(option, words)
        super().__init__(message, told, code)


class BackendCrashed(BackendError):
    """The backend's process ended, fell silent or broke the protocol during a request."""


class Cancelled(PluginError):
    """The user cancelled."""

    def __init__(self, message: str = "Cancelled.") -> None:
        super().__init__(message)
