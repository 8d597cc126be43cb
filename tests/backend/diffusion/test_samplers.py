"""Samplers where the answer is known: Gaussian data, whose ideal denoiser and whose flow are formulas."""

import math

import pytest
import torch
from torch import Tensor

from changen2.diffusion.denoising import denoiser
from changen2.diffusion.samplers import SAMPLERS, SPACINGS, ddim, ddpm, dpmpp_2m, posterior
from changen2.diffusion.schedules import CLEAN, Schedule, cosine_schedule, linear_schedule, pairs, spaced_timesteps
from changen2.errors import Cancelled

MEAN, SPREAD = 0.7, 0.4
SPACING = {SAMPLERS[name]: space for name, space in SPACINGS.items()}


def gaussian(schedule: Schedule, prediction: str, variance: float | None = None):
    """The ideal network for data N(MEAN, SPREAD²)."""

    def network(x: Tensor, t: int) -> Tensor:
        signal, noise = schedule.scales(t)
        x0 = MEAN + signal * SPREAD**2 / (signal**2 * SPREAD**2 + noise**2) * (x - signal * MEAN)
        eps = (x - signal * x0) / noise
        said = eps if prediction == "noise" else signal * eps - noise * x0
        return said if variance is None else torch.cat([said, torch.full_like(said, variance)], 1)

    return network


def flow(schedule: Schedule, x: Tensor, t: int) -> Tensor:
    """Where the probability-flow equation carries x_t: the standard score of a Gaussian is constant along it."""
    signal, noise = schedule.scales(t)
    return MEAN + SPREAD * (x - signal * MEAN) / math.sqrt(signal**2 * SPREAD**2 + noise**2)


START = torch.linspace(-2, 2, 41, dtype=torch.float64).view(1, 1, 1, 41)


def error(sampler, schedule: Schedule, steps: int, prediction: str = "noise", first: int | None = None) -> float:
    timesteps = SPACING[sampler](schedule, steps, first)
    denoise = denoiser(gaussian(schedule, prediction), schedule, prediction)
    result = sampler(denoise, START, schedule, timesteps)
    return float((result - flow(schedule, START, timesteps[0])).abs().max())


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
def test_deterministic_samplers_follow_the_flow(make, prediction: str) -> None:
    schedule = make()
    assert error(ddim, schedule, 500, prediction) < 0.01
    assert error(dpmpp_2m, schedule, 100, prediction) < 0.01
    # At equal steps the solver of second order is clearly nearer.
    assert error(dpmpp_2m, schedule, 50, prediction) < 0.2 * error(ddim, schedule, 50, prediction)


def test_orders_of_convergence() -> None:
    # Twice the steps halve the error of the first order and quarter that of the second.
    schedule = linear_schedule()
    assert error(dpmpp_2m, schedule, 25) / error(dpmpp_2m, schedule, 50) == pytest.approx(4, abs=1)
    assert error(ddim, schedule, 25) / error(ddim, schedule, 50) == pytest.approx(2, abs=0.4)


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
def test_a_way_from_the_middle_ends_about_as_near_as_the_whole_way(make) -> None:
    whole = error(dpmpp_2m, make(), 20)
    assert max(error(dpmpp_2m, make(), 20, first=first) for first in range(100, 900, 25)) < 2 * whole


def test_one_step_gives_the_prediction() -> None:
    schedule = linear_schedule()
    denoise = denoiser(gaussian(schedule, "noise"), schedule)
    for name, sampler in SAMPLERS.items():
        result = sampler(denoise, START, schedule, [600], noise=lambda step: torch.zeros_like(START))
        assert torch.allclose(result, denoise(START, 600).x0), name


def ancestral_moments(schedule: Schedule, timesteps: list[int], variance: float | None) -> tuple[float, float]:
    """Mean and variance that ddpm must have: each step is linear in x with known noise."""
    mean, var = 0.0, 1.0
    for t, following in pairs(timesteps):
        signal, noise = schedule.scales(t)
        gain = signal * SPREAD**2 / (signal**2 * SPREAD**2 + noise**2)
        here, there = signal**2, schedule.alpha_bar(following)
        alpha, beta = here / there, 1 - here / there
        a = math.sqrt(there) * beta / (1 - here)
        b = math.sqrt(alpha) * (1 - there) / (1 - here)
        slope, shift = a * gain + b, a * (MEAN - gain * signal * MEAN)
        added = 0.0
        if following != CLEAN:
            smallest = beta * (1 - there) / (1 - here)
            share = 0.0 if variance is None else (variance + 1) / 2
            added = smallest ** (1 - share) * beta**share
        mean, var = slope * mean + shift, slope**2 * var + added
    return mean, var


@pytest.mark.parametrize("variance", [None, -1.0, 0.2, 1.0])
@pytest.mark.parametrize("steps", [15, 200])
def test_ddpm_has_the_moments_of_its_own_chain(variance: float | None, steps: int) -> None:
    schedule = linear_schedule()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 1, 200, 200, generator=generator, dtype=torch.float64)
    timesteps = spaced_timesteps(schedule, steps)
    denoise = denoiser(gaussian(schedule, "noise", variance), schedule)
    result = ddpm(
        denoise, x, schedule, timesteps, noise=lambda step: torch.randn(x.shape, generator=generator).double()
    )
    mean, var = ancestral_moments(schedule, timesteps, variance)
    # 40,000 samples: five standard errors.
    assert float(result.mean()) == pytest.approx(mean, abs=5 * math.sqrt(var / 40_000))
    assert float(result.var()) == pytest.approx(var, rel=5 * math.sqrt(2 / 40_000))


def test_all_samplers_draw_the_data() -> None:
    schedule = linear_schedule()
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 1, 200, 200, generator=generator, dtype=torch.float64)
    for name, sampler in SAMPLERS.items():
        steps = {"ddpm": 400, "ddim": 400, "dpmpp": 30}[name]
        result = sampler(
            denoiser(gaussian(schedule, "velocity"), schedule, "velocity"),
            x,
            schedule,
            SPACING[sampler](schedule, steps),
            noise=lambda step: torch.randn(x.shape, generator=generator).double(),
        )
        assert float(result.mean()) == pytest.approx(MEAN, abs=0.02), name
        assert float(result.std()) == pytest.approx(SPREAD, rel=0.04), name


def test_posterior_of_neighbouring_steps_is_the_textbook_one() -> None:
    schedule = linear_schedule()
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bar = torch.cumprod(1 - betas, 0)
    x0, x = torch.tensor([0.3]).double(), torch.tensor([-1.1]).double()
    mean, smallest, largest = posterior(schedule, x0, x, 300, 299)
    assert largest == pytest.approx(float(betas[300]), rel=1e-9)
    assert smallest == pytest.approx(float(betas[300] * (1 - alpha_bar[299]) / (1 - alpha_bar[300])), rel=1e-9)
    expected = (alpha_bar[299].sqrt() * betas[300] * x0 + (1 - betas[300]).sqrt() * (1 - alpha_bar[299]) * x) / (
        1 - alpha_bar[300]
    )
    assert float(mean) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_the_callback_counts_and_can_cancel(name: str) -> None:
    schedule = linear_schedule()
    seen: list[tuple[int, int]] = []

    def on_step(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise Cancelled()

    with pytest.raises(Cancelled):
        SAMPLERS[name](
            denoiser(gaussian(schedule, "noise"), schedule), START, schedule, spaced_timesteps(schedule, 8),
            noise=lambda step: torch.zeros_like(START), on_step=on_step,
        )  # fmt: skip
    assert seen == [(1, 8), (2, 8), (3, 8)]
