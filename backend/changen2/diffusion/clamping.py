"""Masked change diffusion: what did not change is held at the image before the event.

At each reverse step the unchanged part of the sample is replaced by the pre-event latent noised to the step's level.
The noise of the clamp is one fixed field: fresh noise at each step would break the history of a multistep solver.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from changen2.diffusion.schedules import Schedule, q_sample
from changen2.errors import InputError


@dataclass(frozen=True)
class Clamp:
    """Holds a sample at a known latent outside the change.

    Attributes:
        change: 1 where the sample is free, 0 where it is held, between them a soft seam; broadcast to [b, c, h, w].
        latent: the pre-event latent [b, c, h, w].
        noise: one fixed field, like ``latent``.
        guidance_ratio: share of the reverse process that is clamped, from its noisy end, 0..1; at 1 the result equals
            ``latent`` where ``change`` is 0.
    """

    change: Tensor
    latent: Tensor
    noise: Tensor
    guidance_ratio: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.guidance_ratio <= 1:
            raise InputError(
                f"A guidance ratio of {self.guidance_ratio}.", hint="It lies between 0 and 1.", code="bad_ratio"
            )

    def acts(self, step: int, steps: int) -> bool:
        """Whether step 0 … ``steps`` − 1 is clamped, ``steps`` standing for the result."""
        if step == steps:
            return self.guidance_ratio == 1
        return step < self.guidance_ratio * steps

    def sample(self, schedule: Schedule, x: Tensor, t: int) -> Tensor:
        """x_t with its held part replaced by the noised latent."""
        return self._blend(x, q_sample(schedule, self.latent, t, self.noise))

    def result(self, x: Tensor) -> Tensor:
        """The clean sample, exactly ``latent`` where ``change`` is 0."""
        return self._blend(x, self.latent)

    def _blend(self, free: Tensor, held: Tensor) -> Tensor:
        # torch.where keeps hard places exact, whatever stands on the other side.
        mixed = self.change * free + (1 - self.change) * held
        return torch.where(self.change == 0, held, torch.where(self.change == 1, free, mixed))
