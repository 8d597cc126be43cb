"""The command line as a user meets it: a process, its streams and its exit code."""

import json
import os
import signal
import subprocess
import sys

import pytest


def changen2(*arguments, **options):
    command = [sys.executable, "-m", "changen2", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def test_detect_prints_one_json_object_last(pair, tmp_path):
    done = changen2("detect", *pair, "-o", tmp_path / "run", "--json", "--threshold", "0.4", "--threads", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["summary"]["threshold"] == 0.4
    for name in ("change_probability.tif", "change.tif", "change.gpkg", "manifest.json"):
        assert (tmp_path / "run" / name).exists()
    again = changen2("vectorize", tmp_path / "run/change_probability.tif", "-o", tmp_path / "v", "--threshold", "0.2")
    assert again.returncode == 0 and (tmp_path / "v/change.gpkg").exists()


@pytest.mark.parametrize("kind", ["raster", "layer"])
def test_no_credentials_are_shown(pair, tmp_path, kind):
    source = "/vsicurl/http://ada:hush@127.0.0.1:9/a?token=hush"
    given = [source, source] if kind == "raster" else [*pair, "--aoi", source]
    done = changen2("detect", *given, "-o", tmp_path / "run", "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "unreadable"
    assert "127.0.0.1" in done.stderr and "hush" not in done.stderr + done.stdout


def test_a_tilde_that_no_shell_has_expanded_is_the_home_folder(pair, tmp_path):
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    (tmp_path / "elsewhere").mkdir()
    before, after = (f"~/{path.relative_to(tmp_path).as_posix()}" for path in pair)
    done = changen2("detect", before, after, "--output=~/run", "--threads=1", env=home, cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/change.tif").exists() and not any((tmp_path / "elsewhere").iterdir())


def test_negative_bounds_are_numbers(pair, tmp_path):
    done = changen2("detect", *pair, "-o", tmp_path / "run", "--json", "--bounds", "-20", "-10", "-5", "-1")
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "no_overlap"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("detect", "none.tif", "none.tif"), "none.tif"),
        (("detect", "{0}", "{1}", "--model", "huge"), "huge"),
        (("detect", "{0}", "{1}", "--bands", "1,9,2"), "9"),
        (("detect", "{0}", "{1}", "--threshold", "7"), "7"),
        (("detect", "{0}", "{1}", "--gsd", "fine"), "fine"),
        (("detect", "{0}", "{1}", "--device", "abacus"), "abacus"),
        (("detect", "{0}", "{1}", "--precision", "fp16", "--device", "cpu"), "fp16"),
        (("detect", "{0}", "{1}", "--no-such-option"), "no-such-option"),
    ],
)
def test_bad_input_exits_with_2_names_the_value_and_leaves_nothing(pair, tmp_path, arguments, said):
    filled = [argument.format(*pair) for argument in arguments]
    done = changen2(*filled, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_interrupting_exits_with_130_and_leaves_nothing(pair, tmp_path):
    command = [sys.executable, "-m", "changen2", "detect", *map(str, pair), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--tile-size", "32", "--overlap", "0", "--threads", "1"], stderr=subprocess.PIPE
    )
    while not (tmp_path / "out").exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert not (tmp_path / "out").exists()


INTERRUPTED = """
import signal, sys

imported = sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the tests run in the background

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == imported:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from changen2.cli import main
main()
"""


@pytest.mark.parametrize(
    "imported", ["typer", "changen2.cli.detection", "changen2.jobs.detect", "changen2.jobs.doctor"]
)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_interrupting_while_it_starts_is_told_like_any_other_time(pair, tmp_path, imported, as_json):
    given = ["doctor"] if imported.endswith("doctor") else ["detect", *map(str, pair), "-o", str(tmp_path / "out")]
    command = [sys.executable, "-c", INTERRUPTED, imported, *given, *as_json]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (130, "Stopped: Cancelled.\n")
    assert [json.loads(line)["error"]["code"] for line in done.stdout.splitlines()] == ["cancelled"] * len(as_json)
    assert not (tmp_path / "out").exists()


def test_models_and_doctor_speak_json():
    listed = json.loads(changen2("models", "list", "--json").stdout)
    assert "tiny" in {card["name"] for card in listed["models"]}
    report = json.loads(changen2("doctor", "--json").stdout)
    assert {"Python", "device cpu", "model tiny"} <= {check["name"] for check in report["checks"]}


def test_importing_the_package_does_not_import_torch():
    code = "import sys, changen2; print('torch' in sys.modules, changen2.__version__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.startswith("False")


def test_simulate_writes_a_series(tmp_path, write_raster):
    import numpy as np

    labels = np.zeros((1, 200, 200), np.uint8)
    labels[0, 20:40, 20:50] = labels[0, 120:150, 100:130] = 4
    (tmp_path / "classes.csv").write_text("index,name,colour\n0,land,#cccccc\n4,building,#ff0000\n")
    done = changen2(
        "simulate", write_raster("labels.tif", labels), "-o", tmp_path / "run", "--steps", 2, "--events", "create",
        "--classes", tmp_path / "classes.csv", "--seed", 1, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("labels_t0.tif", "labels_t2.tif", "change_t1_t2.tif", "change_events.gpkg", "manifest.json"):
        assert (tmp_path / "run" / name).exists()


def test_generate_leaves_images_at_their_own_resolution_and_says_what_it_assumed(tmp_path, write_raster):
    import numpy as np

    (tmp_path / "images").mkdir()
    write_raster("images/town.png", np.random.default_rng(0).integers(0, 255, (3, 64, 128)).astype(np.uint8))
    command = ("generate", tmp_path / "images", "--pairs", 2, "--size", 64, "--sampling-steps", 2, "--unchanged", 1)
    for name, options in (("kept", ("--gsd", "none", "--pixel-size", 0.1)), ("assumed", ())):
        done = changen2(*command, "-o", tmp_path / name, *options)
        assert done.returncode == 0, done.stderr
        names = [path.name for path in (tmp_path / name / "A").iterdir()]
        assert len(names) == 2 and all(found.endswith("_10.png") == (name == "kept") for found in names)
        assert ("--pixel-size" in done.stderr) == (name == "assumed")
    refused = changen2(*command, "-o", tmp_path / "none", "--view-shift", 1)
    assert refused.returncode == 2 and "--view-shift" in refused.stderr and not (tmp_path / "none").exists()


def test_a_model_that_is_not_installed_says_how_to_get_it(pair, tmp_path):
    done = changen2("detect", *pair, "-o", tmp_path / "out", "--model", "changestar-vitb-s9c1")
    assert done.returncode == 2 and "models download changestar-vitb-s9c1" in " ".join(done.stderr.split())
    refused = changen2("models", "import", "changestar-vitb-s9c1", pair[0], env={"CHANGEN2_MODELS": str(tmp_path)})
    assert refused.returncode == 2 and "--accept-licence" in refused.stderr
