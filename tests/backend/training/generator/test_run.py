"""The loop that both runs share, and the losses: resumed runs are the same run, weights do what they say."""

import json
from pathlib import Path

import pytest
import torch

from changen2.diffusion.schedules import cosine_schedule
from changen2.errors import Cancelled, InputError
from changen2.models.autoencoder_tiny import AutoencoderTiny
from changen2.training.generator import autoencoder, rsdit, run
from changen2.training.generator.config import CropsConfig, RSDiTConfig, RunConfig, load_run_config


def _config(out: Path, **changes: object) -> RunConfig:
    crops = CropsConfig(data=out, out=out, sources={})
    settings = {"crops": crops, "out": out / "run", "steps": 6, "learning_rate": 0.05, "warmup": 0}
    return RunConfig.model_validate({**settings, **changes})


def _losses(state: run.Run) -> tuple[dict[str, torch.Tensor], int]:
    x = torch.randn(8, 3, 1, 1, generator=torch.Generator().manual_seed(state.step))
    return {"total": (state.model(x) - 2 * x.sum(1, keepdim=True)).square().mean()}, len(x)


def _start(config: RunConfig) -> run.Run:
    torch.manual_seed(0)
    return run.start(torch.nn.Conv2d(3, 1, 1), config)


def _train(config: RunConfig, resumed: bool = False, on_step: run.OnStep | None = None) -> dict[str, torch.Tensor]:
    model = run.train(_start(config), config, _losses, run.warm_constant(config), resumed, on_step)
    return model.state_dict()


def test_a_resumed_run_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LOG_EVERY", 3)
    whole = _train(_config(tmp_path))

    def cancel(step: int, steps: int, means: dict[str, float]) -> None:
        if means:
            raise Cancelled

    broken = _config(tmp_path / "broken")
    with pytest.raises(Cancelled):
        _train(broken, on_step=cancel)
    assert torch.load(broken.out / run.CHECKPOINT, weights_only=True)["step"] == 3
    resumed = _train(broken, resumed=True)
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0)
    log = [json.loads(line) for line in (broken.out / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["samples"]) for line in log] == [(3, 24), (6, 48)]
    assert log[1]["total"] < log[0]["total"]


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


def test_timestep_weights() -> None:
    schedule = cosine_schedule()
    weights = rsdit.timestep_weights(schedule, torch.arange(1000), least_snr=0.0, min_snr=5.0)
    assert weights.mean() == pytest.approx(1, abs=1e-3)
    assert weights[0] < weights[300] and weights[999] < weights[300], "neither end is worth much"
    lifted = rsdit.timestep_weights(schedule, torch.arange(1000), least_snr=0.25, min_snr=5.0)
    assert lifted[999] > 100 * weights[999], "but the noisy end is where large forms are decided"


def test_large_crops_come_at_the_end(tmp_path: Path) -> None:
    crops = CropsConfig(data=tmp_path, out=tmp_path, sources={})
    config = RSDiTConfig(crops=crops, out=tmp_path, autoencoder=tmp_path, steps=100)
    assert rsdit.crop_size_at(config, 79) == (128, 32)
    assert rsdit.crop_size_at(config, 80) == (256, 8)


def test_gradient_loss_sees_edges_and_no_offsets() -> None:
    image = torch.rand(1, 3, 16, 16)
    assert autoencoder.gradient_loss(image + 0.3, image) < 1e-6
    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    assert autoencoder.gradient_loss(blurred, image) > 0.1


def test_weights_are_kept_in_half_precision(tmp_path: Path) -> None:
    model = AutoencoderTiny()
    run.save_weights(model, tmp_path / "weights.safetensors")
    loaded = AutoencoderTiny()
    run.load_weights(loaded, tmp_path / "weights.safetensors")
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    with pytest.raises(InputError, match="no weights"):
        run.load_weights(loaded, tmp_path / "absent.safetensors")


def test_bad_configurations_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    with pytest.raises(InputError, match="cannot be read"):
        load_run_config(path, RunConfig)
    path.write_text("steps: none\n")
    with pytest.raises(InputError, match="not valid"):
        load_run_config(path, RunConfig)
