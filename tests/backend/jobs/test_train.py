"""Training the detector on a folder of pairs, in miniature: to calibrated weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from changen2.cli.commands import app
from changen2.errors import Cancelled, InputError
from changen2.jobs.detect import detect
from changen2.jobs.learning.register import card_of_training
from changen2.jobs.models import info, verify
from changen2.jobs.train import train_anything, train_changestar, train_landcover
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.models.registry import card_of, load_model
from changen2.training.config import load_config
from changen2.training.export import digest, load_exported
from changen2.training.landcover_scenes import write_scene

pytestmark = pytest.mark.usefixtures("models_folder")

NETWORKS = {train_changestar: "buildings", train_landcover: "landcover", train_anything: "anything"}


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
    for encoder in ("lite0", "lite1"):
        torch.save(EfficientNetLite(encoder).state_dict(), tmp_path / f"{encoder}.pth")

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


def detect_with(name, tmp_path):
    """Detect on the first of the pairs, as rasters."""
    dates = [tmp_path / f"{date}.tif" for date in "AB"]
    for path in dates:
        image = np.asarray(Image.open(tmp_path / "own" / path.stem / "train_0.png"))
        with rasterio.open(path, "w", driver="GTiff", width=80, height=80, count=3, dtype="uint8") as target:
            target.write(np.moveaxis(image, -1, 0))
    return detect(*dates, tmp_path / f"found by {name}", model=name, threads=1, device="cpu")


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


@pytest.mark.parametrize("train", NETWORKS)
def test_a_training_can_be_cancelled_in_all_it_does_and_ends_as_one_that_was_not(config, tmp_path, train):
    network = NETWORKS[train]
    if train is not train_changestar:
        for index in range(10):
            write_scene(tmp_path / "landcover_scenes", index)
    given = {"network": network, "look_every": 1, "patience": 9, "gsds": {"own": 0.5}}
    given["pairs"] = {"own" if train is train_changestar else "landcover_scenes": 1.0}
    asked = 0

    def count():
        nonlocal asked
        asked += 1
        return False

    whole = train(config(**given, out=str(tmp_path / "whole")), is_cancelled=count)
    # 10 pairs are read; 3 are made, looked at after each of the two steps, calibrated with and measured with.
    assert asked >= 10 + 3 * (1 + 2 + 2 + 1)
    again = config(**given)
    for last in range(asked):
        left = iter(range(last))
        try:
            made = train(again, resume=True, is_cancelled=lambda left=left: next(left, None) is None)
        except Cancelled:
            continue
        break
    assert made["sha256"] == whole["sha256"] and made["held_out_f1"] == whole["held_out_f1"]
    looks = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in looks if "held_out" in line] == [1, 2]


def test_land_cover_is_trained_on_scenes_with_classes(config, tmp_path):
    for index in range(12):
        write_scene(tmp_path / "landcover_scenes", index)
    path = config(network="landcover", pairs={"landcover_scenes": 1.0}, gsds={}, project_imagery=True)
    stages = []
    made = train_landcover(path, on_progress=lambda progress: stages.append(progress.stage), name="cover")
    assert "train" in stages and made["calibration"]["ece"] >= 0 and made["steps"] == 2
    names = load_file(made["weights"])
    assert names["semantic.weight"].shape[0] == 5
    assert not any(name.startswith("encoder.") for name in names)  # it is the building detector's
    assert 0 <= made["held_out_f1"] <= 1 and made["held_out_pairs"] == 3
    # The installed model brings its own, that which it was trained on.
    encoder = torch.load(tmp_path / "lite0.pth", weights_only=True)
    for key, value in load_model(card_of("cover")).encoder.state_dict().items():
        torch.testing.assert_close(value, encoder[key], rtol=1e-3, atol=1e-4)
    assert {"semantic_before", "semantic_after"} <= detect_with("cover", tmp_path)["outputs"].keys()


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


@pytest.mark.parametrize("encoder", ["lite0", "lite1"])
def test_a_trained_detector_of_buildings_joins_the_installed_models(config, tmp_path, models_folder, encoder):
    path = config(encoder=encoder, encoder_weights=str(tmp_path / f"{encoder}.pth"))
    made = train_changestar(path, name="roofs")
    assert made["model"] == "roofs" and made["model_weights"] == str(models_folder / "roofs.safetensors")
    about = info("roofs")
    assert about["installed"] and not about["embedded"] and verify("roofs")["sha256"] == about["sha256"]
    assert (about["gsd_min"], about["gsd_max"]) == load_config(path).gsd_range
    assert about["gsd_min"] < about["gsd_native"] < about["gsd_max"]
    assert about["calibration"] == made["calibration"]
    assert about["measured"]["held out: change"] == {"f1": made["held_out_f1"], "images": made["held_out_pairs"]}
    exported = load_exported(made["weights"], load_config(path)).state_dict()
    for key, value in load_model(card_of("roofs")).state_dict().items():
        torch.testing.assert_close(value, exported[key], rtol=0, atol=0)
    assert detect_with("roofs", tmp_path)["summary"]["model"] == "roofs"


@pytest.mark.parametrize("train", NETWORKS)
@pytest.mark.parametrize(
    "name, code", [("tiny", "name_taken"), ("changestar-vitb-s0", "name_taken"), ("A!", "bad_name")]
)
def test_a_name_that_cannot_be_given_is_refused_before_the_training(config, tmp_path, train, name, code):
    network = NETWORKS[train]
    with pytest.raises(InputError) as caught:
        train(config(network=network), name=name)
    assert caught.value.code == code and not (tmp_path / "run").exists()


def test_a_run_that_has_ended_is_given_a_name_once(config, tmp_path):
    made = train_changestar(config())
    assert made["model"] is None
    named = train_changestar(config(), resume=True, name="roofs")
    assert named["model"] == "roofs" and named["sha256"] == made["sha256"]
    with pytest.raises(InputError, match="already"):
        train_changestar(config(), resume=True, name="roofs")
    assert train_changestar(config(), resume=True, name="roofs", overwrite=True)["model"] == "roofs"


def test_the_card_tells_the_start_of_a_training_without_its_path(config, tmp_path):
    start = Path(train_changestar(config(held_out_pairs=0))["weights"]).rename(tmp_path / "start.safetensors")
    (tmp_path / "run").rename(tmp_path / "earlier")
    train_changestar(config(held_out_pairs=0, start_from=str(start)), name="roofs")
    assert info("roofs")["training"]["start_from"] == {"name": "start.safetensors", "sha256": digest(start)}
    assert str(tmp_path) not in json.dumps(info("roofs")["training"])


@pytest.mark.parametrize("low, high", [(0.003, 0.004), (0.1234, 0.1236), (0.3, 0.3), (0.0001, 0.0002), (0.2, 0.6)])
def test_the_native_pixel_size_lies_among_those_trained_at(config, low, high):
    settings = load_config(config(gsd_range=[low, high]))
    card = card_of_training("x", torch.nn.Linear(1, 1), settings, {"held_out_f1": None, "calibration": None})
    assert low <= card.gsd_native <= high


@pytest.mark.parametrize("noncommercial", [True, False])
def test_the_card_has_the_licence_of_a_generator_that_forbids_commercial_use(config, tmp_path, noncommercial):
    model = {"name": "drawer", "licence": "CC-BY-NC-SA-4.0", "noncommercial": noncommercial}
    (tmp_path / "manifest.json").write_text(json.dumps({"job": "generate", "model": model}))
    settings = load_config(config(pairs={"drawn": 1.0}, folders={"drawn": str(tmp_path)}))
    card = card_of_training("x", torch.nn.Linear(1, 1), settings, {"held_out_f1": None, "calibration": None})
    expected = ("CC-BY-NC-SA-4.0", True) if noncommercial else ("not stated", False)
    assert (card.licence, card.noncommercial) == expected


def test_without_held_out_pairs_the_card_claims_nothing(config):
    assert train_changestar(config(held_out_pairs=0), name="roofs")["held_out_f1"] is None
    about = info("roofs")
    assert about["measured"] == {} and "calibration" not in about and about["threshold"] == 0.5


def test_the_configuration_in_the_documentation_is_one(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf8")
    (tmp_path / "config.yaml").write_text(text.split("```yaml")[1].split("```")[0], encoding="utf8")
    config = load_config(tmp_path / "config.yaml")
    assert config.look_every == 100 and config.pairs == {"mine": 1.0}


def test_the_command_says_where_the_weights_are_and_how_to_use_them(config, tmp_path):
    done = CliRunner().invoke(app, ["train", "changestar", "--config", str(config()), "--name", "roofs"])
    assert done.exit_code == 0, done.output
    f1 = info("roofs")["measured"]["held out: change"]["f1"]
    for told in (str(tmp_path / "run" / "weights.safetensors"), f"F1 {f1:.3f}", "--model roofs", "also chose the bias"):
        assert told in done.output


def test_the_command_trains_and_tells(config, tmp_path):
    done = CliRunner().invoke(app, ["train", "changestar", "--config", str(config(held_out_pairs=0)), "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout.splitlines()[-1])
    assert made["weights"] == str(tmp_path / "run" / "weights.safetensors") and made["steps"] == 2
    assert f"step 2 of 2: change {made['losses']['change']:.4f}" in done.stderr
    assert "Note: Nothing with change is held out" in done.stderr
