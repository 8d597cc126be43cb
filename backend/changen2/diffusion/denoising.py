"""From a network's output to a guess at the clean sample: noise and velocity prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from changen2.diffusion.schedules import Schedule
from changen2.errors import InputError

Network = Callable[[Tensor, int], Tensor]
"""(x_t [b, c, h, w], t) → prediction [b, c, h, w], or [b, 2c, h, w] with a learned variance."""


class Denoised(NamedTuple):
    """What a network says about x_t.

    Attributes:
        x0: the clean sample [b, c, h, w].
        noise: the noise in x_t, consistent with ``x0``.
        variance: learned place between the smallest (−1) and largest (1) log variance of the step, or None.
    """

    x0: Tensor
    noise: Tensor
    variance: Tensor | None


Denoise = Callable[[Tensor, int], Denoised]


def denoiser(network: Network, schedule: Schedule, prediction: str = "noise") -> Denoise:
    """Wrap a network.

    Args:
        network: predicts noise or velocity; twice the channels mean a learned variance in the second half.
        schedule: that it was trained with.
        prediction: "noise" or "velocity".

    Raises:
        InputError: another kind of prediction, or an output that fits neither shape.
    """
    if prediction not in ("noise", "velocity"):
        raise InputError(f"Prediction {prediction!r}.", hint="Use noise or velocity.", code="bad_prediction")

    def denoise(x: Tensor, t: int) -> Denoised:
        output, variance = network(x, t), None
        if output.shape[1] == 2 * x.shape[1]:
            output, variance = output.chunk(2, dim=1)
        if output.shape != x.shape:
            raise InputError(
                f"The network returned {tuple(output.shape)} for an input of {tuple(x.shape)}.",
                hint="It must return as many channels, or twice as many with a learned variance.",
            )
        signal, spread = schedule.scales(t)
        if prediction == "velocity":
            return Denoised(signal * x - spread * output, spread * x + signal * output, variance)
        return Denoised((x - spread * output) / signal, output, variance)

    return denoise


def with_x0(denoised: Denoised, x: Tensor, x0: Tensor, schedule: Schedule, t: int) -> Denoised:
    """The same statement with another clean sample; the noise follows from it."""
    signal, spread = schedule.scales(t)
    return Denoised(x0, (x - signal * x0) / spread, denoised.variance)
