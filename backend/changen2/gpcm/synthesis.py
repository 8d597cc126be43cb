"""Semantic change synthesis, P(I_{t+1} | S_{t+1}, I_t): masked change diffusion on latent tiles.

After Changen2 (Zheng et al. 2024), section on the generative step. Only the latent tiles that a change touches are
encoded, sampled and decoded. What is drawn depends on the seed, the series step and the place on the raster alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from changen2.diffusion.clamping import Clamp
from changen2.diffusion.denoising import Denoised, denoiser, with_x0
from changen2.diffusion.guidance import guided
from changen2.diffusion.noise import CLAMP, FIRST_STEP, START, latent_noise
from changen2.diffusion.samplers import SAMPLERS, SPACINGS
from changen2.diffusion.schedules import SCHEDULES, Schedule, q_sample
from changen2.gpcm.labels import Box
from changen2.gpcm.pieces import Drawn, blended
from changen2.gpcm.regions import WINDOW_CELLS, Region, within
from changen2.models.devices import require_numbers
from changen2.models.memory import Batch, enough_memory

HALO = 8
"""Latent places around a block that the encoder and the decoder see, so that blocks agree at their borders; with
stride 4 also more than the 30 pixels around a block that its composite depends on."""

SHIFT_STREAM = 7
"""Keeps the draws of window shifts apart from those of events."""


class Generator(Protocol):
    """A trained generator, as ``changen2.models`` has them."""

    latent_stride: int
    latent_channels: int
    prediction: str
    schedule: str
    num_classes: int
    is_local: bool
    """Whether a place's picture hangs on the latents near it alone, not on the mean of all that are decoded at once."""

    @property
    def outlined_classes(self) -> Sequence[int]:
        """Classes whose objects have an outline of their own, which a feather would blur."""
        ...

    def encode(self, rgb: Tensor) -> Tensor:
        """RGB 0..255 [b, 3, h, w] → latents [b, c, h / stride, w / stride]."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents → RGB 0..255 [b, 3, h, w]."""
        ...

    def embed_labels(self, labels: Tensor, gsd: Tensor, told: Tensor | None = None) -> Tensor:
        """Class maps [b, h, w] and metres per pixel [b] → the condition; ``told`` [b]: 0 keeps labels back."""
        ...

    def denoise(self, x_t: Tensor, t: Tensor, label_embedding: Tensor, context_latent: Tensor, mask: Tensor) -> Tensor:
        """The prediction for x_t; the context has the change cut out, the mask [b, 1, h, w] is 1 there."""
        ...


class Scene(Protocol):
    """One step of a series, by pixel boxes on the raster's grid that may reach over its edges."""

    def rgb(self, box: Box) -> NDArray[np.uint8]:
        """The image before [3, h, w]."""
        ...

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """The wanted classes, as the generator numbers them [h, w]."""
        ...

    def change(self, box: Box) -> NDArray[np.bool_]:
        """What changes [h, w]."""
        ...


@dataclass(frozen=True)
class Settings:
    """How to sample.

    Attributes:
        sampler: key of ``SAMPLERS``.
        steps: reverse steps.
        guidance_ratio: share of the reverse process that is clamped to the image before.
        seed: of the run.
        gsd: metres per pixel that the generator is told.
        exemplar_level: share of the diffusion that a given start is noised to.
        exemplar_detail: lay the detail of a given start that its latents cannot hold over what is drawn.
        label_guidance: weight of the labels by classifier-free guidance (Ho and Salimans 2022), for a generator that
            was trained for it; 1 asks it once a step, without.
    """

    sampler: str = "dpmpp"
    steps: int = 20
    guidance_ratio: float = 1.0
    seed: int = 0
    gsd: float = 0.5
    exemplar_level: float = 0.2
    exemplar_detail: bool = True
    label_guidance: float = 1.0


@dataclass(frozen=True)
class _View:
    """A region's tensors, all [1, …, h, w] over its box, on the CPU."""

    region: Region
    before: Tensor
    mask: Tensor
    labels: NDArray[np.uint8]
    conditions: dict[tuple[Box, bool], Tensor] = field(default_factory=dict)

    def cut(self, values: Tensor, window: Box) -> Tensor:
        top, left = window.top - self.region.box.top, window.left - self.region.box.left
        return values[..., top : top + window.shape[0], left : left + window.shape[1]]


class Synthesizer:
    """Draws regions with a generator.

    Args:
        generator: in eval mode on ``device``.
        settings: how to sample.
        device: where the generator runs; sampling arithmetic is done on the CPU.
        precision: of the denoiser (autocast); encoder and decoder stay in float32.
        batch_size: windows at once; fewer are padded, since a batch's size can change the last bits. Halved where the
            device's memory does not suffice.
        on_window: called after each look of the denoiser at a window; may raise to cancel.

    Attributes:
        encoded: blocks encoded so far.
        sampled: looks of the denoiser so far.
    """

    def __init__(
        self,
        generator: Generator,
        settings: Settings,
        *,
        device: torch.device | str = "cpu",
        precision: torch.dtype = torch.float32,
        batch_size: int = 1,
        on_window: Callable[[int], None] | None = None,
    ) -> None:
        self._generator = generator
        self._settings = settings
        self._device = torch.device(device)
        self._precision = precision
        self._batch = Batch(1 if self._device.type == "cpu" else batch_size, self._device)
        self._on_window = on_window or (lambda count: None)
        self._schedule: Schedule = SCHEDULES[generator.schedule]()
        self._stride = generator.latent_stride
        self.encoded = 0
        self.sampled = 0

    @property
    def batch_size(self) -> int:
        """Windows at once now."""
        return self._batch.size

    def timesteps(self, from_exemplar: bool) -> list[int]:
        """The falling timesteps that are sampled at."""
        first = round(self._settings.exemplar_level * (len(self._schedule) - 1)) if from_exemplar else None
        return SPACINGS[self._settings.sampler](self._schedule, self._settings.steps, first)

    def looks(self, region: Region, series_step: int, from_exemplar: bool) -> int:
        """How often the denoiser looks at a window to draw a region."""
        return sum(len(region.windows(self._shift(series_step, t))) for t in self.timesteps(from_exemplar))

    @torch.inference_mode()
    def draw(
        self, region: Region, scene: Scene, series_step: int, exemplar: NDArray[np.uint8] | None = None
    ) -> Iterator[Drawn]:
        """Draw one region.

        Args:
            region: what to draw.
            scene: the image before, the wanted classes, the change.
            series_step: number of the step.
            exemplar: a picture over the region's box to start from, RGB [3, h, w]; noise where None.

        Raises:
            JobError: ``out_of_memory`` where not even one window fits into the device's memory.
        """
        pixels = self.pixels(region.box)
        view = _View(
            region,
            self._encode(region, scene.rgb),
            torch.from_numpy(self._on_latents(region, scene.change(pixels)))[None, None].float(),
            scene.labels(pixels),
        )
        start = None
        if exemplar is not None:
            start = self._encode(region, lambda box: _cut_padded(exemplar, box, pixels))
        latents = self._sample(view, series_step, start)
        if start is None or exemplar is None or not self._settings.exemplar_detail:
            yield from self._decode(region, latents)
            return
        share = self._schedule.scales(self.timesteps(True)[0])[0]
        for piece, plain in zip(self._decode(region, latents), self._decode(region, start), strict=True):
            lost = _cut_padded(exemplar, piece.seen, pixels) - plain.rgb
            yield replace(piece, rgb=np.clip(piece.rgb + share * lost, 0, 255))

    def pixels(self, box: Box) -> Box:
        """The pixels of a box of latent places."""
        return Box(*(side * self._stride for side in (box.top, box.left, box.bottom, box.right)))

    def _on_latents(self, region: Region, change: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The change on the latent grid: a place counts that any of its pixels is in."""
        height, width = region.box.shape
        coarse = np.asarray(change.reshape(height, self._stride, width, self._stride).any((1, 3)))
        return coarse & ~within(region.drawn, region.box) if len(region.drawn) else coarse

    def _encode(self, region: Region, rgb: Callable[[Box], NDArray[np.uint8]]) -> Tensor:
        latents = torch.zeros(1, self._generator.latent_channels, *region.box.shape)
        for block in region.encoded:
            around = block.grown(HALO)
            picture = torch.from_numpy(rgb(self.pixels(around)).astype(np.float32))[None]
            with self._enough_memory(around):
                found = self._generator.encode(picture.to(self._device)).float().cpu()
            top, left = block.top - region.box.top, block.left - region.box.left
            height, width = block.shape
            latents[..., top : top + height, left : left + width] = found[
                ..., HALO : HALO + height, HALO : HALO + width
            ]
            self.encoded += 1
        return latents

    def _decode(self, region: Region, latents: Tensor) -> Iterator[Drawn]:
        pieces = self._decode_blocks(region, latents)
        return pieces if self._generator.is_local else blended(pieces, HALO * self._stride)

    def _decode_blocks(self, region: Region, latents: Tensor) -> Iterator[Drawn]:
        for block in region.windows((0, 0)):
            around = block.grown(HALO).meet(region.box)
            top, left = around.top - region.box.top, around.left - region.box.left
            part = latents[..., top : top + around.shape[0], left : left + around.shape[1]]
            with self._enough_memory(around):
                rgb = self._generator.decode(part.to(self._device)).float().cpu()[0].numpy()
            yield Drawn(self.pixels(block), self.pixels(around), rgb)

    def _sample(self, view: _View, series_step: int, start: Tensor | None) -> Tensor:
        settings, schedule = self._settings, self._schedule

        def noise(sampler_step: int) -> Tensor:
            box = view.region.box
            channels = self._generator.latent_channels
            place = (box.top, box.left, *box.shape, channels)
            return torch.from_numpy(latent_noise(settings.seed, series_step, sampler_step, *place))[None]

        timesteps = self.timesteps(start is not None)
        x = noise(START)
        if start is not None:
            x = q_sample(schedule, start, timesteps[0], x)
        return SAMPLERS[settings.sampler](
            lambda x, t: self._denoise(view, series_step, x, t),
            x,
            schedule,
            timesteps,
            noise=lambda step: noise(FIRST_STEP + step),
            clamp=Clamp(view.mask, view.before, noise(CLAMP), settings.guidance_ratio),
        )

    def _denoise(self, view: _View, series_step: int, x: Tensor, t: int) -> Denoised:
        """What the network says of all windows of this timestep; elsewhere the image before stands."""
        windows = view.region.windows(self._shift(series_step, t))
        said: list[Tensor] = []
        item = f"One window of {self._in_pixels(windows[0])}"
        for found in self._batch.run(lambda part: self._look(view, x, t, windows[part]), len(windows), item):
            said += found
        output = torch.zeros(1, said[0].shape[0], *view.region.box.shape)
        seen = torch.zeros(1, 1, *view.region.box.shape, dtype=torch.bool)
        for window, values in zip(windows, said, strict=True):
            view.cut(output, window)[:] = values
            view.cut(seen, window)[:] = True
        denoised = denoiser(lambda *_: output, self._schedule, self._generator.prediction)(x, t)
        if seen.all():
            return denoised
        return with_x0(denoised, x, torch.where(seen, denoised.x0, view.before), self._schedule, t)

    def _look(self, view: _View, x: Tensor, t: int, windows: list[Box]) -> list[Tensor]:
        """The network's output for some windows of one size, each [c, h, w]."""
        count = len(windows)
        padded = windows + windows[-1:] * (self._batch.size - count)
        cuts = [torch.cat([view.cut(values, window) for window in padded]) for values in (x, view.before, view.mask)]
        noisy, before, mask = (values.to(self._device) for values in cuts)
        times = torch.full((len(padded),), t, dtype=torch.long, device=self._device)
        with torch.autocast(self._device.type, self._precision, enabled=self._precision != torch.float32):
            seen = before * (1 - mask)

            def predict(told: bool) -> Tensor:
                return self._generator.denoise(noisy, times, self._condition(view, padded, told), seen, mask)

            output = guided(predict, self._schedule, t, self._settings.label_guidance)
        require_numbers(output, self._precision)
        self.sampled += count
        self._on_window(count)
        return list(output[:count].float().cpu())

    def _condition(self, view: _View, windows: list[Box], told: bool) -> Tensor:
        """The label embedding of some windows; kept where the same window comes at each step."""
        key = windows[0], told
        kept = view.conditions.get(key)
        if kept is not None and len(kept) == len(windows):  # else the batch was halved since
            return kept
        stride, box = self._stride, view.region.box
        maps = []
        for window in windows:
            top, left = (window.top - box.top) * stride, (window.left - box.left) * stride
            maps.append(view.labels[top : top + window.shape[0] * stride, left : left + window.shape[1] * stride])
        labels = torch.from_numpy(np.stack(maps).astype(np.int64)).to(self._device)
        gsd = torch.full((len(windows),), self._settings.gsd, device=self._device)
        kept_back = () if told else (torch.zeros(len(windows), device=self._device),)
        condition = self._generator.embed_labels(labels, gsd, *kept_back)
        if not view.region.is_joint:
            view.conditions[key] = condition
        return condition

    def _enough_memory(self, box: Box) -> AbstractContextManager[None]:
        """Of the device, for the pixels of a box of latent places."""
        return enough_memory(self._device, f"An image of {self._in_pixels(box)}")

    def _in_pixels(self, box: Box) -> str:
        height, width = self.pixels(box).shape
        return f"{width} × {height} pixels"

    def _shift(self, series_step: int, t: int) -> tuple[int, int]:
        """By how many cells the partition is shifted at a timestep."""
        rng = np.random.default_rng([self._settings.seed, series_step, t, SHIFT_STREAM])
        down, right = rng.integers(WINDOW_CELLS, size=2)
        return int(down), int(right)


def _cut_padded(picture: NDArray[np.uint8], box: Box, have: Box) -> NDArray[np.uint8]:
    """A box of a picture [3, h, w] that lies at ``have``; beyond its edges the last pixels are repeated."""
    rows = np.clip(np.arange(box.top, box.bottom) - have.top, 0, have.shape[0] - 1)
    columns = np.clip(np.arange(box.left, box.right) - have.left, 0, have.shape[1] - 1)
    return picture[:, rows[:, None], columns[None, :]]
