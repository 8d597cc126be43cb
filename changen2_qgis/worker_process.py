"""One life of the backend's worker: the process, its wire and its end. No widgets and no Qt objects.

The wire is JSON-RPC 2.0 over the worker's stdin and stdout, one message a line, and the worker speaks first
(`hello`). Requests may come from any thread: Processing runs on pool threads, which is why this is
``subprocess.Popen`` with one reader thread and a queue per request, and not QProcess, which belongs to one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess  # nosec B404 - lists of arguments only, no shell
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Callable, NamedTuple

from .errors import BackendCrashed, BackendError, Cancelled

PROTOCOL = 1
MAX_LINE = 1 << 20
"""Bytes in one message at most; a longer line means that something else writes on the wire."""
CANCELLED_CODE = -32800
ANOTHER = "Set up the backend again, or name another interpreter in the setting changen2/backend_python."
STDERR_TAIL = 2000
"""Characters of the worker's stderr that go into an error message."""


@dataclass(frozen=True)
class Hello:
    """What the worker says of itself when it starts; devices are sorted best first."""

    protocol: int
    version: str
    pid: int
    torch: str
    devices: tuple[dict[str, Any], ...]
    models: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Progress:
    """How far a job is: ``done`` of ``total`` units of ``stage``, and the seconds left if known."""

    stage: str
    done: float
    total: float
    eta_s: float | None


@dataclass(frozen=True)
class Timing:
    """How long the client waits for what, in seconds."""

    poll: float = 0.2
    """How often a waiting request looks whether it was cancelled."""
    silence: float = 30.0
    """Silence during a request after which the worker is taken for hung; it says `alive` every 5 s."""
    cancel_grace: float = 5.0
    """From a cancel to the end of the process, if the job does not stop by itself."""
    terminate_grace: float = 2.0
    """From asking the process to end to killing it."""
    start: float = 180.0
    """From the start to `hello`: a cold import of torch under a virus scanner takes minutes."""
    idle: float = 300.0
    """Without a request the worker is stopped after this time, which frees its memory."""


class Callbacks(NamedTuple):
    """How a request speaks to its caller, always on the caller's own thread."""

    progress: Callable[[Progress], None] | None = None
    log: Callable[[str, str], None] | None = None
    """Called with a level ("info" or "warning") and a message."""
    cancelled: Callable[[], bool] = lambda: False


class WorkerProcess:
    """One life of the worker, from start to end; never restarted.

    Args:
        command: starts the worker.
        environ: the environment of the worker.
        timing: how long to wait for what.

    Raises:
        BackendCrashed: the command cannot be started.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], timing: Timing) -> None:
        self.hello: Hello | None = None
        self._timing = timing
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._waiting: dict[int, queue.Queue[Any]] = {}
        self._greeted = threading.Event()
        self._closing = False
        self._ended = threading.Event()
        self._end_reason = ""
        self._never_started = False
        self._last_use = time.monotonic()
        self._messages = 0
        self._python = command[0]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.popen = self._start(command, environ)
        self._stdin: IO[bytes] = self.popen.stdin  # type: ignore[assignment]
        threading.Thread(target=self._read, name="changen2-worker-reader", daemon=True).start()

    def _start(self, command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # nosec B603 - a program the user or plugin chose
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=dict(environ),
                # `-m` puts the working folder on the module path: one where nobody leaves modules.
                cwd=os.path.dirname(os.path.abspath(command[0])),
                # Ctrl+C in the terminal that started QGIS is for QGIS; on Windows no console window opens.
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._stderr.close()
            raise BackendCrashed(
                f"The backend cannot be started with {command[0]}: {error}.",
                ANOTHER,
            ) from error

    @property
    def alive(self) -> bool:
        """Whether requests can still be sent."""
        return not self._closing and self.popen.poll() is None

    def touch(self) -> bool:
        """Put off the idle stop; False where the process is ending or has ended."""
        with self._lock:
            self._last_use = time.monotonic()
            return self.alive

    # The reader thread

    def _read(self) -> None:
        """Hand each message to whom it is for, until the worker ends or the wire breaks."""
        stdout: IO[bytes] = self.popen.stdout  # type: ignore[assignment]
        while True:
            line = stdout.readline(MAX_LINE + 1)
            if not line:
                self._finish(None)
                break
            if len(line) > MAX_LINE:
                self._finish(f"The backend sent a line of more than {MAX_LINE} bytes and was ended.")
                break
            self._dispatch(line)
            if self._retire_if_idle():
                self._finish("The backend was stopped because nobody needed it.")
                break
        stdout.close()

    def _dispatch(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # a stray print of some library: the worker's next message is not harmed by it
        if not isinstance(message, dict):
            return
        self._messages += 1
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if message.get("method") == "hello":
            self.hello = _hello(params)
            self._greeted.set()
        else:
            self._deliver(message.get("id", params.get("id")), message)

    def _deliver(self, request_id: Any, message: dict[str, Any]) -> None:
        """To the request of that id, or to all that wait where the message names none."""
        with self._lock:
            receivers = [q for i, q in self._waiting.items() if request_id is None or i == request_id]
        for receiver in receivers:
            receiver.put(message)

    def _retire_if_idle(self) -> bool:
        with self._lock:
            quiet = time.monotonic() - self._last_use
            if self._waiting or quiet <= self._timing.idle:
                return False
            self._closing = True
            return True

    def _finish(self, reason: str | None) -> None:
        """End the process if it still runs, then wake everybody who waits; the first reason stays."""
        with self._lock:
            self._closing = True
            self._end_reason = self._end_reason or reason or ""
        self._end_process()
        with self._lock:
            if self._ended.is_set():
                return
            if not self._end_reason:
                how = _exit(self.popen.returncode)
                unexpected = f"The backend stopped unexpectedly ({how})."
                self._end_reason = self._not_started(how) if self.hello is None else unexpected
            self._end_reason += self._stderr_tail()
            self._stderr.close()
            self._ended.set()
            receivers = list(self._waiting.values())
        self._greeted.set()
        for receiver in receivers:
            receiver.put(None)

    def _end_process(self) -> None:
        """Close stdin, on which a healthy worker exits at once; then terminate; then kill."""
        with contextlib.suppress(OSError, ValueError):
            self._stdin.close()
        for end in (lambda: None, self.popen.terminate, self.popen.kill):
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(self._timing.terminate_grace)
                return

    def _stderr_tail(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - STDERR_TAIL))
        tail = self._stderr.read().decode("utf8", "replace").strip()
        return f" Its last words:\n{tail}\n" if tail and self.popen.returncode != 0 else ""

    # The callers' threads

    def wait_hello(self, cancelled: Callable[[], bool]) -> Hello:
        """Wait for `hello`.

        Raises:
            BackendCrashed: the process ended or said nothing in time.
            BackendError: it speaks another version of the protocol.
            Cancelled: `cancelled` returned True while waiting; the process goes on starting.
        """
        for _ in range(max(1, round(self._timing.start / self._timing.poll))):
            if self._greeted.wait(self._timing.poll):
                break
            if cancelled():
                raise Cancelled
        else:
            self.stop(self._not_started(f"it said nothing for {self._timing.start:.0f} s"))
        if self.hello is None:
            raise self._crashed()
        if self.hello.protocol != PROTOCOL:
            raise BackendError(
                f"The backend speaks protocol {self.hello.protocol}, this plugin {PROTOCOL}.",
                "Set up the backend again: plugin and backend must be of the same version.",
            )
        return self.hello

    def request(self, method: str, params: Mapping[str, Any], callbacks: Callbacks) -> dict[str, Any]:
        """Send a request and wait for its result; the time it may take has no limit, its silence has.

        Raises:
            BackendError: the backend refused the request or the job failed.
            BackendCrashed: the process ended or hung.
            Cancelled: `callbacks.cancelled` returned True.
        """
        request_id = next(self._ids)
        answers: queue.Queue[Any] = queue.Queue()
        with self._lock:
            if self._ended.is_set():
                raise self._crashed()
            self._waiting[request_id] = answers
        try:
            self._send(request_id, method, params)
            return self._wait(request_id, answers, callbacks)
        finally:
            with self._lock:
                self._waiting.pop(request_id, None)
                self._last_use = time.monotonic()

    def _send(self, request_id: int, method: str, params: Mapping[str, Any]) -> None:
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": dict(params)}
        line = json.dumps(message).encode("utf8") + b"\n"
        if len(line) > MAX_LINE:
            raise BackendError(f"The request has {len(line)} bytes; at most {MAX_LINE} can be sent.")
        # A closed pipe means that the process has ended: the reader wakes the request with the reason.
        with self._write_lock, contextlib.suppress(OSError, ValueError):
            self._stdin.write(line)
            self._stdin.flush()

    def _wait(self, request_id: int, answers: queue.Queue[Any], callbacks: Callbacks) -> dict[str, Any]:
        timing = self._timing
        cancel_at: float | None = None
        silent_polls = seen = 0
        while True:
            # Polls are counted, not the clock read: a laptop that slept through the job was not silent.
            try:
                message = answers.get(timeout=timing.poll)
                silent_polls = 0
            except queue.Empty:
                message = {}
                silent_polls = silent_polls + 1 if self._messages == seen else 0
            seen = self._messages
            if message is None:
                raise Cancelled if cancel_at is not None else self._crashed()
            if "result" in message or "error" in message:
                return _outcome(message)
            _tell(message, callbacks)
            if cancel_at is None and callbacks.cancelled():
                cancel_at = time.monotonic()
                self._send(next(self._ids), "cancel", {"id": request_id})
            elif cancel_at is not None and time.monotonic() - cancel_at > timing.cancel_grace:
                self.stop("Another job did not stop when it was cancelled, so the backend was ended.")
            elif silent_polls * timing.poll >= timing.silence:
                self.stop(f"The backend was silent for {timing.silence:.0f} s and was ended.")

    def stop(self, reason: str) -> None:
        """End the process, and wake everybody who waits with the reason."""
        self._finish(reason)

    def _not_started(self, why: str) -> str:
        """The reason of an end before `hello`, which another start would only repeat."""
        self._never_started = True
        return f"The backend does not start with {self._python} ({why})."

    def _crashed(self) -> BackendCrashed:
        if self._never_started:
            return BackendCrashed(self._end_reason, ANOTHER, "no_start")
        return BackendCrashed(self._end_reason, "Run it again: the backend is started anew.", "crashed")


def _hello(params: Mapping[str, Any]) -> Hello:
    return Hello(
        protocol=params.get("protocol", 0),
        version=str(params.get("version", "")),
        pid=params.get("pid", 0),
        torch=str(params.get("torch", "")),
        devices=tuple(params.get("devices", ())),
        models=tuple(params.get("models", ())),
    )


def _outcome(message: Mapping[str, Any]) -> dict[str, Any]:
    """The result; an error is raised."""
    if "error" not in message:
        return dict(message["result"])
    error = message["error"]
    if error.get("code") == CANCELLED_CODE:
        raise Cancelled
    data = error.get("data") or {}
    raise BackendError(error.get("message", "The backend failed."), data.get("hint", ""), data.get("code", ""))


def _tell(message: Mapping[str, Any], callbacks: Callbacks) -> None:
    """A notification to the caller's callbacks."""
    params = message.get("params") or {}
    if message.get("method") == "progress" and callbacks.progress is not None:
        callbacks.progress(
            Progress(
                str(params.get("stage", "")),
                params.get("done", 0),
                params.get("total", 0),
                params.get("eta_s"),
            )
        )
    elif message.get("method") == "log" and callbacks.log is not None:
        callbacks.log(str(params.get("level", "info")), str(params.get("message", "")))


def _exit(code: int | None) -> str:
    """An exit code in words; the system's out-of-memory killer is the usual sender of signal 9."""
    if code is not None and code < 0:
        return "signal 9: killed, often for want of memory" if code == -9 else f"signal {-code}"
    return f"exit code {code}"
