"""A command that was given wrongly: the message of typer, and with ``--json`` the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from changen2.cli.terminal import echo_error
from changen2.redaction import redact

# typer names only the kinds of it, and by version it is click's or typer's own.
UsageError: Any = typer.BadParameter.__base__


class Commands(TyperGroup):
    """The commands, of which each answers ``--json`` with one JSON object also where its options are wrong."""

    _as_json = False

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the options before the command."""
        self._as_json = "--json" in args
        with self._explained():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the command and its options, and run it."""
        with self._explained():
            return super().invoke(ctx)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            error.message = redact(error.message)
            if self._as_json:
                command = error.ctx.command_path if error.ctx else "changen2"
                echo_error("usage", error.format_message(), f"See {command} --help.")
            raise
