"""Two processes with half a batch each train what one trains with the whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from changen2.errors import InputError
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.training import distributed

RUN = """
import contextlib, sys
import numpy as np
import torch
from pathlib import Path
from changen2.training import loop, run
from changen2.training.config import TrainingConfig
from changen2.training.distributed import team
from changen2.training.places import Place

def place(seed, held_out=False):
    rng = np.random.default_rng(seed)
    label = np.zeros((96, 96), np.uint8)
    label[20:40, 20:50] = 1
    label[:, : 10 * seed] = 255  # parts of a batch know unequal shares
    image = rng.integers(0, 90, (96, 96, 3), dtype=np.uint8) + label[..., None] // 255 * np.uint8(60)
    return Place("drawn", str(seed), image, label, 0.3, held_out)

def train(folder, here, out, warmup):
    config = TrainingConfig(
        data=folder, out=folder / out, encoder_weights=str(folder / "encoder.pth"), sources={"drawn": 1.0},
        kinds={"star": 1.0, "none": 0.5}, crop_size=64, batch_size=4, steps=3, warmup=warmup, threads=1,
        fused_weight=1.0,
    )
    scores = iter([0.3, 0.5, 0.4])

    def score(model):
        assert here.rank == 0, "the first looks"
        return run.Score(next(scores))

    imagery = loop.Imagery({"drawn": [place(1), place(2), place(3)]}, {})
    model = loop.train(config, imagery, watch=run.Watch(score, 1, 5) if warmup else None)
    norms = {key: value for key, value in model.state_dict().items() if "running" in key and "decoder" in key}
    torch.save({"model": model.state_dict(), "norms": norms}, folder / f"{out}_{here.rank}.pt")

loop.mixed_precision = lambda device: contextlib.nullcontext()  # rounding would hide what is compared
with team() as here:
    for out, warmup in zip(sys.argv[2::2], sys.argv[3::2]):
        train(Path(sys.argv[1]), here, out, int(warmup))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process trains ``whole``; two train ``halves`` alike, and ``measured`` with norms that measure."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(1)
    torch.save(EfficientNetLite("lite0").state_dict(), folder / "encoder.pth")
    (folder / "run.py").write_text(RUN)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for launch, runs in (([], ["whole", "0"]), (torchrun, ["halves", "0", "measured", "3"])):
        command = [sys.executable, *launch, str(folder / "run.py"), str(folder), *runs]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _ended(folder: Path, run: str, rank: int) -> dict[str, dict[str, torch.Tensor]]:
    ended: dict[str, dict[str, torch.Tensor]] = torch.load(folder / f"{run}_{rank}.pt", weights_only=True)
    return ended


def test_two_with_half_a_batch_are_one_with_the_whole(folder: Path) -> None:
    whole, first, second = (_ended(folder, *of)["model"] for of in (("whole", 0), ("halves", 0), ("halves", 1)))
    for key in {key for key in whole if not key.startswith("encoder.") and "num_batches" not in key}:
        torch.testing.assert_close(first[key], second[key], rtol=0, atol=0)
        # Adam's steps are of the learning rate's size, whatever the gradient's: 3 steps of up to 0.001.
        torch.testing.assert_close(first[key], whole[key], rtol=0, atol=2e-5)
    told = [(folder / run / "log.jsonl").read_text() for run in ("halves", "whole")]
    assert [text.count("total") for text in told] == [1, 1], "one of them writes"
    halves, alone = (json.loads(text)["total"] for text in told)
    assert halves == pytest.approx(alone, abs=1e-4)


def test_norms_that_measure_and_what_is_judged_are_shared(folder: Path) -> None:
    first, second = (_ended(folder, "measured", rank) for rank in (0, 1))
    for key, value in first["norms"].items():
        torch.testing.assert_close(value, second["norms"][key], rtol=0, atol=0)
    assert any(value.abs().max() > 0 for key, value in first["norms"].items() if "mean" in key)
    checkpoint = torch.load(folder / "measured" / "checkpoint.pt", weights_only=True)
    assert checkpoint["best"] == (0.5, 2) and checkpoint["step"] == 3
    torch.testing.assert_close(second["model"], torch.load(folder / "measured" / "best.pt", weights_only=True))


def test_alone_nothing_is_shared() -> None:
    assert distributed.part(7) == slice(0, 7)
    assert distributed.shared_count(torch.zeros(3)) == 1 and distributed.shared_count(torch.ones(3)) == 3
    assert distributed.of_first(0.25, torch.device("cpu")) == 0.25


def test_a_batch_that_cannot_be_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "size", lambda: 3)
    with pytest.raises(InputError, match="8 cannot be shared out among 3"):
        distributed.part(8)
