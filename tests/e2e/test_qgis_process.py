"""The staged plugin in the real `qgis_process`: no window, no test harness, a profile of its own."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from osgeo import gdal

ROOT = Path(__file__).resolve().parents[2]
STAGED = ROOT / "build" / "changen2_qgis"

# Debian's wrapper hands qgis_process an option of qgis that it refuses; the program itself is beside it.
PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs qgis_process: run make setup")


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    """As a user has it: the plugin installed and enabled, the backend found by its variable."""
    if not (STAGED / "metadata.txt").exists():
        subprocess.run(["make", "stage"], cwd=ROOT, check=True, capture_output=True)
    python = Path(os.environ.get("CHANGEN2_PYTHON", ROOT / ".venv" / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"no backend at {python}: run make setup")
    environ = {
        **os.environ,
        "QGIS_PLUGINPATH": str(STAGED.parent),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path_factory.mktemp("profile")),
        "CHANGEN2_PYTHON": str(python),
        "QT_QPA_PLATFORM": "offscreen",
    }
    enabled = subprocess.run(
        [PROGRAM, "plugins", "enable", "changen2_qgis"], env=environ, capture_output=True, text=True, timeout=120
    )
    assert enabled.returncode == 0, enabled.stdout + enabled.stderr
    return environ


def command(algorithm, **parameters):
    given = [f"--{name}={value}" for name, value in parameters.items()]
    return [PROGRAM, "--json", "run", f"changen2:{algorithm}", *given]


def run(environ, algorithm, **parameters):
    done = subprocess.run(
        command(algorithm, **parameters), env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    answer = json.loads(done.stdout[done.stdout.index("{") :]) if "{" in done.stdout else {}
    return done, answer.get("results", {})


def workers():
    """Process ids of the backend's workers on this machine."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if arguments[1:4] == [b"-m", b"changen2", b"worker"]:
                found.add(int(entry.name))
    return found


@pytest.fixture
def pair(shared_data, tmp_path):
    """Two aerial photographs of one place, eight years apart, whose grids differ; a corner of each."""
    paths = []
    for name in ("m_4709963_se_14_1_20120731", "m_4709963_se_14_1_20200831"):
        target = str(tmp_path / f"{name}.tif")
        source = str(shared_data / "geo" / "naip" / f"{name}.tif")
        gdal.Translate(target, source, srcWin=[100, 100, 300, 260])
        paths.append(target)
    return paths


def test_two_real_images_become_a_change_map_that_takes_another_threshold(environ, pair, tmp_path):
    before = workers()
    done, results = run(
        environ, "detectchange", BEFORE=pair[0], AFTER=pair[1], OUTPUT_FOLDER=tmp_path / "run", THRESHOLD=0.1
    )
    assert done.returncode == 0, done.stdout + done.stderr
    probability, reference = gdal.Open(results["PROBABILITY"]), gdal.Open(pair[0])
    assert probability.GetGeoTransform() == reference.GetGeoTransform()
    assert (probability.RasterXSize, probability.RasterYSize) == (300, 260)
    assert until(lambda: workers() <= before)
    done, other = run(
        environ,
        "vectorizechange",
        PROBABILITY=results["PROBABILITY"],
        THRESHOLD=0.9,
        OUTPUT_FOLDER=tmp_path / "other",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert other["POLYGON_COUNT"] <= results["POLYGON_COUNT"]


def test_bad_input_is_told_and_fails(environ, pair, tmp_path):
    done, _ = run(environ, "detectchange", BEFORE=pair[0], AFTER=pair[1], MODEL="giant", OUTPUT_FOLDER=tmp_path / "run")
    assert done.returncode != 0
    assert "giant" in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()


def test_killing_qgis_in_the_middle_leaves_no_worker(environ, pair, tmp_path):
    others = workers()
    process = subprocess.Popen(
        command("detectchange", BEFORE=pair[0], AFTER=pair[1], OUTPUT_FOLDER=tmp_path / "run"),
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert until(lambda: workers() - others)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert until(lambda: not workers() - others)


def until(condition, seconds=60.0):
    """Whether the condition comes true within a generous time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
