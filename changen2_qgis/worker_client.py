"""The worker as the rest of the plugin sees it: one, started on demand, shared, restarted after a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import Cancelled
from .worker_process import Callbacks, Hello, Progress, Timing, WorkerProcess

__all__ = ["Callbacks", "Hello", "Progress", "Timing", "WorkerClient"]


class WorkerClient:
    """One worker, started on demand and shared by all requests; safe to use from any thread.

    Args:
        command: gives the command that starts the worker; called at each start, may raise `SetupError`.
        environ: gives the environment of the worker.
        timing: how long to wait for what.
    """

    def __init__(
        self,
        command: Callable[[], Sequence[str]],
        environ: Callable[[], Mapping[str, str]],
        timing: Timing | None = None,
    ) -> None:
        self._command = command
        self._environ = environ
        self._timing = timing or Timing()
        self._lock = threading.Lock()
        self._process: WorkerProcess | None = None
        self._closed = False

    def hello(self, cancelled: Callable[[], bool] = lambda: False) -> Hello:
        """What the worker says of itself; starts it if it does not run.

        Raises:
            BackendCrashed: it ended or said nothing before its `hello`.
            BackendError: it speaks another version of the protocol.
            Cancelled: `cancelled` returned True while waiting.
        """
        return self._running().wait_hello(cancelled)

    @property
    def last_hello(self) -> Hello | None:
        """The running worker's `hello`, or None; starts nothing and waits for nothing."""
        process = self._process
        return process.hello if process is not None and process.alive else None

    @property
    def pid(self) -> int | None:
        """The process id of the running worker, or None."""
        process = self._process
        return process.popen.pid if process is not None and process.alive else None

    def request(self, method: str, params: Mapping[str, Any], callbacks: Callbacks | None = None) -> dict[str, Any]:
        """Send a request and wait for its result; the time it may take has no limit, its silence has.

        Raises:
            BackendError: the backend refused the request or the job failed.
            BackendCrashed: the process ended or hung; the next request starts a new one.
            Cancelled: `callbacks.cancelled` returned True.
        """
        callbacks = callbacks or Callbacks()
        process = self._running()
        process.wait_hello(callbacks.cancelled)
        return process.request(method, params, callbacks)

    def stop(self) -> None:
        """End the worker; requests that wait fail. Returns when no process is left. Safe to call twice."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.stop("The backend was stopped.")

    def close(self) -> None:
        """End the worker for good: a task that was still waiting for its turn must not start another one.

        What is asked from now on raises `Cancelled`.
        """
        with self._lock:
            self._closed = True
        self.stop()

    def _running(self) -> WorkerProcess:
        with self._lock:
            if self._closed:
                raise Cancelled
            if self._process is None or not self._process.touch():
                self._process = WorkerProcess(self._command(), self._environ(), self._timing)
            return self._process
