"""Samplers as plain functions with one signature.

Each takes a denoiser, the first sample, a schedule and falling timesteps, and returns the clean sample:

    ddpm      ancestral sampling with fixed or learned variance (Ho et al. 2020; Nichol and Dhariwal 2021)
    ddim      the deterministic implicit sampler (Song et al. 2021)
    dpmpp_2m  DPM-Solver++, second order, multistep (Lu et al. 2022)

``noise(step)`` gives the fresh noise of a step and is asked by ddpm only. ``on_step(done, total)`` is called after each
step and may raise to cancel. ``clamp`` holds unchanged places (see ``clamping``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from changen2.diffusion.clamping import Clamp
from changen2.diffusion.denoising import Denoise, Denoised
from changen2.diffusion.schedules import CLEAN, Schedule, log_snr_timesteps, pairs, spaced_timesteps
from changen2.errors import InputError

NoiseSource = Callable[[int], Tensor]
OnStep = Callable[[int, int], None]
Update = Callable[[Tensor, Denoised, int, int, int], Tensor]
"""(x_t, what the network says, step, t, next t) → x at the next t."""


def ddpm(
    denoise: Denoise,
    x: Tensor,
    schedule: Schedule,
    timesteps: Sequence[int],
    *,
    noise: NoiseSource | None = None,
    clamp: Clamp | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Ancestral sampling; the variance is the network's where it learned one, else the posterior's.

    Args:
        denoise: the denoiser.
        x: the first sample [b, c, h, w], noise at the first timestep.
        schedule: the network's.
        timesteps: falling.
        noise: fresh standard normal noise of a step, like ``x``; needed.
        clamp: holds unchanged places.
        on_step: progress and cancel.

    Raises:
        InputError: no ``noise``.
    """
    if noise is None:
        raise InputError("Ancestral sampling without a source of noise.", hint="Give noise(step).")

    def update(x: Tensor, said: Denoised, step: int, t: int, following: int) -> Tensor:
        if following == CLEAN:
            return said.x0
        mean, smallest, largest = posterior(schedule, said.x0, x, t, following)
        if said.variance is None:
            return mean + math.sqrt(smallest) * noise(step)
        share = (said.variance + 1) / 2
        log_variance = share * math.log(largest) + (1 - share) * math.log(smallest)
        return mean + (0.5 * log_variance).exp() * noise(step)

    return _run(denoise, x, schedule, timesteps, update, clamp, on_step)


def ddim(
    denoise: Denoise,
    x: Tensor,
    schedule: Schedule,
    timesteps: Sequence[int],
    *,
    noise: NoiseSource | None = None,
    clamp: Clamp | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """The deterministic implicit sampler (η = 0), first order; arguments as for ``ddpm``, ``noise`` is not asked."""

    def update(x: Tensor, said: Denoised, step: int, t: int, following: int) -> Tensor:
        signal, spread = schedule.scales(following)
        return signal * said.x0 + spread * said.noise

    return _run(denoise, x, schedule, timesteps, update, clamp, on_step)


def dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    schedule: Schedule,
    timesteps: Sequence[int],
    *,
    noise: NoiseSource | None = None,
    clamp: Clamp | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DPM-Solver++(2M), deterministic, second order; arguments as for ``ddpm``, ``noise`` is not asked.

    The first step, for want of a history, and the last, where λ is infinite, are of first order.
    """
    history: list[tuple[Tensor, float]] = []

    def update(x: Tensor, said: Denoised, step: int, t: int, following: int) -> Tensor:
        if following == CLEAN:
            return said.x0
        now, then = schedule.log_snr(t), schedule.log_snr(following)
        data = said.x0
        if history:
            previous, before = history[-1]
            ratio = (then - now) / (now - before)
            data = (1 + ratio / 2) * said.x0 - ratio / 2 * previous
        history[:] = [(said.x0, now)]
        signal, spread = schedule.scales(following)
        return spread / schedule.scales(t)[1] * x - signal * math.expm1(now - then) * data

    return _run(denoise, x, schedule, timesteps, update, clamp, on_step)


SAMPLERS = {"ddpm": ddpm, "ddim": ddim, "dpmpp": dpmpp_2m}

SPACINGS = {"ddpm": spaced_timesteps, "ddim": spaced_timesteps, "dpmpp": log_snr_timesteps}
"""The timesteps that suit each sampler, as functions of (schedule, steps)."""


def posterior(schedule: Schedule, x0: Tensor, x: Tensor, t: int, following: int) -> tuple[Tensor, float, float]:
    """The distribution of x at the next timestep given x_t and x_0, for any spacing of timesteps.

    Returns:
        Its mean, its variance (the smallest a reverse step may have) and β of the step (the largest).
    """
    here, there = schedule.alpha_bar(t), schedule.alpha_bar(following)
    alpha = here / there
    beta = 1 - alpha
    mean = (math.sqrt(there) * beta / (1 - here)) * x0 + (math.sqrt(alpha) * (1 - there) / (1 - here)) * x
    return mean, beta * (1 - there) / (1 - here), beta


def _run(
    denoise: Denoise,
    x: Tensor,
    schedule: Schedule,
    timesteps: Sequence[int],
    update: Update,
    clamp: Clamp | None,
    on_step: OnStep | None,
) -> Tensor:
    """The loop that all samplers share: clamp, ask the network, step."""
    steps = pairs(timesteps)
    for step, (t, following) in enumerate(steps):
        if clamp is not None and clamp.acts(step, len(steps)):
            x = clamp.sample(schedule, x, t)
        x = update(x, denoise(x, t), step, t, following)
        if on_step:
            on_step(step + 1, len(steps))
    if clamp is not None and clamp.acts(len(steps), len(steps)):
        x = clamp.result(x)
    return x
