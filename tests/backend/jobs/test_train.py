"""Training the detector on a folder of pairs, in miniature: to calibrated weights."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from changen2.cli import app
from changen2.errors import InputError
from changen2.jobs.train import train_changestar, train_landcover
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.training.config import load_config
from changen2.training.export import load_exported
from changen2.training.landcover_scenes import write_scene


@pytest.fixture
def config(tmp_path):
    """A function that writes a configuration of two steps on ten pairs as LEVIR-CD has them, the last held out."""
    random = np.random.default_rng(0)
    for layer in ("A", "B", "label"):
        (tmp_path / "own" / layer).mkdir(parents=True)
    for number in range(10):
        before = random.integers(90, 140, (80, 80, 3)).astype(np.uint8)
        label = np.zeros((80, 80), np.uint8)
        label[20:50, 30:70] = 1
        after = np.where(label[..., None] > 0, 240, before).astype(np.uint8)
        for layer, values in (("A", before), ("B", after), ("label", label)):
            Image.fromarray(values).save(tmp_path / "own" / layer / f"train_{number}.png")
    torch.manual_seed(0)
    torch.save(EfficientNetLite("lite0").state_dict(), tmp_path / "lite0.pth")

    def write(**changes):
        given = {
            "data": str(tmp_path), "out": str(tmp_path / "run"), "encoder_weights": str(tmp_path / "lite0.pth"),
            "sources": {}, "kinds": {}, "pairs": {"own": 1.0}, "gsds": {"own": 0.5}, "crop_size": 64, "batch_size": 2,
            "steps": 2, "warmup": 1, "threads": 1, "fused_weight": 1.0, "held_out_pairs": 3,
        }  # fmt: skip
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({**given, **changes}))
        return path

    return write


def test_the_end_of_a_run_is_calibrated_on_what_is_held_out(config):
    stages = []
    path = config()
    made = train_changestar(path, on_progress=lambda progress: stages.append(progress.stage))
    assert {"train", "calibrate"} <= set(stages)
    assert made["calibration"]["ece"] >= 0 and isinstance(made["bias_from_calibration"], float)
    average = torch.load(made["checkpoint"], weights_only=True)["average"]
    shipped = load_exported(made["weights"], load_config(path)).state_dict()
    moved = shipped["change.classify.bias"] - average["change.classify.bias"]
    assert moved.item() == pytest.approx(made["bias_from_calibration"], abs=1e-6)


def test_land_cover_is_trained_on_scenes_with_classes(config, tmp_path):
    for index in range(12):
        write_scene(tmp_path / "scenes", index)
    path = config(network="landcover", pairs={"scenes": 1.0}, gsds={})
    stages = []
    made = train_landcover(path, on_progress=lambda progress: stages.append(progress.stage))
    assert "train" in stages and made["calibration"]["ece"] >= 0 and made["steps"] == 2
    names = load_file(made["weights"])
    assert names["semantic.weight"].shape[0] == 5
    assert not any(name.startswith("encoder.") for name in names)  # it is the building detector's


def test_a_configuration_of_the_other_network_is_refused(config):
    with pytest.raises(InputError, match="of a landcover network") as caught:
        train_changestar(config(network="landcover"))
    assert "changen2 train landcover" in caught.value.hint
    with pytest.raises(InputError, match="of a buildings network"):
        train_landcover(config())


def test_without_held_out_pairs_nothing_is_calibrated(config):
    made = train_changestar(config(held_out_pairs=0))
    assert made["calibration"] is None and made["bias_from_calibration"] is None


def test_a_run_may_be_judged_while_it_goes_on(config, tmp_path):
    train_changestar(config(look_every=1, patience=1, steps=3))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "held_out" in line][:2] == [1, 2]


def test_the_command_trains_and_tells(config, tmp_path):
    done = CliRunner().invoke(app, ["train", "changestar", "--config", str(config(held_out_pairs=0)), "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout.splitlines()[-1])
    assert made["weights"] == str(tmp_path / "run" / "weights.safetensors") and made["steps"] == 2
