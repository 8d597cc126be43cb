"""What a request for synthesis means for its rasters: inputs, events, and how the images are to be drawn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError
from changen2.gpcm.classes import ClassTable
from changen2.gpcm.drawn import DrawnEvent
from changen2.gpcm.labels import NODATA, Box
from changen2.gpcm.libraries import Elsewhere, ExemplarsAt, GroundAt
from changen2.gpcm.simulation import KINDS
from changen2.gpcm.synthesis import Settings
from changen2.jobs.detection.resolution import suits
from changen2.jobs.runs.journal import stamps
from changen2.jobs.runs.manifest import describe_input, versions
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis.condition import CONTOUR, INSTANCES, class_table, generator_numbers, ground_classes
from changen2.jobs.synthesis.event_rules import background_class, drawable, make_rules
from changen2.jobs.synthesis.event_series import EventSeries, Step, by_rules, rows_inside
from changen2.jobs.synthesis.events import read_events
from changen2.jobs.synthesis.exemplar_libraries import BUILDING, RasterLibrary, exemplars_for, look_of
from changen2.jobs.synthesis.found_buildings import Neighbourhoods
from changen2.jobs.synthesis.image_drawing import DrawingPlan
from changen2.jobs.synthesis.image_series import SourceImage
from changen2.jobs.synthesis.instance_raster import AUTO, SIDE, InstanceLabels, Removals, find_instances
from changen2.jobs.synthesis.label_series import LabelSource
from changen2.jobs.synthesis.overlays import FirstLabels
from changen2.jobs.synthesis.unlabelled import Unlabelled
from changen2.models.devices import choose_device, choose_precision, default_threads
from changen2.models.registry import ModelCard
from changen2.protocol import SynthesizeRequest
from changen2.raster.area import Area
from changen2.raster.ground import ground_sampling_distance

EDITION = 2
"""Raised where pixels follow from a request in another way than before: an unfinished run of another is not resumed."""


@dataclass(frozen=True)
class Inputs:
    """What a request means for these rasters.

    Attributes:
        image: of the first date.
        area: what of it is asked for.
        classes: of the series.
        labels: at the first date, on the image's grid; None where none are given.
        drawn: events; empty where they are simulated.
        agnostic: whether instances of the image are removed, for want of labels and of drawn events.
        numbers: the generator's class for each class [256].
        gsd: metres of a pixel, None without CRS.
        warnings: what the user should know before anything is read.
    """

    image: SourceImage
    area: Area
    classes: ClassTable
    labels: LabelSource | None
    drawn: list[DrawnEvent]
    agnostic: bool
    numbers: NDArray[np.uint8]
    gsd: float | None
    warnings: list[str]

    @property
    def notes(self) -> list[str]:
        """What the user should know once all is read."""
        return [*self.warnings, *(self.labels.notes if self.labels is not None else [])]


def sampling(request: SynthesizeRequest, gsd: float = 0.5) -> Settings:
    """How a settled request samples."""
    return Settings(
        sampler=request.sampler,
        steps=request.sampling_steps,
        guidance_ratio=request.guidance_ratio,
        seed=request.seed,
        gsd=gsd,
        exemplar_level=request.exemplar_level,
        label_guidance=request.label_guidance or 1.0,
    )


def open_inputs(request: SynthesizeRequest, card: ModelCard, stack: ExitStack) -> Inputs:
    """Open the inputs and check that they go together."""
    if request.events is not None and request.simulate is not None:
        raise InputError(
            "Both drawn events and kinds of events to simulate are given.",
            hint="Leave --events or --simulate out.",
            code="bad_value",
        )
    image = stack.enter_context(SourceImage(request.image, request.bands))
    area = Area.choose(image.grid, request.bounds, request.aoi)
    agnostic = request.events is None and request.labels is None
    if request.instances is not None and not agnostic:
        raise InputError(
            f"Instances ({request.instances}) are given beside {'labels' if request.labels else 'drawn events'}.",
            hint="Instances are what is removed from an image without labels; leave one of them out.",
            code="bad_value",
        )
    if agnostic and request.simulate is not None and "remove" not in _kinds(request.simulate):
        raise InputError(
            f"Without labels only removal can be simulated, not {request.simulate}.",
            hint="Give --labels, or draw events (--events), or use --simulate remove.",
            code="no_labels",
        )
    classes = INSTANCES if agnostic else class_table(request.classes, request.labels, card)
    labels = None
    if request.labels is not None:
        labels = stack.enter_context(LabelSource(request.labels, image.grid, classes, may_be_mask=True))
    drawn: list[DrawnEvent] = []
    repairs: list[str] = []
    if request.events is not None:
        background = partial(background_class, request, classes, needed=True)
        drawn, repairs = read_events(request.events, image.grid, classes, request.steps, background)
    if labels is None:
        classes = Unlabelled(drawn, classes).classes
    numbers, strange = generator_numbers(classes, card)
    gsd = ground_sampling_distance(image.grid)
    warnings = [*repairs, *_gsd_warnings(card, gsd)]
    if labels is not None and labels.is_warped:
        warnings.append("The labels lie on another grid; they were warped to the image's by nearest neighbour.")
    if strange:
        warnings.append(
            f"The generator does not know the classes {', '.join(strange)}; it draws them as {_background(card)}."
        )
    unknown = image.unknown
    if unknown:
        warnings.append(
            f"The generator does not know band {', '.join(str(index + 1) for index in unknown)}: inside the change "
            "its values are those of the eight pixels of most similar colour in the image, averaged."
        )
    return Inputs(image, area, classes, labels, drawn, agnostic, numbers, gsd, warnings)


def let_happen(
    request: SynthesizeRequest, inputs: Inputs, work: Path, files: ExitStack, reporter: Reporter
) -> EventSeries:
    """Let the events of all steps happen on labels."""
    image, grid = inputs.image, inputs.image.grid
    valid = image.valid if image.may_be_invalid else None
    steps = request.steps or 1

    def on_block(step: int, done: int, total: int) -> None:
        reporter.step("simulate", (step - 1) * total + done, steps * total)

    if inputs.agnostic:
        instances, said = find_instances(request.instances, image, work, files)
        first = FirstLabels(grid, InstanceLabels(instances), valid, inputs.area)
        series = EventSeries(work, grid, inputs.classes, first, instances.block)
        asked = looked_at(request, inputs, steps)
        series.removals = Removals(instances, asked, request.seed, request.removal_probability, on_block)
        series.simulate(series.removals.happen, steps, reporter.check)
        series.warnings += said
    else:
        given = inputs.labels or Unlabelled(inputs.drawn, inputs.classes)
        first = FirstLabels(grid, given, valid, inputs.area)
        series = EventSeries(work, grid, inputs.classes, first, numbers=inputs.numbers if inputs.labels else None)
        if inputs.drawn:
            series.draw(inputs.drawn, request.steps or max(event.step for event in inputs.drawn), reporter.check)
        else:
            kinds = _kinds(request.simulate or ",".join(KINDS))
            rules = make_rules(request, inputs.classes, kinds)
            rules, said = drawable(rules, inputs.numbers, inputs.classes)
            series.warnings += said
            series.simulate(by_rules(rules, request.seed, on_block), steps, reporter.check)
    if not any(step.blocks for step in series.steps):
        series.warnings.append("No event could happen: there is nothing to act on, or no room for anything new.")
    elif not rows_inside(series.rows, inputs.area):
        series.warnings.append(_all_beside(len(series.rows), drawn=bool(inputs.drawn)))
    return series


def _all_beside(count: int, drawn: bool) -> str:
    if drawn:
        return f"None of the {count} drawn events acts in the extent asked for: nothing changes there."
    return (
        f"None of the {count} simulated events acts in the extent asked for: they happen anywhere on the raster, so "
        "that a part gives what the whole gives there. Let more objects change in a step (--most, "
        "--removal-probability), take another seed or a larger extent, or give the place as polygons (--aoi), outside "
        "which nothing happens."
    )


def _kinds(given: str) -> tuple[str, ...]:
    kinds = tuple(part.strip().casefold() for part in given.split(",") if part.strip())
    if not kinds or any(kind not in KINDS for kind in kinds):
        raise InputError(
            f"{given!r} is no list of events to simulate.",
            hint=f"Events are {', '.join(KINDS)}, parted by commas.",
            code="bad_event",
        )
    return kinds


def make_drawing_plan(request: SynthesizeRequest, card: ModelCard, inputs: Inputs, series: EventSeries) -> DrawingPlan:
    """How the images of a series are to be drawn."""
    import torch

    device = choose_device(request.device)
    torch.set_num_threads(request.threads or default_threads())
    precision = choose_precision(request.precision, device)
    gsd = inputs.gsd or card.gsd_native
    names = [entry.name for entry in sorted(card.classes, key=lambda entry: entry.index)]
    ground = _ground_of(request, inputs, names)
    neighbourhoods = None
    if inputs.labels is None and BUILDING in names and inputs.gsd is not None and Neighbourhoods.serve(gsd):
        neighbourhoods = Neighbourhoods(inputs.image.shown, inputs.image.shape, names.index(BUILDING), gsd)

    def exemplars() -> ExemplarsAt:
        known = exemplars_for(look_of(inputs.image), names, gsd, request.seed)
        if inputs.labels is not None:
            library = RasterLibrary(inputs.image, inputs.labels, inputs.numbers)
            return lambda box: replace(known, own=[Elsewhere(library, box)])
        if neighbourhoods is None:
            return lambda box: known
        return lambda box: replace(known, own=[neighbourhoods.around(box)])

    return DrawingPlan(
        image=inputs.image,
        area=inputs.area,
        steps=series.steps,
        condition=lambda step, stack: _condition(inputs, series, card, step, stack),
        ground=lambda step, stack, check: _ground(series, ground, neighbourhoods, step, stack, check),
        exemplars=exemplars if request.init == "exemplar" else None,
        settings=sampling(request, gsd),
        patches=request.patches,
        device=device,
        precision=precision,
        batch_size=request.batch_size or (1 if device.type == "cpu" else 8),
        identity=_identity(request, card, str(device), str(precision)),
    )


def _condition(
    inputs: Inputs, series: EventSeries, card: ModelCard, step: Step, stack: ExitStack
) -> Callable[[Box], NDArray[np.uint8]]:
    """The generator's classes after a step; contours of instances where no classes are known."""
    then = series.around(step.then, stack)
    contour = next((entry.index for entry in card.classes if entry.name == CONTOUR), None)
    removals = series.removals
    if removals is None or contour is None:
        return lambda box: inputs.numbers[then.read(box)]
    now = series.around(step.now, stack)
    return lambda box: (removals.contours(now, then, box) * contour).astype(np.uint8)


def _ground_of(request: SynthesizeRequest, inputs: Inputs, names: list[str]) -> NDArray[np.bool_]:
    """Which classes of a series are ground [256]; regions of even colour are as good as their surroundings."""
    ground = ground_classes(names)[inputs.numbers]
    regions = inputs.agnostic and request.instances in (None, AUTO)
    ground[[NODATA, *(i for i, name in inputs.classes.names.items() if name == INSTANCES.names[1] and not regions)]] = 0
    return ground


def _ground(
    series: EventSeries,
    ground: NDArray[np.bool_],
    neighbourhoods: Neighbourhoods | None,
    step: Step,
    stack: ExitStack,
    check: Callable[[], None],
) -> GroundAt:
    """What shows ground after a step: by its classes, and where there is a detector that nothing was built there."""
    then = series.around(step.then, stack)

    def ground_at(box: Box) -> NDArray[np.bool_]:
        found = ground[then.read(box)]
        return found if neighbourhoods is None or not found.any() else found & ~neighbourhoods.built(box, check)

    return ground_at


def files_of(request: SynthesizeRequest) -> tuple[str | None, ...]:
    """The files beside the image that a request names."""
    return request.events, request.labels, request.instances, request.classes, request.transitions, request.aoi


def _identity(request: SynthesizeRequest, card: ModelCard, device: str, precision: str) -> dict[str, Any]:
    """Everything that the pixels of a run depend on; a run resumes only with the same."""
    import torch

    return {
        "versions": versions(),
        "edition": EDITION,
        "model": card.sha256,
        "image": describe_input(request.image),
        "labels": describe_input(request.labels) if request.labels else None,
        "files": stamps(files_of(request)),
        "parameters": request.model_dump(exclude={"out_dir", "resume", "overwrite"}),
        "threads": torch.get_num_threads(),
        "device": device,
        "precision": precision,
    }


def _background(card: ModelCard) -> str:
    return next((entry.name for entry in card.classes if entry.index == 0), "class 0")


def _gsd_warnings(card: ModelCard, gsd: float | None) -> list[str]:
    if gsd is None:
        return [
            "The raster has no coordinate system: its ground resolution is unknown, and the generator takes it for "
            f"{card.gsd_native:g} m."
        ]
    if suits(card, gsd):
        return []
    return [
        f"The image's pixels are {gsd:.2f} m; the generator was trained at {card.gsd_min:g} to {card.gsd_max:g} m, so "
        "expect worse results."
    ]


def looked_at(request: SynthesizeRequest, inputs: Inputs, steps: int) -> Box:
    """Where events have to happen by themselves, so that a part gives what the whole gives there.

    Instances that are found lie each in one block. Change in one block is drawn apart from that in the others; what
    draws it sees less than two blocks further, and so one step more depends on two blocks more. Where instances cross
    blocks, change may go on to anywhere; and where there are labels, any object may be the one that is chosen.
    """
    if not inputs.agnostic or request.instances not in (None, AUTO):
        return Box(0, 0, *inputs.image.shape)
    return Box.of(inputs.area.window).grown(SIDE * (1 + 2 * steps)).clip(inputs.image.shape)
