"""How fast this machine synthesizes: measured by each run, and by drawing one window before the first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from changen2.gpcm.labels import Box
from changen2.gpcm.regions import CELL, WINDOW_CELLS, Region
from changen2.gpcm.synthesis import Generator, Synthesizer
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis.image_drawing import Rates
from changen2.jobs.synthesis.image_series import SourceImage
from changen2.jobs.synthesis.plan import sampling
from changen2.models.devices import choose_device, choose_precision, default_threads
from changen2.models.memory import move
from changen2.models.registry import ModelCard
from changen2.protocol import SynthesizeRequest
from changen2.raster.patches import write_copy, write_virtual

TRIAL_STEPS = 4
"""Sampling steps of the longer of two trials; what both need alike is encoding and decoding."""

PATIENCE_S = 2.0
"""A machine that takes longer for one look is not asked for more: that is the rate, somewhat too high."""

TRIAL_SIDE = 1024
"""Pixels along the side of the part of an image that is copied for a trial."""

_rates: dict[tuple[str, ...], Rates] = {}


def known(request: SynthesizeRequest, card: ModelCard) -> Rates:
    """What was measured in this process with the same model, device, precision and threads."""
    return _rates.get(_key(request, card), Rates())


def remember(request: SynthesizeRequest, card: ModelCard, rates: Rates) -> None:
    """Keep how fast a run was, for the next estimate; what it did not measure stays as it was known."""
    pairs = zip(rates, known(request, card), strict=True)
    _rates[_key(request, card)] = Rates(*(old if new is None else new for new, old in pairs))


def try_out(
    request: SynthesizeRequest,
    card: ModelCard,
    load: Callable[[], Generator],
    image: SourceImage,
    work: Path,
    reporter: Reporter,
) -> None:
    """Measure what is not known yet, by drawing one window and copying a part of the image.

    Args:
        request: the synthesis to come.
        card: of its generator.
        load: gives the generator.
        image: of the synthesis.
        work: folder for the copy.
        reporter: asked between windows whether to stop.
    """
    rates = known(request, card)
    if rates.seconds_per_look is None:
        drawing = _trial_drawing(request, load(), reporter)
        remember(request, card, Rates(seconds_per_look=drawing))
    if rates.seconds_per_pixel is None and not request.patches:
        remember(request, card, Rates(seconds_per_pixel=_trial_copy(image, work)))


def _key(request: SynthesizeRequest, card: ModelCard) -> tuple[str, ...]:
    device = choose_device(request.device)
    precision = choose_precision(request.precision, device)
    how = request.init, request.label_guidance, request.exemplar_level
    return card.name, card.sha256, str(device), str(precision), str(request.threads), str(how)


def _trial_drawing(request: SynthesizeRequest, generator: Generator, reporter: Reporter) -> float:
    """Seconds a look, with a share of encoding and decoding as a run of so many sampling steps has it."""
    device = choose_device(request.device)
    torch.set_num_threads(request.threads or default_threads())
    move(generator, device)

    side = WINDOW_CELLS * CELL
    region = Region(np.array([[1, 1]]), Box(0, 0, side, side))

    def seconds(steps: int, start: NDArray[np.uint8] | None = None) -> tuple[float, int]:
        synthesizer = Synthesizer(
            generator,
            replace(sampling(request), steps=steps),
            device=device,
            precision=choose_precision(request.precision, device),
            on_window=lambda count: reporter.check(),
        )
        began = time.monotonic()
        for _ in synthesizer.draw(region, _Blank(), 1, start):
            pass
        return time.monotonic() - began, synthesizer.sampled

    first, _ = seconds(1)
    if first > PATIENCE_S:
        return first
    # The first look needed more, such as loading libraries.
    if request.init == "exemplar":  # few looks, so that encoding and decoding weigh
        taken, looks = seconds(request.sampling_steps, _Blank().rgb(Box(0, 0, *[side * generator.latent_stride] * 2)))
        return taken / looks
    (short, _), (long, _) = seconds(1), seconds(TRIAL_STEPS)
    each = max(long - short, 0.0) / (TRIAL_STEPS - 1)
    return each + max(short - each, 0.0) / request.sampling_steps


def _trial_copy(image: SourceImage, work: Path) -> float:
    """Seconds a pixel of a written image."""
    height, width = (min(TRIAL_SIDE, length) for length in image.shape)
    window = Window((image.shape[1] - width) // 2, (image.shape[0] - height) // 2, width, height)
    began = time.monotonic()
    write_virtual(work / "trial.vrt", image.dataset, [], window)
    write_copy(work / "trial.vrt", work / "trial.tif")
    return (time.monotonic() - began) / (width * height)


class _Blank:
    """A scene of grey in which a square changes."""

    def rgb(self, box: Box) -> np.ndarray:
        return np.full((3, *box.shape), 128, np.uint8)

    def labels(self, box: Box) -> np.ndarray:
        return np.zeros(box.shape, np.uint8)

    def change(self, box: Box) -> np.ndarray:
        changed = np.zeros(box.shape, bool)
        changed[: box.shape[0] // 2, : box.shape[1] // 2] = True
        return changed
