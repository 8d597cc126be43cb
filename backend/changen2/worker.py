"""The worker: JSON-RPC on stdin and stdout, one job at a time, cancelled at once.

Four threads: the *reader* (answers ``cancel`` and ``models`` at once, also during a job), the *main*
thread (runs jobs in order), the *heartbeat* (``alive`` every 5 s), and whatever a job starts. Stdout
belongs to the protocol alone: file descriptor 1 is pointed at stderr before anything can print.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from logging.handlers import MemoryHandler
from typing import Any, BinaryIO

from pydantic import ValidationError

from changen2 import __version__
from changen2.errors import Cancelled, Changen2Error
from changen2.jobs.runs.progress import Progress, Reporter
from changen2.protocol import (
    BAD_INPUT,
    INVALID_REQUEST,
    JOB_FAILED,
    LINE_LIMIT,
    PARSE_ERROR,
    PROTOCOL,
    UNKNOWN_METHOD,
    CancelRequest,
    DetectRequest,
    DownloadModelRequest,
    EstimateRequest,
    EstimateSynthesisRequest,
    EvaluateRequest,
    FinetuneRequest,
    GenerateRequest,
    ImportModelRequest,
    Message,
    NoParameters,
    Request,
    SampleRequest,
    SimulateRequest,
    SynthesizeRequest,
    VectorizeRequest,
    VerifyModelRequest,
    encode,
    error_body,
    validate,
)
from changen2.redaction import redact, redacted_result

HEARTBEAT_S = 5.0

LONGEST = LINE_LIMIT // 16
"""Characters that are kept of a text in a notification that is too long; JSON makes up to twelve bytes of one."""

Job = tuple[type[Request], Callable[[Any, Reporter], dict[str, Any]]]


def _jobs() -> dict[str, Job]:
    """Return method → schema and function; imported late, so that ``hello`` does not wait for them."""
    from changen2.jobs import (
        assess,
        detect,
        estimate_synthesis,
        finetune,
        generate,
        models,
        sample,
        simulate,
        synthesize,
        vectorize,
    )

    return {
        "detect": (DetectRequest, detect.run),
        "estimate": (EstimateRequest, lambda request, _: detect.estimate(request)),
        "vectorize": (VectorizeRequest, vectorize.run),
        "simulate": (SimulateRequest, simulate.run),
        "synthesize": (SynthesizeRequest, synthesize.run),
        "generate": (GenerateRequest, generate.run),
        "estimate_synthesis": (EstimateSynthesisRequest, estimate_synthesis.run),
        "evaluate": (EvaluateRequest, assess.run),
        "finetune": (FinetuneRequest, finetune.run),
        "sample": (SampleRequest, sample.run),
        "download_model": (DownloadModelRequest, models.run_download),
        "import_model": (ImportModelRequest, models.run_import),
        "verify_model": (VerifyModelRequest, models.run_verify),
    }


class Worker:
    """Serves one client until its stdin ends.

    Args:
        incoming: lines from the client.
        outgoing: lines to the client.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._lock = threading.Lock()
        self._waiting: queue.Queue[Message | None] = queue.Queue()
        self._cancelled: dict[int | str | None, threading.Event] = {}  # of the jobs that wait or run
        self._running: int | str | None = None
        self._state = threading.Lock()  # over the two above
        self._jobs = _jobs()

    def serve(self) -> None:
        """Say hello and run jobs until ``shutdown``."""
        with _logged_to(self):
            self._send({"method": "hello", "params": hello()})
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        while (message := self._waiting.get()) is not None:
            self._run(message)

    def _send(self, message: dict[str, Any]) -> None:
        line = encode(message)
        if len(line) > LINE_LIMIT:
            line = _shortened(message)
        with self._lock:
            self._outgoing.write(line)
            self._outgoing.flush()

    def _notify(self, method: str, params: dict[str, Any]) -> None:
        self._send({"method": method, "params": params})

    def _beat(self) -> None:
        stop = threading.Event()
        while not stop.wait(HEARTBEAT_S):
            self._notify("alive", {})

    def _read(self) -> None:
        """Read requests; at the end of stdin the client is gone, and so are we."""
        try:
            while line := self._incoming.readline(LINE_LIMIT + 1):
                if len(line) > LINE_LIMIT:
                    while line and not line.endswith(b"\n"):
                        line = self._incoming.readline(LINE_LIMIT)
                    self._refuse(None, PARSE_ERROR, f"A message is longer than {LINE_LIMIT} bytes.", "parse_error")
                    continue
                if line.strip():
                    self._take(line)
        except BrokenPipeError:
            pass  # nobody hears us either
        except BaseException:  # deaf, it could be neither cancelled nor ended
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _take(self, line: bytes) -> None:
        try:
            parsed = json.loads(line)
        except RecursionError:
            return self._refuse(None, PARSE_ERROR, "The line is nested too deeply.", "parse_error")
        except ValueError as error:
            return self._refuse(None, PARSE_ERROR, f"The line is not JSON: {error}.", "parse_error")
        try:
            message = Message.model_validate(parsed)
        except ValidationError:
            identity = parsed.get("id") if isinstance(parsed, dict) else None
            return self._refuse(
                identity if isinstance(identity, int | str) else None,
                INVALID_REQUEST,
                "The message is no JSON-RPC 2.0 request: jsonrpc, id, method and params (an object) are needed.",
                "invalid_request",
            )
        if message.id is None:
            return None  # a notification wants no answer, and none of ours has an effect
        return self._dispatch(message)

    def _dispatch(self, message: Message) -> None:
        if message.method == "cancel":
            return self._answer(message, CancelRequest, lambda request: {"cancelled": self._cancel(request.id)})
        if message.method == "models":
            from changen2.jobs.models import list_models

            return self._answer(message, NoParameters, lambda _: {"models": list_models()})
        if message.method == "shutdown":
            self._send({"id": message.id, "result": {"ok": True}})
            os._exit(0)
        if message.method not in self._jobs:
            known = ", ".join([*self._jobs, "models", "cancel", "shutdown"])
            return self._refuse(
                message.id, UNKNOWN_METHOD, f"There is no method {message.method!r}; known: {known}.", "unknown_method"
            )
        with self._state:
            waits = bool(self._cancelled)
            self._cancelled[message.id] = threading.Event()
        if waits:  # told before it is its turn
            self._notify("progress", {"id": message.id, **Progress("queue", 0, 0, None)._asdict()})
        return self._waiting.put(message)

    def _answer(self, message: Message, schema: type[Request], answer: Callable[[Any], dict[str, Any]]) -> None:
        self._send({"id": message.id, **_reply(schema, message.params, answer)})

    def _cancel(self, identity: int | str) -> bool:
        """Stop a job; one that still waits for another is answered at once, for its client will not wait long."""
        with self._state:
            event = self._cancelled.get(identity)
            if event is None:
                return False
            event.set()
            waits = identity != self._running
            if waits:
                del self._cancelled[identity]
        if waits:
            self._send({"id": identity, "error": error_body(Cancelled())})
        return True

    def _run(self, message: Message) -> None:
        schema, function = self._jobs[message.method]
        with self._state:
            event = self._cancelled.get(message.id)
            if event is None:  # cancelled while it waited
                return
            self._running = message.id

        def on_progress(progress: Progress) -> None:
            self._notify("progress", {"id": message.id, **progress._asdict()})

        reporter = Reporter(on_progress, event.is_set)
        reply = _reply(schema, message.params, lambda request: redacted_result(function(request, reporter)))
        with self._state:
            self._cancelled.pop(message.id, None)
            self._running = None
        self._send({"id": message.id, **reply})

    def _refuse(self, identity: int | str | None, code: int, text: str, name: str) -> None:
        self._send({"id": identity, "error": _error(code, text, name)})


class _LogToClient(logging.Handler):
    """Passes warnings of the backend on as ``log`` notifications, with the id of the job that runs."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(logging.INFO)
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        level = "warning" if record.levelno >= logging.WARNING else "info"
        running = self._worker._running
        of = {} if running is None else {"id": running}
        self._worker._notify("log", {**of, "level": level, "message": redact(record.getMessage())})


@contextmanager
def _logged_to(worker: Worker) -> Iterator[None]:
    """Pass on what the package logs from here on, but nothing before what is sent inside has been sent."""
    held = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize, target=_LogToClient(worker))
    package = logging.getLogger("changen2")
    package.setLevel(logging.INFO)
    package.addHandler(held)
    yield
    held.capacity = 0  # each record is passed on at once
    held.flush()


def hello() -> dict[str, Any]:
    """Return what the backend says first."""
    from changen2.jobs.models import list_models
    from changen2.models.devices import devices
    from changen2.models.registry import torch_version

    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "pid": os.getpid(),
        "torch": torch_version(),
        "devices": [asdict(device) for device in devices()],
        "models": list_models(),
    }


def main() -> None:
    """Take over stdin and stdout and serve until the client is gone."""
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(sys.stdin.buffer, outgoing)
    try:
        worker.serve()
    except BrokenPipeError:
        os._exit(0)


def _reply(schema: type[Request], params: dict[str, Any], answer: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The result of what was asked for, or the error that came instead."""
    from changen2.models.memory import memory_errors

    try:
        with memory_errors():
            return {"result": answer(validate(schema, params))}
    except Changen2Error as error:
        return {"error": error_body(error)}
    except Exception as error:  # the process's edge: a bug must reach the person as a message, not as silence
        print(redact(traceback.format_exc()), file=sys.stderr, flush=True)
        text = f"The backend failed unexpectedly: {type(error).__name__}: {error}"
        return {"error": _error(JOB_FAILED, text, "internal")}


def _shortened(message: dict[str, Any]) -> bytes:
    """The line of a message that is too long for one.

    Texts of a notification are cut, for nobody waits for it. A job that is done has not failed because it has much to
    say: the last of its warnings are only counted.
    """
    if "method" in message:
        texts = {key: value[:LONGEST] if isinstance(value, str) else value for key, value in message["params"].items()}
        return encode({**message, "params": texts})
    result = message.get("result", {})
    kept = warnings = result.get("warnings", [])
    while kept:
        kept = kept[: len(kept) // 2]
        told = [*kept, f"… and {len(warnings) - len(kept):,} more; the run's manifest holds all."]
        line = encode({**message, "result": {**result, "warnings": told}})
        if len(line) <= LINE_LIMIT:
            return line
    return encode({"id": message["id"], "error": _error(JOB_FAILED, "The reply is too long.", "too_long")})


def _error(code: int, message: str, name: str) -> dict[str, Any]:
    hint = "See the log for details." if code == JOB_FAILED else "Check the client's version against the backend's."
    return {"code": code, "message": redact(message), "data": {"code": name, "hint": hint if code != BAD_INPUT else ""}}
