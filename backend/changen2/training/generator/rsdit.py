"""Training of the denoiser: velocity prediction under a cosine schedule, where it matters most inside the change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from changen2.diffusion.schedules import Schedule, cosine_schedule, q_sample, velocity
from changen2.models.autoencoder_tiny import STRIDE
from changen2.models.rsdit_tiny import TOKEN, RSDiTTiny
from changen2.training import run as runs
from changen2.training.generator.config import RSDiTConfig
from changen2.training.generator.crops import CropStore
from changen2.training.generator.masks import draw_mask, untell
from changen2.training.generator.run import load_weights, start


@dataclass(frozen=True)
class Batch:
    """Training samples.

    Attributes:
        latents: ``[b, 4, h, w]``.
        labels: class indices as the denoiser gets them ``[b, 4h, 4w]``.
        gsd: metres per pixel ``[b]``.
        told: whether the denoiser gets the labels at all ``[b]``.
        mask: ``[b, 1, h, w]``, 1 where the image changes.
        t: timesteps ``[b]``.
        noise: ``[b, 4, h, w]``.
    """

    latents: Tensor
    labels: Tensor
    gsd: Tensor
    told: Tensor
    mask: Tensor
    t: Tensor
    noise: Tensor


def train_rsdit(config: RSDiTConfig, resumed: bool = False, on_step: runs.OnStep | None = None) -> RSDiTTiny:
    """Train the denoiser on the latents in ``config.crops.out``.

    Returns:
        The averaged model.

    Raises:
        InputError: the folder holds a run and ``resumed`` is not set.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    store = CropStore(config.crops.out, latents=True)
    schedule = cosine_schedule()
    model = RSDiTTiny()
    if config.start_from is not None:
        load_weights(model, config.start_from, "rsdit.")
    run = start(model, config)

    def losses(run: runs.Run) -> tuple[dict[str, Tensor], int]:
        samples = draw_batch(store, config, schedule, run.step)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            return denoising_losses(run.model, samples, schedule, config), len(samples.t)

    trained = runs.train(run, config, losses, runs.warm_constant(config, config.cooldown), resumed, on_step)
    return trained  # type: ignore[return-value]


def crop_size_at(config: RSDiTConfig, step: int) -> tuple[int, int]:
    """Side of a step's crops in pixels, and how many there are: large ones at the end, the same pixels in all."""
    if step < config.steps * (1 - config.large_share):
        return config.crop_size, config.batch_size
    return config.large_crop_size, max(1, config.batch_size * config.crop_size**2 // config.large_crop_size**2)


def draw_batch(store: CropStore, config: RSDiTConfig, schedule: Schedule, step: int) -> Batch:
    """The samples of a step, decided by its number alone."""
    rng = np.random.default_rng((config.seed, step))
    size, count = crop_size_at(config, step)
    latents, labels, gsd = [], [], []
    for _ in range(count):
        shard, index = store.place(int(rng.integers(len(store))))
        top, left = rng.integers((config.crops.size - size) // TOKEN + 1, size=2) * TOKEN
        z_top, z_left, z_size = top // STRIDE, left // STRIDE, size // STRIDE
        latents.append(store.latents[shard][index, :, z_top : z_top + z_size, z_left : z_left + z_size])
        labels.append(np.array(store.labels[shard][index, top : top + size, left : left + size]))
        gsd.append(store.gsd[shard][index])
    masks = [draw_mask(label, labels[i - 1], rng) for i, label in enumerate(labels)]
    told = [untell(label, mask, rng) for label, mask in zip(labels, masks, strict=True)]
    is_told = rng.random(count) >= config.untold_share
    # Evenly spread timesteps make the loss less noisy than independent ones.
    t = ((rng.permutation(count) + rng.random(count)) / count * len(schedule)).astype(np.int64)
    clean = torch.from_numpy(np.stack(latents).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
    return Batch(
        clean,
        torch.from_numpy(np.stack(told).astype(np.int64)),
        torch.from_numpy(np.array(gsd, np.float32)),
        torch.from_numpy(is_told),
        torch.from_numpy(np.stack(masks)[:, None].astype(np.float32)),
        torch.from_numpy(t),
        noise,
    )


def denoising_losses(
    model: torch.nn.Module, samples: Batch, schedule: Schedule, config: RSDiTConfig
) -> dict[str, Tensor]:
    """Squared error of the velocity: ``total`` weighted by timestep and place, ``inside`` plain, in the change only."""
    x_t = q_sample(schedule, samples.latents, samples.t, samples.noise)
    target = velocity(schedule, samples.latents, samples.t, samples.noise)
    embedding = model.embed_labels(samples.labels, samples.gsd, samples.told)  # type: ignore[operator]
    predicted = model(x_t, samples.t, embedding, samples.latents, samples.mask)
    error = (predicted.float() - target).square().mean(1, keepdim=True)
    places = samples.mask + config.outside_weight * (1 - samples.mask)
    each = (error * places).sum((1, 2, 3)) / places.sum((1, 2, 3))
    inside = (error * samples.mask).sum() / samples.mask.sum()
    return {
        "total": (each * timestep_weights(schedule, samples.t, config.least_snr, config.min_snr)).mean(),
        "inside": inside.detach(),
    }


def timestep_weights(schedule: Schedule, t: Tensor, least_snr: float, min_snr: float) -> Tensor:
    """Min-SNR weights of velocity prediction, min(SNR, γ) / (SNR + 1) (Hang et al. 2023), with a mean of about 1.

    Neighbouring latents are alike, so their large forms and colours rise above the noise long before the average
    place does: at ratios where the published weight is next to nothing. They are what a short run has to learn first,
    hence a least ratio beside the largest.

    Args:
        schedule: the noise schedule.
        t: timesteps ``[b]``.
        least_snr: lower ratios count as this one.
        min_snr: higher ones as this one, γ.
    """
    alpha_bar = torch.from_numpy(schedule.alphas_cumprod)
    snr = alpha_bar / (1 - alpha_bar)
    weights = snr.clamp(least_snr, min_snr) / (snr + 1)
    return (weights / weights.mean())[t].float()
