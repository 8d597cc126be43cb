"""What the backend's process inherits, which interpreter is used, how a venv is built and what is reported."""

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from changen2_qgis import environment, paths, venv_builder
from changen2_qgis.environment import child_environment, diagnostics, find, probe, redact_home, venv_python
from changen2_qgis.errors import Cancelled, SetupError
from changen2_qgis.venv_builder import BuildPlan, build_venv, find_base_python, plan_build, torch_build

# The child's environment


@pytest.mark.parametrize(
    "name",
    [
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONEXECUTABLE",
        "PYTHONNOUSERSITE",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "GDAL_DATA",
        "GDAL_DRIVER_PATH",
        "PROJ_LIB",
        "PROJ_DATA",
        "QGIS_PREFIX_PATH",
        "QT_PLUGIN_PATH",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "DYLD_LIBRARY_PATH",
        "DYLD_INSERT_LIBRARIES",
        "PythonPath",
    ],
)
def test_what_steers_qgis_is_kept_from_the_backend(name):
    assert child_environment({name: "x", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "HTTPS_PROXY", "no_proxy", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "PIP_INDEX_URL", "QT_SCALE"],
)
def test_what_the_backend_needs_stays(name):
    assert child_environment({name: "x"}) == {name: "x"}


def test_an_interpreter_starts_clean_under_a_leaking_parent():
    leaking = {**os.environ, "PYTHONEXECUTABLE": "/nowhere/python", "PYTHONHOME": "/nowhere", "LD_PRELOAD": "none.so"}
    said = environment.run_captured([sys.executable, "-c", "import sys; print(sys.prefix)"], leaking, 60)
    assert said.strip() == sys.prefix


# Which interpreter


@pytest.fixture
def no_source_tree(monkeypatch):
    """As installed in a profile, where no `.venv` lies beside the plugin."""
    monkeypatch.setattr(environment, "source_root", lambda: None)


def fake_python(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def fake_venv(folder, built_for):
    fake_python(venv_python(folder))
    (folder / environment.MARKER).write_text(json.dumps({"version": built_for}))
    return folder


def test_the_setting_comes_first_then_the_variable_then_the_profile(tmp_path, no_source_tree):
    setting, variable = fake_python(tmp_path / "a" / "python"), fake_python(tmp_path / "b" / "python")
    venv = fake_venv(tmp_path / "venv", paths.version())
    environ = {"CHANGEN2_PYTHON": str(variable)}
    assert find(str(setting), environ, venv).python == setting
    assert find("", environ, venv).python == variable
    found = find("", {}, venv)
    assert (found.python, found.origin) == (venv_python(venv), "QGIS profile")
    assert found.command() == [str(venv_python(venv)), "-m", "changen2", "worker"]


def test_the_source_trees_venv_comes_before_the_profiles(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "source_root", lambda: tmp_path)
    fake_python(venv_python(tmp_path / ".venv"))
    found = find("", {}, fake_venv(tmp_path / "venv", paths.version()))
    assert (found.python, found.origin) == (venv_python(tmp_path / ".venv"), "source tree")


def test_a_named_interpreter_that_is_missing_is_no_reason_to_take_another(tmp_path, no_source_tree):
    with pytest.raises(SetupError, match=r"/no/python \(setting changen2/backend_python\)"):
        find("/no/python", {}, fake_venv(tmp_path / "venv", paths.version()))


def test_nothing_set_up_says_the_next_step(tmp_path, no_source_tree):
    with pytest.raises(SetupError) as caught:
        find("", {}, tmp_path / "venv")
    assert caught.value.code == "not_set_up" and "Set up the backend" in caught.value.hint


def test_half_a_venv_does_not_count(tmp_path, no_source_tree):
    fake_python(venv_python(tmp_path / "venv"))
    with pytest.raises(SetupError, match="not set up"):
        find("", {}, tmp_path / "venv")


def test_a_venv_of_another_version_asks_to_be_renewed(tmp_path, no_source_tree):
    with pytest.raises(SetupError, match=r"0\.0\.1") as caught:
        find("", {}, fake_venv(tmp_path / "venv", "0.0.1"))
    assert caught.value.code == "outdated"


def test_the_real_environment_passes_the_probe(real_backend):
    found = probe(real_backend.environment().python, os.environ)
    assert found.backend == paths.version()
    assert found.device in ("cpu", "cuda", "mps")


def test_an_interpreter_without_torch_fails_the_probe_with_the_reason(tmp_path):
    with pytest.raises(SetupError, match="No module named"):
        probe(bare_python(tmp_path), os.environ)


def bare_python(tmp_path):
    subprocess.run([base_python(), "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    return venv_python(tmp_path / "bare")


def base_python():
    return os.path.realpath(sys.executable)


# What it is built on


@pytest.mark.parametrize(
    ("driver", "build"),
    [
        (None, "cpu"),
        (390, "cpu"),
        (452, "cu118"),
        (515, "cu118"),
        (535, "cu126"),
        (570, "cu128"),
        (580, "cu130"),
        (999, "cu130"),
    ],
)
def test_the_torch_build_follows_the_driver(driver, build):
    assert torch_build(driver) == build


def test_the_driver_is_asked_of_nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 535.183.01\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    plan = plan_build(tmp_path / "venv", base_python(), "https://wheels.example/{build}", os.environ)
    assert (plan.torch_build, plan.torch_index) == ("cu126", "https://wheels.example/cu126")


def test_a_base_python_is_found_and_is_new_enough(tmp_path):
    found = find_base_python("", os.environ)
    said = environment.run_captured(
        [str(found), "-c", "import sys; print(sys.version_info >= (3, 10))"], os.environ, 60
    )
    assert said.strip() == "True"


def test_why_no_base_python_will_do_is_said_for_each(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho '[3, 9, 8, \"/usr\"]'\n")
    old.chmod(0o755)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho ensurepip is missing >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SetupError, match=r"is Python 3\.9.*ensurepip is missing") as caught:
        find_base_python("", {"PATH": str(tmp_path)})
    assert "python3-venv" in caught.value.hint


def says(path, version, prefix):
    """A program at a path that answers what a Python is asked, as one of this version and prefix would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{json.dumps([*version, 8, prefix])}'\n")
    path.chmod(0o755)
    return path


STORE = "C:/Program Files/WindowsApps/PythonSoftwareFoundation.Python.3.12_3.12.2800.0_x64__qbz5n2kfra8p0"


def test_a_python_of_the_microsoft_store_is_passed_over(tmp_path):
    """Also where its alias hides another of the same name."""
    aliases = tmp_path / "Microsoft" / "WindowsApps"
    for name in ("python3.12", "python"):
        says(aliases / name, (3, 12), STORE)
    wanted = says(tmp_path / "Python312" / "python", (3, 12), "C:/Python312")
    path = os.pathsep.join([str(aliases), str(wanted.parent)])
    assert find_base_python("", {"PATH": path}) == wanted


@pytest.mark.parametrize("folder", ["WindowsApps", "elsewhere"])
def test_why_the_microsoft_stores_python_will_not_do_is_said(tmp_path, folder):
    python = says(tmp_path / folder / "python3.12", (3, 12), STORE if folder == "elsewhere" else "C:/Python")
    for setting, environ in ((str(python), {}), ("", {"PATH": str(python.parent)})):
        with pytest.raises(SetupError, match=r"python3\.12: is from the Microsoft Store.*QGIS profile"):
            find_base_python(setting, environ)


# Building: real venvs and pip, with a tiny package in the backend's place


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A plan whose venv has pip and what the system has, and whose "torch" and "backend" need no download."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='changen2', version='1', py_modules=['changen2', 'torch_stand_in'])\n"
    )
    (source / "changen2.py").write_text("__version__ = '1'\n")
    (source / "torch_stand_in.py").write_text("")
    monkeypatch.setattr(
        environment,
        "PROBE",
        "import json, changen2; print(json.dumps(dict(backend=changen2.__version__, torch='t', device='cpu')))",
    )
    target = tmp_path / "home with spaces" / "venv"
    return BuildPlan(target, Path(base_python()), "cpu", "", source)


COPY_BACKEND = """
import shutil, sys, sysconfig
shutil.copy(sys.argv[1] + '/changen2.py', sysconfig.get_path('purelib'))
open(sys.argv[1] + '/changen2.egg-info', 'w')  # as setuptools does
"""


@pytest.fixture
def pip_calls(monkeypatch):
    """Steps of pip are recorded; in place of an index, the backend's one file is copied into the real venv."""
    calls = []
    run_logged = venv_builder._run_logged

    def run(command, environ, log, tell, cancelled, held):
        if "venv" in command:
            command = (*command, "--without-pip")
        elif "pip" in command:
            calls.append(list(command[command.index("install") + 1 :]))
            is_backend = Path(command[-1]).is_dir()
            command = (command[0], "-c", COPY_BACKEND if is_backend else "print('Downloading torch')", command[-1])
        run_logged(command, environ, log, tell, cancelled, held)

    monkeypatch.setattr(venv_builder, "_run_logged", run)
    return calls


def build(plan, cancelled=lambda: False, told=None, **more):
    return build_venv(
        plan,
        os.environ,
        lambda share, text: (told if told is not None else []).append((share, text)),
        cancelled,
        **more,
    )


def test_a_build_is_proved_and_put_in_place(plan, pip_calls):
    told, stopped = [], []
    found = build(plan, told=told, before_swap=lambda: stopped.append(plan.target.exists()))
    assert found.backend == "1"
    assert probe(venv_python(plan.target), os.environ).backend == "1"
    assert json.loads((plan.target / environment.MARKER).read_text())["version"] == paths.version()
    assert stopped == [False]
    assert [share for share, _ in told] == sorted(share for share, _ in told) and told[-1][0] == 1.0
    assert any("Downloading torch" in text for _, text in told)
    assert sorted(entry.name for entry in plan.target.parent.iterdir()) == ["venv", "venv.lock", "venv.log"]


def test_the_plugins_own_folder_is_only_read(plan, pip_calls):
    before = sorted(plan.backend.rglob("*"))
    plan.backend.chmod(0o555)
    build(plan)
    assert sorted(plan.backend.rglob("*")) == before
    assert sorted(entry.name for entry in plan.target.parent.iterdir()) == ["venv", "venv.lock", "venv.log"]


def test_torch_comes_from_the_index_of_its_build(plan, pip_calls):
    indexed = BuildPlan(plan.target, plan.base_python, "cpu", "https://wheels.example/cpu", plan.backend)
    build(indexed)
    torch = next(call for call in pip_calls if "torch" in call)
    assert torch[-2:] == ["--index-url", "https://wheels.example/cpu"]


def test_windows_gets_no_torch_whose_paths_are_too_long_for_it(plan, pip_calls, monkeypatch):
    assert venv_builder.torch_wanted() == "torch"
    monkeypatch.setattr(sys, "platform", "win32")
    build(BuildPlan(plan.target, plan.base_python, "cu126", "https://wheels.example/cu126", plan.backend))
    asked = [call for call in pip_calls if "--index-url" in call]
    assert len(asked) == 2  # the build for the card, and that for the processor in its stead
    assert all("torch>=2.4,!=2.13.*" in call for call in asked)


def test_a_venv_that_lands_elsewhere_is_told(plan, tmp_path):
    """As Windows does it for a program of the Microsoft Store: all is well, but the files are not where they belong."""
    elsewhere = tmp_path / "python"
    elsewhere.write_text("#!/bin/sh\nexit 0\n")
    elsewhere.chmod(0o755)
    with pytest.raises(SetupError, match=r"there is none at .*venv\.new") as caught:
        build(BuildPlan(plan.target, elsewhere, "cpu", "", plan.backend))
    assert "python.org" in caught.value.hint


def test_a_card_that_does_not_run_the_build_gets_the_cpu_build(plan, pip_calls):
    told = []
    build(BuildPlan(plan.target, plan.base_python, "cu126", "https://wheels.example/cu126", plan.backend), told=told)
    assert pip_calls[-1][-3:] == ["torch", "--index-url", "https://wheels.example/cpu"]
    assert any("does not run cu126" in text for _, text in told)


def test_a_failed_build_keeps_the_old_one_and_says_why(plan, pip_calls):
    build(plan)
    (plan.backend / "changen2.py").write_text("raise ImportError('no kernel image for this card')")
    with pytest.raises(SetupError, match="no kernel image for this card"):
        build(plan)
    assert probe(venv_python(plan.target), os.environ).backend == "1"
    assert not plan.target.with_name("venv.new").exists()


def test_a_step_that_fails_is_told_with_its_last_lines_and_the_log(plan, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SetupError, match="torch") as caught:
        build(plan)
    assert "venv.log" in caught.value.hint
    assert "torch" in plan.target.with_suffix(".log").read_text()
    assert not plan.target.exists()


def test_cancel_stops_the_step_and_leaves_nothing(plan, pip_calls):
    told = []
    with pytest.raises(Cancelled):
        build(plan, cancelled=lambda: True, told=told)
    assert not plan.target.exists() and not plan.target.with_name("venv.new").exists()


HOLD_LOCK = """
import fcntl, sys
held = open(sys.argv[1], "a+b")
fcntl.flock(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def another_builds(plan):
    """Another process that has the lock, until its standard input ends."""
    plan.target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD_LOCK, str(plan.target.with_suffix(".lock"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        yield holder


def lock(plan, cancelled=lambda: False):
    return venv_builder._lock(plan.target.with_suffix(".lock"), lambda *_: None, cancelled)


def test_another_process_that_builds_is_waited_for(plan):
    told = []
    waited = threading.Event()
    with another_builds(plan), pytest.raises(Cancelled):
        build(plan, cancelled=lambda: waited.is_set() or waited.set() or False, told=told)
    assert "another QGIS" in told[0][1]
    with lock(plan, cancelled=lambda: True):
        pass  # free again once its holder has ended


@pytest.mark.parametrize(
    ("written", "taken"),
    [(paths.version(), True), ("0.0.1", False), (None, False)],
    ids=["what fits", "another version", "nothing"],
)
def test_what_another_process_has_built_meanwhile_is_taken_where_it_fits(plan, pip_calls, written, taken):
    build(plan)
    marker = plan.target / environment.MARKER
    os.utime(marker, (0, 0))  # long ago
    before, stopped = len(pip_calls), []
    with another_builds(plan) as other:

        def end_of_the_other():
            if other.poll() is None:
                if written:
                    marker.write_text(json.dumps({"version": written}))
                other.communicate()
            return False

        found = build(plan, cancelled=end_of_the_other, before_swap=lambda: stopped.append(True))
    assert found.backend == "1" and stopped == [True]
    assert (len(pip_calls) == before) == taken


def test_a_file_system_without_locks_is_built_on_all_the_same(plan, monkeypatch):
    plan.target.parent.mkdir(parents=True)

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with lock(plan, cancelled=lambda: True):
        pass  # at once


KILLED_WHILE_IT_BUILDS = """
import os, sys
from pathlib import Path
from changen2_qgis import venv_builder

step = "print('at work', flush=True); open(%r).read()" % sys.argv[2]
with venv_builder._lock(Path(sys.argv[1]), lambda *_: None, lambda: False) as held:
    log = Path(sys.argv[1]).with_suffix(".log")
    venv_builder._run_logged(
        (sys.executable, "-c", step), os.environ, log, lambda line: os.kill(os.getpid(), 9), lambda: False, held
    )
"""


def test_a_step_that_outlives_qgis_keeps_others_from_building(plan, tmp_path):
    plan.target.parent.mkdir(parents=True)
    os.mkfifo(tmp_path / "fifo")
    command = [sys.executable, "-c", KILLED_WHILE_IT_BUILDS, str(plan.target.with_suffix(".lock")), tmp_path / "fifo"]
    assert subprocess.run(command, cwd=paths.PLUGIN_DIR.parent).returncode == -9
    with pytest.raises(Cancelled), lock(plan, cancelled=lambda: True):
        pass
    (tmp_path / "fifo").write_text("")  # what the step waits for
    with lock(plan):
        pass


# What is reported


def test_home_is_redacted_whichever_way_its_slashes_lean():
    home = r"C:\Users\Ada Lovelace"
    text = r"C:\Users\Ada Lovelace\x C:/Users/Ada Lovelace/y C:\\Users\\Ada Lovelace\\z"
    assert redact_home(text, home) == r"~\x ~/y ~\\z"


def test_diagnostics_name_what_matters_without_the_home_folder():
    home = str(Path.home())
    report = diagnostics({"Backend's Python": f"{home}/venv/bin/python"}, {**os.environ, "PYTHONHOME": home})
    assert home not in report
    assert "Backend's Python: ~/venv/bin/python" in report
    assert f"Changen2: {paths.version()}" in report
    assert "PYTHONHOME" in report and "NVIDIA:" in report


def test_the_backends_diagnostics_name_its_interpreter(real_backend):
    report = real_backend.diagnostics()
    assert "CHANGEN2_PYTHON" in report and "QGIS: 3." in report
