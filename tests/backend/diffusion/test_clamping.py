"""The clamp: exact outside the change, harmless inside."""

import pytest
import torch
from torch import Tensor

from changen2.diffusion.clamping import Clamp
from changen2.diffusion.denoising import denoiser
from changen2.diffusion.samplers import SAMPLERS
from changen2.diffusion.schedules import linear_schedule, spaced_timesteps
from changen2.errors import InputError

SCHEDULE = linear_schedule()
STEPS = spaced_timesteps(SCHEDULE, 12)


def network(x: Tensor, t: int) -> Tensor:
    """Mixes neighbours, so that what is held has an effect on what is free."""
    return 0.5 * x + 0.3 * torch.roll(x, 1, -1) + 0.1 * torch.roll(x, 1, -2)


def parts() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, latent, noise = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(3))
    change = torch.zeros(1, 1, 8, 8)
    change[..., 2:6, 3:7] = 1
    return x, latent, noise, change


def sample(name: str, clamp: Clamp | None, x: Tensor) -> Tensor:
    return SAMPLERS[name](
        denoiser(network, SCHEDULE), x, SCHEDULE, STEPS, clamp=clamp, noise=lambda step: torch.full_like(x, 0.1)
    )


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_unchanged_places_come_back_exactly(name: str) -> None:
    x, latent, noise, change = parts()
    result = sample(name, Clamp(change, latent, noise), x)
    held = (change == 0).expand_as(result)
    assert torch.equal(result[held], latent[held])
    assert not torch.allclose(result[~held], latent[~held])


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_all_changed_is_no_clamp(name: str) -> None:
    x, latent, noise, change = parts()
    clamp = Clamp(torch.ones_like(change), latent, noise)
    assert torch.equal(sample(name, clamp, x), sample(name, None, x))


def test_the_surroundings_are_seen() -> None:
    x, latent, noise, change = parts()
    inside = (change == 1).expand_as(x)
    here = sample("dpmpp", Clamp(change, latent, noise), x)
    there = sample("dpmpp", Clamp(change, latent + 2, noise), x)
    assert not torch.allclose(here[inside], there[inside])


def test_the_guidance_ratio_is_the_share_of_clamped_steps() -> None:
    x, latent, noise, change = parts()
    half = Clamp(change, latent, noise, guidance_ratio=0.5)
    assert [half.acts(step, 12) for step in range(13)] == [True] * 6 + [False] * 7
    none = Clamp(change, latent, noise, guidance_ratio=0.0)
    assert torch.equal(sample("ddim", none, x), sample("ddim", None, x))
    held = (change == 0).expand_as(x)
    distances = [
        float((sample("ddim", Clamp(change, latent, noise, guidance_ratio=r), x) - latent)[held].abs().mean())
        for r in (0.0, 0.5, 1.0)
    ]
    assert distances[2] == 0 < distances[1] < distances[0]


def test_soft_seams_mix() -> None:
    x, latent, noise, change = parts()
    soft = change.clone()
    soft[..., 2, 3:7] = 0.5
    clamp = Clamp(soft, latent, noise)
    result = clamp.result(x)
    assert torch.allclose(result[..., 2, 3:7], 0.5 * (x + latent)[..., 2, 3:7])


def test_a_bad_ratio_is_refused() -> None:
    _, latent, noise, change = parts()
    with pytest.raises(InputError, match=r"1\.5"):
        Clamp(change, latent, noise, guidance_ratio=1.5)
