"""The Python environment that the backend runs in: where it is, whether it works, what to report of it.

QGIS's own interpreter is never used: ``sys.executable`` is QGIS itself on Windows and macOS, and its Python
is shared by all plugins. The variables by which QGIS steers its own Python, GDAL and Qt would break another
interpreter and are taken away.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess  # nosec B404 - lists of arguments only, no shell
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import SetupError
from .paths import backend_dir, source_root, version

STRIPPED_PREFIXES = ("PYTHON", "CONDA_", "GDAL_", "PROJ_", "QGIS_", "DYLD_")
STRIPPED_NAMES = ("VIRTUAL_ENV", "QT_PLUGIN_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD")

MARKER = "changen2.json"
"""In the plugin's own venv: what it was built from; written last, so its absence means half a venv."""

SETUP_HINT = 'Run "Set up the backend" (in the Changen2 panel or the Processing toolbox).'

# One product with a known sum on the device proves that its kernels run, which an import does not.
PROBE = """
import json, sys
import torch, changen2
device = "cuda" if torch.cuda.is_available() else "cpu"
if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
    device = "mps"
ones = torch.ones(64, 64, device=device)
if (ones @ ones).sum().item() != 64.0 ** 3:
    sys.exit("A product of two matrices on " + device + " is wrong.")
print(json.dumps({"backend": changen2.__version__, "torch": torch.__version__, "device": device}))
"""


@dataclass(frozen=True)
class Environment:
    """An interpreter for the backend, and how it was found."""

    python: Path
    origin: str
    """For a person: "setting changen2/backend_python", "CHANGEN2_PYTHON", "source tree" or "QGIS profile"."""

    def command(self) -> list[str]:
        """The command that starts the worker."""
        return [str(self.python), "-m", "changen2", "worker"]


@dataclass(frozen=True)
class Probe:
    """What a working environment says of itself."""

    backend: str
    torch: str
    device: str


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for another interpreter than QGIS's.

    Taken away: every ``PYTHON*`` (``PYTHONEXECUTABLE`` switches a venv off silently), ``VIRTUAL_ENV``,
    ``CONDA_*``, ``GDAL_*``, ``PROJ_*``, ``QGIS_*``, ``QT_PLUGIN_PATH``, ``LD_LIBRARY_PATH``, ``LD_PRELOAD``
    and ``DYLD_*``, whatever their case (Windows does not care). All else stays: proxies,
    ``CUDA_VISIBLE_DEVICES``, …
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(STRIPPED_PREFIXES) and name.upper() not in STRIPPED_NAMES
    }


def venv_python(venv: Path) -> Path:
    """The interpreter inside a venv."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def find(setting: str, environ: Mapping[str, str], profile_venv: Path) -> Environment:
    """The environment to use: setting, ``CHANGEN2_PYTHON``, the source tree's ``.venv``, the profile's venv.

    Args:
        setting: the setting ``backend_python``; may be empty.
        environ: QGIS's environment variables.
        profile_venv: where the plugin builds its own venv.

    Raises:
        SetupError: an interpreter was named that does not exist, or there is none.
    """
    for named, origin in (
        (setting, "setting changen2/backend_python"),
        (environ.get("CHANGEN2_PYTHON", ""), "CHANGEN2_PYTHON"),
    ):
        if named:
            # A symbolic link stays as it is: resolved, a venv's interpreter is its base.
            python = Path(named).expanduser().absolute()
            if not python.is_file():
                raise SetupError(
                    f"There is no Python interpreter at {named} ({origin}).",
                    "Correct the path or clear it.",
                    "no_python",
                )
            return Environment(python, origin)
    root = source_root()
    if root is not None and venv_python(root / ".venv").is_file():
        return Environment(venv_python(root / ".venv"), "source tree")
    return find_built(profile_venv)


def find_built(venv: Path) -> Environment:
    """The venv that the plugin has built, if it fits this version of the plugin.

    Raises:
        SetupError: there is none, or it does not fit.
    """
    try:
        built_for = json.loads((venv / MARKER).read_text(encoding="utf8"))["version"]
    except (OSError, ValueError, KeyError) as error:
        raise SetupError("The backend is not set up yet.", SETUP_HINT, "not_set_up") from error
    if built_for != version():
        raise SetupError(
            f"The backend was set up for version {built_for} of the plugin, this is {version()}.",
            SETUP_HINT,
            "outdated",
        )
    return Environment(venv_python(venv), "QGIS profile")


def version_warning(backend: str) -> str:
    """What to tell of a backend of this version, such as ``0.1.0``; empty where the plugin is of the same.

    Only one that a setting or CHANGEN2_PYTHON names can be of another.
    """
    if backend == version():
        return ""
    return (
        f"The backend is of version {backend}, this plugin of {version()}: results may differ from what its help says. "
        f'Install the plugin\'s own into the Python that is named for it: python -m pip install "{backend_dir()}"'
    )


def probe(python: Path, environ: Mapping[str, str]) -> Probe:
    """Import torch and the backend with an interpreter and multiply two matrices on its best device.

    Raises:
        SetupError: one of these fails; the message ends with what the interpreter said.
    """
    try:
        done = run_captured([str(python), "-c", PROBE], environ, timeout=180)
        return Probe(**json.loads(done.strip().splitlines()[-1]))
    except (SetupError, ValueError, TypeError, IndexError) as error:
        raise SetupError(f"The backend does not work with {python}: {error}", SETUP_HINT, "probe_failed") from error


def run_captured(command: Sequence[str], environ: Mapping[str, str], timeout: float) -> str:
    """Standard output of a short command; no console window on Windows.

    Raises:
        SetupError: it cannot be started, fails, or takes longer than `timeout` seconds.
    """
    try:
        done = subprocess.run(  # nosec B603 - a program the user or plugin chose
            list(command),
            env=child_environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf8",
            errors="replace",
            timeout=timeout,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise SetupError(f"{command[0]} ended with exit code {done.returncode}: {last}")
    return done.stdout


def redact_home(text: str, home: str | None = None) -> str:
    """The text with the user's home folder shown as ``~``, whichever way its slashes lean."""
    home = home or str(Path.home())
    for form in {home, home.replace("\\", "/"), home.replace("/", "\\"), home.replace("\\", "\\\\")}:
        if len(form) > 1:
            text = re.sub(re.escape(form), "~", text, flags=re.IGNORECASE if os.name == "nt" else 0)
    return text


def diagnostics(lines: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """A report to paste into an issue: what the caller knows, and what this module finds out; no home paths.

    Args:
        lines: what to say first, by name, such as QGIS's version or the interpreter in use.
        environ: QGIS's environment variables.
    """
    try:
        gpus = run_captured(
            ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
            environ,
            20,
        ).strip()
    except SetupError as error:
        gpus = str(error)
    stripped = sorted(set(environ) - set(child_environment(environ)))
    found = {
        "Changen2": version(),
        "System": f"{platform.platform()}, {os.cpu_count()} CPUs",
        "Python of QGIS": platform.python_version(),
        **lines,
        "NVIDIA": gpus or "none",
        "Variables kept from the backend": ", ".join(stripped) or "none",
    }
    return redact_home("\n".join(f"{name}: {value}" for name, value in found.items()))
