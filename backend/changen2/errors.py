"""Every error this package raises on purpose.

    Changen2Error
    ├── InputError      bad input: the caller can mend it (exit code 2)
    ├── JobError        the job failed on good input (exit code 1)
    └── Cancelled       somebody asked for it (exit code 130)

A message says the value and what is allowed; a hint says the next step.
"""

from __future__ import annotations


class Changen2Error(Exception):
    """Root of the tree.

    Args:
        message: what is wrong, with the value, for a person.
        hint: the next step, one sentence; may be empty.
        code: a stable name for programs, such as ``"no_overlap"``.
    """

    exit_code = 1
    default_code = "failed"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code


class InputError(Changen2Error):
    """A file, parameter or combination that cannot work; it is told before anything is done, wherever it can be."""

    exit_code = 2
    default_code = "bad_input"


class JobError(Changen2Error):
    """Good input, but the job could not be finished (disk full, out of memory, …)."""

    exit_code = 1
    default_code = "job_failed"


class Cancelled(Changen2Error):
    """The job was cancelled by the caller."""

    exit_code = 130
    default_code = "cancelled"

    def __init__(self, message: str = "Cancelled.") -> None:
        super().__init__(message)
