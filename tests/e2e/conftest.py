"""Starts the real QGIS under Xvfb with the plugin in a profile of its own, and reads what a script in it reports."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
PLUGIN = "changen2_qgis"

WINDOW = os.environ.get("CHANGEN2_E2E_WINDOW", "1366x768")
THEME = os.environ.get("CHANGEN2_E2E_THEME", "default")

PROFILE = f"""[PythonPlugins]
{PLUGIN}=true
[app]
projections\\promptWhenMultipleTransformsExist=false
[projections]
promptWhenMultipleTransformsExist=false
"""
"""The plugin switched on, and no question about datum shifts, which nobody here would answer."""


@pytest.fixture(scope="session")
def backend_python():
    """The interpreter of the real backend."""
    python = Path(os.environ.get("CHANGEN2_PYTHON") or ROOT / ".venv" / "bin" / "python")
    if not python.exists():
        pytest.skip(f"no backend at {python}: run make setup")
    return python


@pytest.fixture(scope="session")
def qgis_program():
    """The qgis binary and a screen to show it on."""
    for program in ("qgis", "xvfb-run"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: run make setup")
    return shutil.which("qgis")


@pytest.fixture(scope="session")
def plugin_path(tmp_path_factory):
    """A folder with the plugin in it, laid out as QGIS looks for it; the files themselves stay in the sources."""
    folder = tmp_path_factory.mktemp("plugins")
    plugin = folder / PLUGIN
    plugin.mkdir()
    for source in (*(ROOT / PLUGIN).iterdir(), ROOT / "metadata.txt"):
        if source.name != "__pycache__":
            (plugin / source.name).symlink_to(source)
    return folder


@pytest.fixture(scope="session")
def scene(tmp_path_factory, backend_python):
    """before.tif and after.tif: two georeferenced images on different grids, drawn by the backend."""
    folder = tmp_path_factory.mktemp("scene") / "files"
    code = "import sys; from changen2.scenes.sample import write_sample; write_sample(sys.argv[1], size=768)"
    subprocess.run([backend_python, "-c", code, folder], check=True, timeout=180)
    return SimpleNamespace(before=folder / "before.tif", after=folder / "after.tif")


@pytest.fixture(scope="session")
def run_in_qgis(qgis_program, plugin_path, backend_python):
    """A function that runs a script of `scripts/` inside QGIS and gives its report.

    The script finds the folder to write to in CHANGEN2_E2E_OUT and leaves report.json and pictures there.
    """

    def run(script, out, arguments=(), size=WINDOW, timeout=300, **variables):
        profile = out / "profiles"
        environ = {
            **os.environ,
            "QGIS_PLUGINPATH": str(plugin_path),
            "CHANGEN2_PYTHON": str(backend_python),
            "CHANGEN2_E2E": str(SCRIPTS),
            "CHANGEN2_E2E_OUT": str(out),
            "CHANGEN2_E2E_SIZE": size,
            "LC_ALL": "C.UTF-8",
            "PYTHONFAULTHANDLER": "1",  # a crash names the line of ours that it came from
            **{name: str(value) for name, value in variables.items()},
        }
        environ.pop("QT_QPA_PLATFORM", None)
        command = ["xvfb-run", "-a", "-s", f"-screen 0 {size}x24", qgis_program, "--noversioncheck", "--nologo"]
        command += ["--profiles-path", str(profile), "--code", str(SCRIPTS / script), *map(str, arguments)]
        report, log = out / "report.json", out / "qgis.log"
        given = set(out.iterdir()) if out.exists() else set()
        crash = _start(command, environ, out, timeout)
        if crash and not report.exists():
            # QGIS itself falls over now and then; that must be seen, but says nothing of the plugin unless it repeats.
            warnings.warn(f"QGIS crashed in {script} and was started again:\n{crash}", stacklevel=2)
            for made in set(out.iterdir()) - given:  # what the script was given stays
                shutil.rmtree(made) if made.is_dir() else made.unlink()
            _start(command, environ, out, timeout)
        assert report.exists(), f"no report; QGIS said:\n{_end_of(log)}"
        told = json.loads(report.read_text(encoding="utf8"))
        assert "error" not in told, told["error"]
        return told

    return run


@pytest.fixture(scope="session")
def run_to_its_end():
    """A function that runs QGIS in a profile folder, and once more, with a warning, where QGIS itself fell over."""

    def run(command, environ, profiles, timeout):
        environ = {**environ, "PYTHONFAULTHANDLER": "1"}
        command = [*command, "--profiles-path", str(profiles)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=timeout, check=False)
        if not _is_crash(done.returncode):
            return done
        warnings.warn(f"QGIS crashed and was started again:\n{done.stderr[-6000:]}", stacklevel=2)
        shutil.rmtree(profiles, ignore_errors=True)
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=timeout, check=False)

    return run


def _start(command, environ, out, timeout):
    """Run QGIS in a new profile to its end; gives what it said if it crashed."""
    settings = out / "profiles" / "profiles" / "default" / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"{PROFILE}[UI]\nUITheme={THEME}\n", encoding="utf8")
    with (out / "qgis.log").open("w") as said:
        process = subprocess.Popen(command, env=environ, stdout=said, stderr=said, start_new_session=True)
        try:
            code = process.wait(timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # a QGIS that waits for an answer, and its screen
    return _end_of(out / "qgis.log") if _is_crash(code) else ""


def _is_crash(code):
    """Whether a shell says so of what it ran."""
    return code - 128 in {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS}


def _end_of(log, length=6000):
    """The last that a log holds, of a crash all from its first word on; of a stack only the calls."""
    lines = log.read_text(encoding="utf8", errors="replace").splitlines()
    told = "\n".join(line for line in lines if "No symbol table" not in line and "No locals" not in line)
    crash = told.find("Fatal Python error")
    return told[-length:] if crash < 0 else told[crash : crash + 4 * length]
