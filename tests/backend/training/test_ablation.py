"""The ablation: arms differ in their pairs alone, a stopped one goes on, intervals are of the same images."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from changen2.errors import InputError
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.training import ablation
from changen2.training.ablation import STILL, Ablation, over_seeds, read_runs, summarize, table
from changen2.training.config import read_config
from changen2.training.measure import f1


def _counts(seed: int, images: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(1, 90, (images, 3)), np.full(images, 400)]).astype(float)


def _write(out: Path, arm: str, seed: int, counts: np.ndarray) -> None:
    folder = out / f"{arm}_{seed}"
    folder.mkdir()
    sets = {"levir": counts.tolist(), STILL: counts.tolist()}
    (folder / "figures.json").write_text(json.dumps({"arm": arm, "seed": seed, "bias": 0.0, "counts": sets}))


def test_the_shipped_configuration_has_arms_that_differ_in_pairs_alone() -> None:
    shipped = read_config(ablation.CONFIG, Ablation)
    assert list(shipped.arms) == ["star", "pasted", "synthesized", "all", "all but synthesized"]
    configs = [shipped.config(Path("d"), Path("o"), **arm, seed=1).model_dump() for arm in shipped.arms.values()]
    shared = [{key: value for key, value in config.items() if key not in {"kinds", "pairs"}} for config in configs]
    assert all(config == shared[0] for config in shared)
    assert "south_tyrol" not in json.dumps(shared[0], default=str), "its masks are for measuring"


def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("arms: {}")
    with pytest.raises(InputError, match="not valid"):
        read_config(tmp_path / "a.yaml", Ablation)
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.yaml", Ablation)


def test_figures_are_means_over_seeds_and_intervals_over_images(tmp_path: Path) -> None:
    for arm, first in (("star", 0), ("all", 10)):
        for seed in (0, 1, 2):
            _write(tmp_path, arm, seed, _counts(first + seed))
    summary = summarize(read_runs(tmp_path), 7)
    star = summary["arms"]["star"]["levir"]
    assert star["f1_by_seed"] == [f1(_counts(seed)) for seed in (0, 1, 2)]
    assert star["f1"]["value"] == pytest.approx(np.mean(star["f1_by_seed"]))
    assert star["f1"]["low"] < star["f1"]["value"] < star["f1"]["high"]
    assert star["iou"]["low"] < star["iou"]["value"] < star["f1"]["value"]
    assert 0 < summary["arms"]["star"][STILL]["alarms"]["value"] < 1
    there, back = (summary["differences"]["levir"][name] for name in ("all - star", "star - all"))
    assert there["value"] == pytest.approx(summary["arms"]["all"]["levir"]["f1"]["value"] - star["f1"]["value"])
    assert there["low"] == pytest.approx(-back["high"])
    lines = table(summary, ["star", "pasted", "all"]).splitlines()
    assert lines[0] == "After 7 steps. Seeds: star: 0, 1, 2; all: 0, 1, 2."
    assert [line.split(" |")[0] for line in lines[4:6]] == ["| star", "| all"]
    assert lines[-1].startswith("| all − star |") and len(lines) == 10


def test_an_arm_equal_to_another_differs_by_nothing(tmp_path: Path) -> None:
    for arm in ("star", "all"):
        _write(tmp_path, arm, 0, _counts(0))
    difference = summarize(read_runs(tmp_path), 7)["differences"]["levir"]["all - star"]
    assert difference == {"value": 0, "low": 0, "high": 0}, "the same images are drawn for both"


def test_the_first_value_is_that_of_all_images() -> None:
    values = over_seeds([_counts(0)], f1)
    assert values[0] == f1(_counts(0)) and len(values) == 1 + ablation.RESAMPLES


def _pairs(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for index in range(count):
        label = np.zeros((96, 96), np.uint8)
        label[20:50, 20 + index : 60] = 255
        before = rng.integers(0, 90, (96, 96, 3), dtype=np.uint8)
        layers = {"A": before, "B": before + (label[..., None] > 0) * np.uint8(120), "label": label}
        for name, pixels in layers.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{index:03d}_30.png")


def test_runs_that_are_measured_are_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    torch.save(EfficientNetLite("lite0").state_dict(), tmp_path / "encoder.pth")
    _pairs(tmp_path / "data" / "train" / "few", 6)
    (tmp_path / "data" / "train" / "few" / "list").mkdir()
    (tmp_path / "data" / "train" / "few" / "list" / "val.txt").write_text("005_30.png\n")
    training = {"encoder_weights": str(tmp_path / "encoder.pth"), "sources": {"few": 1.0}, "crop_size": 64}
    training |= {"batch_size": 2, "steps": 2, "warmup": 1, "threads": 1, "held_out_pairs": 2}
    few = {"kinds": {}, "pairs": {"few": 1.0}}
    given = Ablation(training=training, arms={"few": few, "other": few}, calibration=few)
    measured = {name: _counts(1) for name in ("levir", STILL)}
    monkeypatch.setattr(ablation, "measure", lambda model, data, config: measured)
    ablation.run(given, tmp_path / "data", tmp_path / "out", ["few"], [0, 1])
    figures = json.loads((tmp_path / "out" / "few_1" / "figures.json").read_text())
    assert (figures["arm"], figures["seed"], figures["steps"]) == ("few", 1, 2)
    assert set(read_runs(tmp_path / "out")) == {"few"} and set(read_runs(tmp_path / "out")["few"]) == {0, 1}
    monkeypatch.setattr(ablation, "train_arm", lambda *_: pytest.fail("trained again"))
    ablation.run(given, tmp_path / "data", tmp_path / "out", ["few"], [0, 1])
