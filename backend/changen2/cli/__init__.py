"""The command ``changen2``: the same jobs for a terminal."""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType

from changen2.errors import Cancelled


def main() -> None:
    """Run the command; bad options exit with 2 and a message, as every bad input does.

    Ctrl-C ends it with 130 and a message from the start: what a command needs is imported only after this was set up,
    and a job takes it as a wish to cancel.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as behind nohup
        signal.signal(signal.SIGINT, _stop)
    try:
        from changen2.cli.commands import app
        from changen2.redaction import redact_warnings

        redact_warnings()
        app()
    except _Stopped:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        said = Cancelled()
        print(f"Stopped: {said.message}", file=sys.stderr)
        if "--json" in sys.argv:
            print(json.dumps({"error": {"code": said.code, "message": said.message, "hint": said.hint}}))
        sys.exit(said.exit_code)


class _Stopped(BaseException):
    """Ctrl-C outside a job; no KeyboardInterrupt, which the parser of the command line would take without a word."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped
