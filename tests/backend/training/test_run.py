"""The loop that all runs share: a resumed run is the same run, and a run ends when nothing is gained."""

import json
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
import torch
from pydantic import BaseModel

from changen2.errors import Cancelled, InputError
from changen2.training import run


class Settings(BaseModel):
    out: Path
    steps: int = 6
    warmup: int = 0
    learning_rate: float = 0.05
    ema: float = 0.999


def _config(out: Path, **changes: object) -> Settings:
    return Settings.model_validate({"out": out / "run", **changes})


def _losses(state: run.Run) -> tuple[dict[str, torch.Tensor], int]:
    x = torch.randn(8, 3, 1, 1, generator=torch.Generator().manual_seed(state.step))
    return {"total": (state.model(x) - 2 * x.sum(1, keepdim=True)).square().mean()}, len(x)


def _start(config: Settings) -> run.Run:
    torch.manual_seed(0)
    model, average = torch.nn.Conv2d(3, 1, 1), torch.nn.Conv2d(3, 1, 1)
    average.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    return run.Run(model, average.requires_grad_(False), optimizer)


def _train(config: Settings, resumed: bool = False, on_step: run.OnStep | None = None) -> dict[str, torch.Tensor]:
    model = run.train(_start(config), config, _losses, run.warm_constant(config), resumed, on_step)
    return model.state_dict()


def test_a_resumed_run_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LOG_EVERY", 3)
    whole = _train(_config(tmp_path))

    def cancel(step: int, steps: int, means: dict[str, float]) -> None:
        if step == 4:  # losses since the last line of the log are underway
            raise Cancelled

    broken = _config(tmp_path / "broken")
    with pytest.raises(Cancelled):
        _train(broken, on_step=cancel)
    assert torch.load(broken.out / run.CHECKPOINT, weights_only=True)["step"] == 4
    resumed = _train(broken, resumed=True)
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0)
    log = _log(broken)
    assert [(line["step"], line["samples"]) for line in log] == [(3, 24), (6, 48)]
    assert log[1]["total"] < log[0]["total"] and log == _log(_config(tmp_path))


def test_what_a_killed_run_told_after_its_checkpoint_is_told_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(run, "LOG_EVERY", 1)
    _train(_config(tmp_path / "whole"))

    def cancel(step: int, steps: int, means: dict[str, float]) -> None:
        if step == 3:
            raise Cancelled

    killed = _config(tmp_path / "killed")
    with pytest.raises(Cancelled):
        _train(killed, on_step=cancel)
    with (killed.out / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "samples": 0, "seconds": 1, "total": 9}\n{"step": 5, "sam')
    _train(killed, resumed=True)
    assert _log(killed) == _log(_config(tmp_path / "whole"))


def _log(config: Settings) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_a_checkpoint_of_before_logs_the_mean_of_what_it_has_seen(tmp_path: Path) -> None:
    config, state = _config(tmp_path, steps=4, learning_rate=0.0), _start(_config(tmp_path))
    state.step = 3
    config.out.mkdir(parents=True)
    run.save(state, config.out / run.CHECKPOINT)

    def constant(state: run.Run) -> tuple[dict[str, torch.Tensor], int]:
        return {"total": (0 * state.model.weight).sum() + 2}, 1

    run.train(_start(config), config, constant, run.warm_constant(config), True)
    assert [line["total"] for line in _log(config)] == [2]


def test_another_training_of_the_same_folder_waits_for_its_turn(tmp_path: Path) -> None:
    config, refused = _config(tmp_path), []

    def begin_another(step: int, steps: int, means: dict[str, float]) -> None:
        for resumed in (False, True):
            with pytest.raises(InputError, match="at work") as error:
                _train(config, resumed)
            refused.append(error.value.code)

    _train(config, on_step=begin_another)
    assert set(refused) == {"busy"}
    _train(config, resumed=True)
    assert [line["step"] for line in _log(config)] == [6]


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    _train(_config(tmp_path))
    with pytest.raises(InputError, match="already holds"):
        _train(_config(tmp_path))


def test_the_average_lags_behind(tmp_path: Path) -> None:
    state = _start(_config(tmp_path))
    before = state.average.weight.clone()
    with torch.no_grad():
        state.model.weight.add_(1)
    state.step = 10_000
    run.average(state, 0.9)
    torch.testing.assert_close(state.average.weight, before + 0.1)
    state.step = 0
    run.average(state, 0.9)  # at first nine tenths are taken over
    torch.testing.assert_close(state.average.weight, before + 0.1 + 0.9 * 0.9)


def test_learning_rates(tmp_path: Path) -> None:
    config = _config(tmp_path, steps=100, warmup=10, learning_rate=1.0)
    level, falling = run.warm_constant(config), run.warm_cosine(config)
    assert level(0) == falling(0) == pytest.approx(0.1)
    assert level(10) == level(99) == falling(10) == 1.0
    assert falling(100) == pytest.approx(0.01)


def test_a_run_ends_when_what_is_held_out_gains_no_more(tmp_path: Path) -> None:
    scores = iter([0.2, 0.5, 0.5, 0.4, 0.9])
    seen = []

    def score(model: torch.nn.Module) -> run.Score:
        seen.append(model.weight.clone())
        return run.Score(next(scores))

    config = _config(tmp_path, steps=100)
    watch = run.Watch(score, every=2, patience=2)
    model = run.train(_start(config), config, _losses, run.warm_constant(config), False, watch=watch)
    assert len(seen) == 4, "two looks without a gain are enough"
    torch.testing.assert_close(model.weight, seen[1], rtol=0, atol=0)
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["held_out"]) for line in log] == [(2, 0.2), (4, 0.5), (6, 0.5), (8, 0.4)]


def test_of_steps_that_differ_by_less_than_their_error_the_latest_is_kept(tmp_path: Path) -> None:
    scores = iter([(0.5, 0.1), (0.6, 0.1), (0.52, 0.1), (0.45, 0.1), (0.4, 0.1)])
    seen = []

    def score(model: torch.nn.Module) -> run.Score:
        seen.append(model.weight.clone())
        return run.Score(*next(scores))

    config = _config(tmp_path, steps=100)
    watch = run.Watch(score, every=2, patience=2)
    state = _start(config)
    model = run.train(state, config, _losses, run.warm_constant(config), False, watch=watch)
    assert len(seen) == 5 and state.best == (0.6, 6), "0.52 is as good as 0.6 for all that is known; 0.45 is not"
    torch.testing.assert_close(model.weight, seen[2], rtol=0, atol=0)


def test_a_resumed_run_remembers_its_best(tmp_path: Path) -> None:
    config = _config(tmp_path, steps=4)
    scores = iter([0.9, 0.1, 0.2])
    watch = run.Watch(lambda model: run.Score(next(scores)), every=2, patience=9)
    best = run.train(_start(config), config, _losses, run.warm_constant(config), False, watch=watch).state_dict()
    longer = _config(tmp_path, steps=6)
    model = run.train(_start(longer), longer, _losses, run.warm_constant(longer), True, watch=watch)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, best[key], rtol=0, atol=0)


def test_a_checkpoint_of_before_counts_no_samples(tmp_path: Path) -> None:
    config = _config(tmp_path)
    _train(config)
    state = torch.load(config.out / run.CHECKPOINT, weights_only=True)
    del state["samples"]
    torch.save(state, config.out / run.CHECKPOINT)
    again = _start(config)
    run.restore(again, config.out / run.CHECKPOINT)
    assert (again.step, again.samples, again.best) == (6, 0, None)


class Board:
    """Stands in for TensorBoard's writer; keeps what it is given."""

    made: ClassVar[list["Board"]] = []

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.closed, self.scalars = folder, purge_step, False, []
        Board.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((step, name, round(value, 5)))

    def close(self) -> None:
        self.closed = True


def test_tensorboard_gets_what_the_log_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Board
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Board, "made", [])
    monkeypatch.setattr(run, "LOG_EVERY", 2)
    config = _config(tmp_path)
    watch = run.Watch(lambda model: run.Score(0.5), every=3, patience=9)
    run.train(_start(config), config, _losses, run.warm_constant(config), False, watch=watch)
    (board,) = Board.made
    assert Path(board.folder) == config.out / "tensorboard" and board.closed and board.purge_step == 1
    lines = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    told = [(line["step"], name, line[name]) for line in lines for name in ("total", "held_out") if name in line]
    assert board.scalars == told and {name for _, name, _ in told} == {"total", "held_out"}


def test_without_tensorboard_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    config = _config(tmp_path)
    with caplog.at_level(logging.INFO):
        _train(config)
    assert "TensorBoard is not installed" in caplog.text
    assert not (config.out / "tensorboard").exists() and (config.out / "log.jsonl").read_text()
