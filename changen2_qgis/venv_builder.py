"""Builds the plugin's own venv: a base Python, the PyTorch build that the driver can run, the backend.

Built beside the old one, proved with a tensor product, then renamed into place, so that a broken download, a
full disk or a cancel never leaves half an environment. A lock held by the operating system keeps two QGIS
processes from building at once and cannot be left behind by a crash: on POSIX, what still builds then holds it to its
end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import subprocess  # nosec B404 - lists of arguments only, no shell
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from . import environment
from .environment import MARKER, Probe, child_environment, run_captured, venv_python
from .errors import Cancelled, SetupError
from .paths import backend_dir, version

ProgressFn = Callable[[float, str], None]
CancelledFn = Callable[[], bool]

OLDEST_PYTHON = (3, 10)
PYTHON_NAMES = ("python3.12", "python3.13", "python3.11", "python3.10", "python3.14", "python3", "python")
"""On the search path, best first: the versions that have had wheels the longest."""

HELD_ERRORS = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
"""Of taking a lock that another process has, on POSIX and on Windows."""

CUDA_BUILDS = ((580, "cu130"), (570, "cu128"), (525, "cu126"), (452, "cu118"))
"""Oldest NVIDIA driver branch that runs a PyTorch build (CUDA release notes, table of minimum drivers)."""

BASE_CHECK = """
import ensurepip, json, struct, sys, venv
print(json.dumps([*sys.version_info[:2], struct.calcsize("P"), sys.base_prefix]))
"""

STORE_FOLDER = "windowsapps"
"""In the path, in lower case, of a Python of the Microsoft Store: of its alias and of where it lies."""


@dataclass(frozen=True)
class BuildPlan:
    """What is built from what, and where."""

    target: Path
    """The venv's final folder."""
    base_python: Path
    torch_build: str
    """`cpu`, `cu126`, …, or empty where pip's own index has the right one (macOS)."""
    torch_index: str
    """Address of the wheel index for that build; empty: pip's own."""
    backend: Path
    """Folder of the backend's source."""


def plan_build(target: Path, base_python: str, torch_index: str, environ: Mapping[str, str]) -> BuildPlan:
    """Choose the base Python and the PyTorch build for this machine.

    Args:
        target: the venv's final folder.
        base_python: the setting; empty: the best one found.
        torch_index: the setting, with ``{build}`` where the build's name goes; empty: pip's own index.
        environ: QGIS's environment variables.

    Raises:
        SetupError: no base Python is good enough; says why for each that was looked at.
    """
    build = "" if sys.platform == "darwin" else torch_build(_driver(environ))
    index = torch_index.replace("{build}", build) if build else ""
    return BuildPlan(target, find_base_python(base_python, environ), build, index, backend_dir())


def torch_build(driver: int | None) -> str:
    """The PyTorch build for an NVIDIA driver branch (the number before the first dot), `cpu` without one."""
    for oldest, build in CUDA_BUILDS:
        if driver is not None and driver >= oldest:
            return build
    return "cpu"


def torch_wanted() -> str:
    """What pip is asked for: any PyTorch, for the backend says from which on; on Windows not each.

    The wheel of 2.13 has a path of 167 characters. Behind that of a venv in a QGIS profile it is longer than the 259
    that Windows allows, unless somebody has switched that limit off.
    """
    return "torch>=2.4,!=2.13.*" if sys.platform == "win32" else "torch"


def _driver(environ: Mapping[str, str]) -> int | None:
    """The branch of the installed NVIDIA driver, or None."""
    try:
        said = run_captured(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], environ, 20)
    except SetupError:
        return None
    found = re.match(r"\s*(\d+)\.", said)
    return int(found.group(1)) if found else None


def find_base_python(setting: str, environ: Mapping[str, str]) -> Path:
    """An interpreter of at least Python 3.10, 64 bit, that can make a venv.

    Raises:
        SetupError: none is good enough; says why for each that was looked at.
    """
    candidates = [Path(setting).expanduser()] if setting else list(_base_candidates(environ))
    refused = []
    for python in dict.fromkeys(candidates):
        reason = _refusal(python, environ)
        if reason is None:
            return python
        refused.append(f"{python}: {reason}")
    raise SetupError(
        "No Python can carry the backend. " + ("Looked at: " + "; ".join(refused) if refused else "None was found."),
        "Install Python 3.12 (64 bit; on Debian and Ubuntu also python3-venv), "
        "or name an interpreter in the setting changen2/base_python.",
        "no_base_python",
    )


def _base_candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    searched = environ.get("PATH") or os.environ.get("PATH") or os.defpath
    # The Store's aliases stand before what has the same name further on; it is looked for behind them.
    behind = os.pathsep.join(folder for folder in searched.split(os.pathsep) if STORE_FOLDER not in folder.lower())
    for name in PYTHON_NAMES:
        for path in (searched, behind):
            found = shutil.which(name, path=path)
            if found:
                yield Path(found)
    if os.name == "nt":
        with contextlib.suppress(SetupError):
            for line in run_captured(["py", "-0p"], environ, 20).splitlines():
                found_path = re.search(r"([A-Za-z]:\\.*python\.exe)", line)
                if found_path:
                    yield Path(found_path.group(1))
        # QGIS brings a Python as a program of its own; often too old, so it comes last and is checked too.
        yield Path(sys.base_exec_prefix) / "python.exe"
    elif sys.platform == "darwin":
        yield from (Path(folder) / "python3" for folder in ("/opt/homebrew/bin", "/usr/local/bin"))


def _refusal(python: Path, environ: Mapping[str, str]) -> str | None:
    """Why this interpreter cannot be the base, or None."""
    try:
        major, minor, pointer, prefix = json.loads(run_captured([str(python), "-c", BASE_CHECK], environ, 60))
    except (SetupError, ValueError) as error:
        return str(error)
    if STORE_FOLDER in f"{python} {prefix}".lower():
        # Windows keeps what it writes under AppData in a folder of the app's own, where the venv would not be found.
        return "is from the Microsoft Store, which may not write to the QGIS profile"
    if (major, minor) < OLDEST_PYTHON:
        return f"is Python {major}.{minor}, at least {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} is needed"
    return None if pointer == 8 else "is 32 bit, PyTorch needs 64 bit"


def build_venv(
    plan: BuildPlan,
    environ: Mapping[str, str],
    progress: ProgressFn,
    cancelled: CancelledFn,
    before_swap: Callable[[], None] = lambda: None,
) -> Probe:
    """Build the venv that `plan` says; a build for a graphics card that does not work becomes one for the CPU.

    Where another QGIS was at the same, its end is waited for, and what it has built is taken if it works.

    Args:
        plan: see `plan_build`.
        environ: QGIS's environment variables.
        progress: called with a share 0..1 and what is being done.
        cancelled: asked several times a second.
        before_swap: called before the old venv is replaced, or when another QGIS has replaced it; must stop what runs
            in it.

    Raises:
        SetupError: it failed; the message says why, the log beside the venv has the rest.
        Cancelled: `cancelled` returned True.
    """
    plan.target.parent.mkdir(parents=True, exist_ok=True)
    before = _built_when(plan.target)
    with _lock(plan.target.with_suffix(".lock"), progress, cancelled) as held:
        # Who held the lock may have built nothing: what was there before is not what is asked for.
        if _built_when(plan.target) != before:
            with contextlib.suppress(SetupError):
                found = environment.probe(environment.find_built(plan.target).python, environ)
                before_swap()
                return _ready(found, progress)
        fresh, source = (plan.target.with_name(f"{plan.target.name}.{name}") for name in ("new", "source"))
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            _copy_source(plan.backend, source)
            found = _fill(fresh, replace(plan, backend=source), environ, progress, cancelled, held)
            progress(0.98, "Putting the environment in place")
            marker = {
                "version": version(),
                "torch_build": plan.torch_build,
                "base_python": str(plan.base_python),
            }
            (fresh / MARKER).write_text(json.dumps(marker), encoding="utf8")
            before_swap()
            _swap(fresh, plan.target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(source, ignore_errors=True)
    return _ready(found, progress)


def _built_when(target: Path) -> int | None:
    """Nanoseconds at which a build was finished in this folder, None without one."""
    with contextlib.suppress(OSError):
        return (target / MARKER).stat().st_mtime_ns
    return None


def _ready(found: Probe, progress: ProgressFn) -> Probe:
    progress(1.0, f"The backend is ready: torch {found.torch} on {found.device}")
    return found


def _copy_source(backend: Path, copy: Path) -> None:
    """Copy the backend's source to where one may write: pip builds in it, and the plugin may belong to the system."""

    def refuse(error: OSError) -> None:
        raise error

    shutil.rmtree(copy, ignore_errors=True)
    try:
        # Not copytree, which would take along that the folders are read-only.
        for folder, _, names in os.walk(backend, onerror=refuse):
            there = copy / Path(folder).relative_to(backend)
            there.mkdir()
            for name in names:
                shutil.copyfile(Path(folder, name), there / name)
    except OSError as error:
        raise SetupError(
            f"The backend's files in {backend} cannot be copied to {copy}: {error}",
            "Check the disk; if files are missing, install the plugin again.",
            "setup_failed",
        ) from error


def _fill(
    venv: Path, plan: BuildPlan, environ: Mapping[str, str], progress: ProgressFn, cancelled: CancelledFn, held: int
) -> Probe:
    """Make the venv, install into it, prove it."""
    log = plan.target.with_suffix(".log")
    log.unlink(missing_ok=True)

    def run(share: float, what: str, *command: str) -> None:
        progress(share, what)
        _run_logged(command, environ, log, lambda line: progress(share, f"{what}: {line}"), cancelled, held)

    python = str(venv_python(venv))
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off")
    run(0.0, "Making a Python environment", str(plan.base_python), "-m", "venv", str(venv))
    if not Path(python).exists():
        raise SetupError(
            f"{plan.base_python} has made a Python environment, but there is none at {python}.",
            "Install Python 3.12 from python.org, or name another interpreter in the setting changen2/base_python.",
            "setup_failed",
        )
    torch = [*pip, torch_wanted(), *(["--index-url", plan.torch_index] if plan.torch_index else [])]
    run(0.05, f"Installing PyTorch {plan.torch_build}".rstrip(), *torch)
    run(0.7, "Installing the backend", *pip, str(plan.backend))
    progress(0.92, "Trying the backend")
    try:
        found = environment.probe(Path(python), environ)
    except SetupError:
        if not plan.torch_build.startswith("cu"):
            raise
        found = None
    if found is None or (plan.torch_build.startswith("cu") and found.device == "cpu"):
        cpu_index = plan.torch_index.replace(plan.torch_build, "cpu")
        reinstall = [*pip, "--force-reinstall", torch_wanted(), *(["--index-url", cpu_index] if cpu_index else [])]
        run(0.93, f"The graphics card does not run {plan.torch_build}; installing PyTorch cpu", *reinstall)
        found = environment.probe(Path(python), environ)
    return found


def _run_logged(
    command: tuple[str, ...],
    environ: Mapping[str, str],
    log: Path,
    tell: Callable[[str], None],
    cancelled: CancelledFn,
    held: int,
) -> None:
    """Run one step with its output in the log, telling each last line; a cancel ends it.

    It has the lock's descriptor `held`, too: a step that outlives QGIS keeps others from building beside it. Not on
    Windows, where a lock is a process's own.
    """
    with log.open("ab") as sink, log.open("rb") as tail:
        tail.seek(0, os.SEEK_END)
        try:
            process = subprocess.Popen(  # nosec B603 - a program the user or plugin chose
                command,
                env=child_environment(environ),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                pass_fds=() if os.name == "nt" else (held,),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise SetupError(f"{command[0]} cannot be started: {error}.") from error
        lines = [""]
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            fresh = [line for line in tail.read().decode("utf8", "replace").splitlines() if line.strip()]
            lines += fresh
            if fresh:
                tell(fresh[-1].strip()[:120])
            if cancelled():
                process.kill()
                process.wait()
                raise Cancelled
            if process.returncode is not None:
                break
    if process.returncode != 0:
        raise SetupError(
            f"A step of the setup failed (exit code {process.returncode}): " + "\n".join(lines[-8:]).strip(),
            f"Check the network, the proxy and the disk; the whole log is {environment.redact_home(str(log))}.",
            "setup_failed",
        )


def _swap(fresh: Path, target: Path) -> None:
    """Put the new venv in the old one's place; the old one comes back if that fails."""
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise SetupError(
            f"The new environment cannot be put at {target}: {error}.",
            "Close other QGIS windows and try again.",
        ) from error
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _lock(path: Path, progress: ProgressFn, cancelled: CancelledFn) -> Iterator[int]:
    """Hold the lock file; waits for another QGIS that builds. Gives the file's descriptor."""
    with path.open("a+b") as held:
        while not _try_lock(held):
            progress(0.0, "Waiting: another QGIS is setting up the backend")
            if cancelled():
                raise Cancelled
            time.sleep(0.2)
        yield held.fileno()


def _try_lock(held: IO[bytes]) -> bool:
    """Take the lock if nobody has it; closing the file gives it back, and so does the end of the process.

    True, too, on a file system without locks, where waiting would never end.
    """
    try:
        if os.name == "nt":
            import msvcrt

            held.seek(0)
            msvcrt.locking(held.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in HELD_ERRORS
    return True
