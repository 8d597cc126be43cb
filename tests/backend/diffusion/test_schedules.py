"""Schedules against their definitions."""

import numpy as np
import pytest
import torch

from changen2.diffusion.schedules import (
    CLEAN,
    cosine_schedule,
    linear_schedule,
    log_snr_timesteps,
    pairs,
    q_sample,
    spaced_timesteps,
    velocity,
)
from changen2.errors import InputError


def test_linear_schedule_is_that_of_ho_et_al() -> None:
    schedule = linear_schedule()
    assert schedule.alphas_cumprod.dtype == np.float64
    assert schedule.alpha_bar(0) == pytest.approx(1 - 1e-4, rel=1e-12)
    assert schedule.alpha_bar(1) == pytest.approx((1 - 1e-4) * (1 - 1e-4 - (0.02 - 1e-4) / 999), rel=1e-12)
    assert schedule.alpha_bar(999) == pytest.approx(4.04e-5, rel=2e-3)
    assert schedule.alpha_bar(CLEAN) == 1


def test_cosine_schedule_follows_its_curve() -> None:
    schedule = cosine_schedule()
    t = 500 / 1000
    curve = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert schedule.alpha_bar(499) == pytest.approx(curve, rel=1e-9)
    assert (np.diff(schedule.alphas_cumprod) < 0).all()
    assert schedule.alphas_cumprod[-1] > 0


@pytest.mark.parametrize("space", [spaced_timesteps, log_snr_timesteps])
def test_timesteps_fall_from_the_last_to_the_first(space) -> None:
    for schedule in (linear_schedule(), cosine_schedule()):
        timesteps = space(schedule, 20)
        assert timesteps[0] == 999 and timesteps[-1] == 0
        assert timesteps == sorted(set(timesteps), reverse=True)
        assert pairs(timesteps)[-1] == (0, CLEAN)


@pytest.mark.parametrize("space", [spaced_timesteps, log_snr_timesteps])
@pytest.mark.parametrize("first", [0, 1, 200, 999])
def test_timesteps_from_the_middle_are_as_dense_as_the_whole(space, first: int) -> None:
    for schedule in (linear_schedule(), cosine_schedule()):
        whole, timesteps = space(schedule, 20), space(schedule, 20, first)
        assert timesteps[0] == first and timesteps[-1] == 0 and pairs(timesteps)
        assert len(timesteps) <= 1 + sum(t < first for t in whole)


def test_impossible_timesteps_are_refused() -> None:
    with pytest.raises(InputError, match="1001 sampling steps"):
        spaced_timesteps(linear_schedule(), 1001)
    with pytest.raises(InputError, match="do not fall"):
        pairs([5, 5, 2])


def test_noise_and_velocity_are_a_rotation_of_the_sample() -> None:
    schedule = cosine_schedule()
    x0, noise = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    t = torch.tensor([10, 700])
    x, v = q_sample(schedule, x0, t, noise), velocity(schedule, x0, t, noise)
    for i in range(2):
        signal, spread = schedule.scales(int(t[i]))
        assert torch.allclose(signal * x[i] - spread * v[i], x0[i])
        assert torch.allclose(spread * x[i] + signal * v[i], noise[i])
        one = q_sample(schedule, x0[i : i + 1], int(t[i]), noise[i : i + 1])
        assert torch.allclose(one[0], x[i])
