"""Draw with a generator in memory: whole pictures from labels alone, and edits of a tile.

Both go the way of the synthesis job, less its files: the same samplers, noise, exemplars and compositing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from changen2.diffusion.denoising import denoiser
from changen2.diffusion.guidance import guided
from changen2.diffusion.noise import FIRST_STEP, START, latent_noise
from changen2.diffusion.samplers import SAMPLERS, SPACINGS
from changen2.diffusion.schedules import SCHEDULES
from changen2.gpcm.classes import AERIAL
from changen2.gpcm.compositing import Radiometry, composite
from changen2.gpcm.exemplar import start_picture
from changen2.gpcm.labels import Box
from changen2.gpcm.libraries import ArrayLibrary, Elsewhere
from changen2.gpcm.regions import CELL, Region
from changen2.gpcm.synthesis import Generator, Settings, Synthesizer
from changen2.jobs.synthesis.condition import ground_classes
from changen2.jobs.synthesis.exemplar_libraries import exemplars_for, look_of_pixels
from changen2.jobs.synthesis.image_series import mirrored_read

Picture = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

RGB = Radiometry(np.dtype(np.uint8), [None] * 3, [(0,), (1,), (2,)], [0.0] * 3, [255.0] * 3, [False] * 3)

INITS = ("noise", "exemplar")


@torch.inference_mode()
def draw_whole(
    generator: Generator,
    labels: Labels,
    gsd: Sequence[float],
    seeds: Sequence[int],
    sampler: str,
    steps: int,
    label_guidance: float = 1.0,
    precision: torch.dtype = torch.float32,
) -> Picture:
    """Draw pictures from labels alone, each in one piece whatever its size.

    Args:
        generator: in eval mode, on the CPU.
        labels: the generator's classes [b, h, w], sides multiples of its stride.
        gsd: metres per pixel [b].
        seeds: of each picture [b]; a picture does not depend on the others in its batch, up to its last bits.
        sampler: key of ``SAMPLERS``.
        steps: reverse steps.
        label_guidance: weight of the labels.
        precision: of the denoiser.

    Returns:
        RGB [b, 3, h, w].
    """
    schedule = SCHEDULES[generator.schedule]()
    height, width = (side // generator.latent_stride for side in labels.shape[1:])

    def noise(sampler_step: int) -> Tensor:
        place = (0, 0, height, width, generator.latent_channels)
        return torch.from_numpy(np.stack([latent_noise(seed, 0, sampler_step, *place) for seed in seeds]))

    classes, metres = torch.from_numpy(labels.astype(np.int64)), torch.tensor(gsd, dtype=torch.float32)
    conditions = {True: generator.embed_labels(classes, metres)}
    if label_guidance != 1:
        conditions[False] = generator.embed_labels(classes, metres, torch.zeros(len(classes)))
    x = noise(START)
    nothing, everywhere = torch.zeros_like(x), torch.ones_like(x[:, :1])

    def network(x_t: Tensor, t: int) -> Tensor:
        times = torch.full((len(x_t),), t)

        def predict(told: bool) -> Tensor:
            return generator.denoise(x_t, times, conditions[told], nothing, everywhere)

        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            return guided(predict, schedule, t, label_guidance).float()

    latents = SAMPLERS[sampler](
        denoiser(network, schedule, generator.prediction),
        x,
        schedule,
        SPACINGS[sampler](schedule, steps),
        noise=lambda step: noise(FIRST_STEP + step),
    )
    return generator.decode(latents).round().to(torch.uint8).numpy()


@dataclass(frozen=True)
class TileScene:
    """A tile in memory as the synthesizer asks for it; beyond its edges it is mirrored."""

    before: Picture
    wanted: Labels
    changes: Mask

    def rgb(self, box: Box) -> Picture:
        """The image before [3, h, w]."""
        return mirrored_read(lambda inner: _cut(self.before, inner), box, self.changes.shape).astype(np.uint8)

    def labels(self, box: Box) -> Labels:
        """The wanted classes [h, w]."""
        return mirrored_read(lambda inner: _cut(self.wanted, inner), box, self.changes.shape).astype(np.uint8)

    def change(self, box: Box) -> Mask:
        """What changes [h, w]."""
        return mirrored_read(lambda inner: _cut(self.changes, inner), box, self.changes.shape).astype(bool)


def draw_edit(
    generator: Generator,
    before: Picture,
    wanted: Labels,
    change: Mask,
    settings: Settings,
    exemplars: Labels | None = None,
    precision: torch.dtype = torch.float32,
) -> Picture:
    """The tile after an edit; the tile is one window of the model, whatever changes in it.

    Args:
        generator: in eval mode, on the CPU.
        before: RGB [3, h, w], sides multiples of 64.
        wanted: the generator's classes after the edit [h, w].
        change: where it happens [h, w].
        settings: of the sampler.
        exemplars: the classes before the edit [h, w], to start from what the same tile holds, else from what is
            drawn by code; noise where None.
        precision: of the denoiser.

    Returns:
        RGB [3, h, w], equal to ``before`` outside the change.
    """
    side = CELL * generator.latent_stride
    rows, columns = change.shape[0] // side, change.shape[1] // side
    cells = np.argwhere(change.reshape(rows, side, columns, side).any((1, 3)))
    region = Region(cells, Box(0, 0, rows * CELL, columns * CELL))
    start = None
    if exemplars is not None:
        names = list(AERIAL.names.values())
        known = exemplars_for(look_of_pixels(before.reshape(3, -1)), names, settings.gsd, settings.seed)
        own = ArrayLibrary("same tile", before, exemplars)
        ground = ground_classes(names)[wanted]
        start, _ = start_picture(
            before,
            wanted,
            change,
            np.ones_like(change),
            lambda place: replace(known, own=[Elsewhere(own, place)]),
            lambda place: _cut(ground, place).astype(bool),
            [settings.seed],
        )
    (piece,) = Synthesizer(generator, settings, precision=precision).draw(
        region, TileScene(before, wanted, change), 1, start
    )
    everywhere = np.ones(change.shape, bool)
    outlined = np.isin(wanted, generator.outlined_classes)
    after = composite(before, before, piece.rgb, change, change, everywhere, RGB, outlined=outlined)
    return after.astype(np.uint8)


def _cut(values: NDArray[np.generic], box: Box) -> NDArray[np.generic]:
    return values[..., box.top : box.bottom, box.left : box.right]
