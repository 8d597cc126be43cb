"""What a synthesis would take: changed area, windows of the generator, time, memory and disk; nothing of it is kept."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from changen2.errors import InputError
from changen2.gpcm.labels import Box
from changen2.gpcm.regions import Region
from changen2.gpcm.synthesis import Generator, Synthesizer
from changen2.heap import kept_memory
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis import rates
from changen2.jobs.synthesis.event_series import Step, rows_inside
from changen2.jobs.synthesis.image_drawing import plan_regions
from changen2.jobs.synthesis.model_defaults import settled
from changen2.jobs.synthesis.overlays import SparseRaster
from changen2.jobs.synthesis.plan import Inputs, let_happen, looked_at, open_inputs, sampling
from changen2.models.generator_published import PublishedGenerator
from changen2.models.generator_tiny import TinyGenerator
from changen2.models.registry import ModelCard, card_of, load_generator
from changen2.protocol import EstimateSynthesisRequest, SynthesizeRequest
from changen2.raster.area import Area
from changen2.raster.gdal import cache_for, gdal_environment
from changen2.raster.ground import pixel_area_m2
from changen2.raster.patches import BLOCK

SIMULATED = 200_000_000
"""Pixels times steps up to which events are simulated for an estimate, which nobody asked for: half a minute, and twice
as many bytes in the system's folder for temporary files."""

BYTES_PER_PLACE = 200
"""Of a joint region: some ten tensors over its latent places, and its labels."""

BYTES_PER_PIXEL = {TinyGenerator.latent_stride: 1100, PublishedGenerator.latent_stride: 6900}
"""Of a window, by latent stride: activations, measured for 64² latent places and the halo that the decoder sees."""

BASE_BYTES = 440_000_000
"""Torch and the blocks in work; GDAL's cache comes to it."""

EXEMPLAR_BYTES, EXEMPLAR_BYTES_PER_PIXEL = 110_000_000, 30
"""Of a start from exemplars: the detector that finds houses and the scenes that are drawn; and of a joint region, its
picture, footprints and masks. Measured for changes of 256² to 2048² pixels."""


class Form(Protocol):
    """What the class of a generator tells without its weights."""

    latent_stride: int
    latent_channels: int
    prediction: str
    schedule: str


def run(request: EstimateSynthesisRequest, reporter: Reporter) -> dict[str, Any]:
    """Tell what a synthesis with the generator that the request names would take."""
    card = card_of(request.model, "synthesize")
    if not card.embedded:  # too large to load for a trial
        return run_with(request, card, PublishedGenerator, None, reporter)
    return run_with(request, card, TinyGenerator, lambda: load_generator(card), reporter)


def run_with(
    request: SynthesizeRequest,
    card: ModelCard,
    form: type[Form],
    load: Callable[[], Generator] | None,
    reporter: Reporter,
) -> dict[str, Any]:
    """Tell what a synthesis would take. The events happen on the labels, as they would; no image is drawn.

    Args:
        request: the synthesis to come.
        card: of its generator.
        form: the generator's class.
        load: gives the generator, for a trial of some looks at one window where its speed is not known yet; None:
            no trial.
        reporter: progress and cancel.

    Returns:
        ``width``, ``height``, ``gsd_m``; ``steps``; ``events``, count by kind of those that act in what is asked for;
        ``changed_px`` and ``changed_m2`` of each step (m² None without CRS); ``tiles``, the windows that are drawn, and
        ``looks``, how often the generator looks at one; ``memory_bytes``, ``disk_bytes`` (at most, for a moment);
        ``seconds``, from the last run with the same model on the same device in this process, else from a trial, else
        None; ``warnings``.

    Raises:
        InputError: whatever could not work; ``too_large``: events would have to be simulated for long.
        Cancelled: the reporter said so.
    """
    request = settled(request, card)
    with gdal_environment(), kept_memory(), ExitStack() as stack:
        inputs = open_inputs(request, card, stack)
        _refuse_long_simulation(request, inputs)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="changen2-")))
        series = let_happen(request, inputs, work, stack, reporter)
        regions = plan_regions(series.steps, inputs.image.grid, inputs.area.window, form.latent_stride)
        changed = [_changed(step, inputs.area) for step in series.steps]
        tiles = sum(len(region.windows((0, 0))) for region in chain(*regions))
        looks = _looks(request, form, series.steps, regions)
        if looks and load is not None:
            rates.try_out(request, card, load, inputs.image, work, reporter)
        return {
            "width": inputs.area.window.width,
            "height": inputs.area.window.height,
            "gsd_m": inputs.gsd,
            "steps": len(series.steps),
            "events": dict(Counter(row.event for row in rows_inside(series.rows, inputs.area))),
            "changed_px": [count for count, _ in changed],
            "changed_m2": [area for _, area in changed],
            "tiles": tiles,
            "looks": looks,
            "memory_bytes": cache_for(inputs.image.dataset)
            + _memory(form, card, list(chain(*regions)), request.init == "exemplar"),
            "disk_bytes": _disk(request, inputs, series.steps),
            "seconds": _seconds(request, card, inputs, looks, len(series.steps)),
            "warnings": [*inputs.notes, *series.warnings],
        }


def _refuse_long_simulation(request: SynthesizeRequest, inputs: Inputs) -> None:
    if inputs.drawn:
        return
    steps = request.steps or 1
    height, width = looked_at(request, inputs, steps).shape
    if height * width * steps > SIMULATED:
        raise InputError(
            f"Events on {height * width / 1e6:,.0f} megapixels in {steps} step{'' if steps == 1 else 's'} take long to "
            "simulate.",
            hint="Run to see what it takes.",
            code="too_large",
        )


def _seconds(request: SynthesizeRequest, card: ModelCard, inputs: Inputs, looks: int, steps: int) -> float | None:
    measured = rates.known(request, card)
    pixels = 0 if request.patches else steps * inputs.area.window.width * inputs.area.window.height
    parts = [(looks, measured.seconds_per_look), (pixels, measured.seconds_per_pixel)]
    if any(amount and rate is None for amount, rate in parts):
        return None
    return round(sum(amount * (rate or 0.0) for amount, rate in parts), 2)


def _looks(request: SynthesizeRequest, form: type[Form], steps: Sequence[Step], regions: Sequence[list[Region]]) -> int:
    """How often the generator will look at a window."""
    # It is only asked how it would go about it, and for that the form suffices.
    planner = Synthesizer(form, sampling(request))  # type: ignore[arg-type]
    exemplar = request.init == "exemplar"
    return sum(
        planner.looks(region, step.number, exemplar)
        for step, mine in zip(steps, regions, strict=True)
        for region in mine
    )


def _changed(step: Step, area: Area) -> tuple[int, float | None]:
    """Pixels and m² that a step changes in what is asked for; m² None without CRS."""
    window = area.window
    asked = Box.of(window)
    changed = SparseRaster(step.change, area.grid, 0)
    pixels, metres = 0, 0.0
    for block in step.blocks:
        part = block.meet(asked)
        if 0 in part.shape:
            continue
        count = int(np.count_nonzero(changed.read(part)))
        # A pixel's size on the ground varies over a raster in degrees or Web Mercator.
        pixels += count
        metres += count * (pixel_area_m2(area.grid.crop(part.window)) or 0.0)
    changed.close()
    return pixels, metres if pixel_area_m2(area.grid) else None


def _memory(form: type[Form], card: ModelCard, regions: list[Region], from_exemplar: bool) -> int:
    largest = max((region.box.shape[0] * region.box.shape[1] for region in regions), default=0)
    window = max((box.shape[0] * box.shape[1] for region in regions for box in region.windows((0, 0))), default=0)
    pixels = form.latent_stride**2
    # Weights are stored in half precision and worked with in single.
    needed = BASE_BYTES + 2 * card.size_bytes + largest * BYTES_PER_PLACE
    needed += window * pixels * BYTES_PER_PIXEL[form.latent_stride]
    if from_exemplar and regions:
        needed += EXEMPLAR_BYTES + largest * pixels * EXEMPLAR_BYTES_PER_PIXEL
    return needed


def _disk(request: SynthesizeRequest, inputs: Inputs, steps: Sequence[Step]) -> int:
    """Label and change maps once raw and once as COG, and the images: as if nothing could be compressed."""
    dataset, window = inputs.image.dataset, inputs.area.window
    pixels = window.width * window.height
    value = sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    touched = 0
    for step in steps:
        touched += int(step.occupied(inputs.image.grid, BLOCK).sum()) * BLOCK**2
    maps = (2 * len(steps) + 1) * pixels
    # The changed blocks are kept raw until the end. Overviews add a third to an image.
    images = touched * value if request.patches else len(steps) * pixels * value * 4 // 3
    return maps + pixels + touched * value + images
