"""The backend as the rest of the plugin sees it: one environment and one worker, both found on demand."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsApplication

from . import environment
from .environment import Environment, Probe, child_environment
from .errors import PluginError
from .known_models import KnownModels
from .proxy import with_proxy
from .settings import Settings
from .worker_client import Callbacks, Hello, Timing, WorkerClient


class Backend:
    """Shared by the dock and all algorithms. Every method may be called from any thread.

    Methods that start or ask the worker block until it answers: call them off the main thread.
    """

    def __init__(self, timing: Timing | None = None) -> None:
        self.settings = Settings()
        self.known_models = KnownModels()
        self._told_by = 0  # the process whose models were passed on when it had started
        self._telling = threading.Lock()
        timing = timing or Timing(idle=60.0 * self.settings.idle_minutes)
        self._client = WorkerClient(
            command=lambda: self.environment().command(),
            environ=lambda: child_environment(with_proxy(os.environ)),
            timing=timing,
        )

    def environment(self) -> Environment:
        """The interpreter in use and where it was found; looks, but starts nothing.

        Raises:
            SetupError: there is none, or the one that a setting names does not exist.
        """
        return environment.find(self.settings.backend_python, os.environ, profile_venv())

    def set_up(self, progress: Callable[[float, str], None], cancelled: Callable[[], bool] = lambda: False) -> Probe:
        """Build the plugin's own venv under the QGIS profile, replacing the one there; a setting names no other then.

        Args:
            progress: called with a share 0..1 and what is being done.
            cancelled: asked several times a second.

        Raises:
            SetupError: it failed; the message says why, and the old venv is as it was.
            Cancelled: `cancelled` returned True; the old venv is as it was.
        """
        from .venv_builder import build_venv, plan_build

        plan = plan_build(profile_venv(), self.settings.base_python, self.settings.torch_index, os.environ)
        found = build_venv(plan, with_proxy(os.environ), progress, cancelled, before_swap=self.stop)
        self.settings.backend_python = ""  # what was just built is to be used
        return found

    def hello(self, cancelled: Callable[[], bool] = lambda: False) -> Hello:
        """Devices, versions, and the models as they were last told; starts the worker if it does not run (seconds)."""
        hello = self._client.hello(cancelled)
        with self._telling:
            if hello.pid != self._told_by:
                self._told_by = hello.pid
                self.known_models.tell(hello.models)
            return replace(hello, models=tuple(self.known_models.cards))

    @property
    def last_hello(self) -> Hello | None:
        """The running worker's `hello`, or None where it does not run; does not wait."""
        return self._client.last_hello

    @property
    def pid(self) -> int | None:
        """The running worker's process id, or None."""
        return self._client.pid

    def request(self, method: str, params: Mapping[str, Any], callbacks: Callbacks | None = None) -> dict[str, Any]:
        """Ask the worker and wait for the result; see `WorkerClient.request`.

        That it is of another version than the plugin is told to the request's log.
        """
        callbacks = callbacks or Callbacks()
        warning = environment.version_warning(self.hello(callbacks.cancelled).version)
        if warning and callbacks.log is not None:
            callbacks.log("warning", warning)
        result = self._client.request(method, params, callbacks)
        if method == "models":
            with self._telling:
                self.known_models.tell(result["models"])
        return result

    def stop(self) -> None:
        """End the worker; returns when no process is left."""
        self._client.stop()

    def close(self) -> None:
        """End the worker for good, with the plugin: whoever asks for it later is told that it was cancelled."""
        self._client.close()

    def diagnostics(self) -> str:
        """A report for an issue, without home paths; asks the worker only if it runs."""
        try:
            found = self.environment()
            python = f"{found.python} ({found.origin})"
        except PluginError as error:
            python = str(error)
        hello = self.last_hello
        worker = "not running"
        if hello is not None:
            devices = ", ".join(str(device.get("label", device.get("name"))) for device in hello.devices)
            worker = f"backend {hello.version}, torch {hello.torch}, devices: {devices}"
        lines = {"QGIS": Qgis.QGIS_VERSION, "Backend's Python": python, "Backend": worker}
        return environment.diagnostics(lines, os.environ)


def profile_venv() -> Path:
    """Where the plugin builds its venv: in the QGIS profile, outside the plugin, which upgrades replace."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "changen2" / "venv"
