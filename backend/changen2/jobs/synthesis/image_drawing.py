"""Drawing the images of a series, step by step; finished steps are kept."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import shapely
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from shapely import STRtree

from changen2.gpcm.exemplar import start_picture
from changen2.gpcm.labels import Box
from changen2.gpcm.libraries import Exemplars, ExemplarsAt, GroundAt
from changen2.gpcm.regions import CELL, Cells, Region, find_regions, within
from changen2.gpcm.synthesis import HALO, Generator, Settings, Synthesizer
from changen2.jobs.runs.journal import Journal
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis.event_series import Step
from changen2.jobs.synthesis.image_series import SourceImage, StepScene, mirrored_read
from changen2.jobs.synthesis.overlays import SparseRaster
from changen2.models.memory import move
from changen2.raster.area import Area
from changen2.raster.grid import Grid
from changen2.raster.patches import Patch, PatchWriter, write_copy, write_sparse_copy, write_virtual


@dataclass(frozen=True)
class DrawingPlan:
    """What is drawn, and how.

    Attributes:
        image: of the first date.
        area: what of it is asked for.
        steps: where labels change.
        condition: gives the classes that the generator is told, for a step.
        ground: gives what shows ground when a step has happened, some of what it changes included, for a step; with
            what may cancel while it looks.
        exemplars: gives what tells, of a box of the raster, what a change in it may start from; None starts from noise.
        settings: of the sampler.
        patches: whether only changed blocks are written.
        device, precision, batch_size: where and how the generator runs.
        identity: all that the pixels depend on, for the journal.
    """

    image: SourceImage
    area: Area
    steps: Sequence[Step]
    condition: Callable[[Step, ExitStack], Callable[[Box], NDArray[np.uint8]]]
    ground: Callable[[Step, ExitStack, Callable[[], None]], GroundAt]
    exemplars: Callable[[], ExemplarsAt] | None
    settings: Settings
    patches: bool
    device: torch.device
    precision: torch.dtype
    batch_size: int
    identity: dict[str, Any]


class Rates(NamedTuple):
    """How fast a run was.

    Attributes:
        seconds_per_look: of the generator at a window, reading and compositing included; None: it drew nothing.
        seconds_per_pixel: of a whole image written; None: none was.
    """

    seconds_per_look: float | None = None
    seconds_per_pixel: float | None = None


class Drawing:
    """Draws the images of all steps into a work folder.

    Args:
        plan: what, and how.
        generator: in eval mode, on the CPU.
        work: the work folder; its journal tells which steps are finished.
        reporter: progress and cancel.

    Raises:
        JobError: ``out_of_memory`` where the generator does not fit into the device's memory.

    Attributes:
        summary: numbers for the caller.
        rates: seconds that a look of the generator and a pixel of a written image took in this run.
    """

    def __init__(self, plan: DrawingPlan, generator: Generator, work: Path, reporter: Reporter) -> None:
        self._plan, self._work, self._reporter = plan, work, reporter
        move(generator, plan.device)
        self._stride, self._outlined = generator.latent_stride, generator.outlined_classes
        self._synthesizer = Synthesizer(
            generator,
            plan.settings,
            device=plan.device,
            precision=plan.precision,
            batch_size=plan.batch_size,
            on_window=self._on_window,
        )
        self._journal = Journal(work, plan.identity)
        self._exemplars: ExemplarsAt | None = None
        self._done = self._total = 0
        self._sources: Counter[str] = Counter()
        self._regions = self._kept_encoded = self._kept_sampled = 0
        self._drawing_s = self._writing_s = 0.0
        self._written_px = 0

    @property
    def summary(self) -> dict[str, Any]:
        """Numbers for the caller, of steps that an earlier run finished, too."""
        found = {
            "regions": self._regions,
            "encoded_tiles": self._kept_encoded + self._synthesizer.encoded,
            "sampled_tiles": self._kept_sampled + self._synthesizer.sampled,
            "device": str(self._plan.device),
        }
        return {**found, "exemplars": dict(self._sources)} if self._plan.exemplars else found

    @property
    def batch_size(self) -> int:
        """Windows that the generator saw at once, at the end."""
        return self._synthesizer.batch_size

    @property
    def rates(self) -> Rates:
        """What this run measured; None for what it did not do."""
        return Rates(
            self._drawing_s / self._done if self._done else None,
            self._writing_s / self._written_px if self._written_px else None,
        )

    def run(self) -> list[str]:
        """Draw what is not finished yet; return the names of the images' files in the work folder."""
        plan = self._plan
        finished = {entry["step"] for entry in self._journal.blocks}
        regions = plan_regions(plan.steps, plan.image.grid, plan.area.window, self._stride)
        todo = [(step, mine) for step, mine in zip(plan.steps, regions, strict=True) if step.number not in finished]
        exemplar = plan.exemplars is not None
        self._total = sum(self._synthesizer.looks(r, step.number, exemplar) for step, mine in todo for r in mine)
        self._regions = sum(map(len, regions))
        if plan.exemplars is not None and any(mine for _, mine in todo):
            self._exemplars = plan.exemplars()
        raw: list[Patch] = []
        names: list[str] = []
        for step, mine in zip(plan.steps, regions, strict=True):
            blocks_file = self._work / f"blocks_t{step.number}.json"
            if step.number in finished:
                kept = json.loads(blocks_file.read_text(encoding="utf8"))
                blocks = [(row, column) for row, column in kept["blocks"]]
                self._sources.update(kept["exemplars"])
                self._kept_encoded += kept["encoded"]
                self._kept_sampled += kept["sampled"]
                raw.append(Patch(self._work / f"raw_t{step.number}.tif", blocks))
                names += self._names(step)
                continue
            before, synthesizer = self._sources.copy(), self._synthesizer
            encoded, sampled = synthesizer.encoded, synthesizer.sampled
            raw.append(self._draw(step, mine))
            kept = {
                "blocks": [list(place) for place in raw[-1].blocks],
                "exemplars": self._sources - before,
                "encoded": synthesizer.encoded - encoded,
                "sampled": synthesizer.sampled - sampled,
            }
            blocks_file.write_text(json.dumps(kept), encoding="utf8")
            made = self._write(step, raw)
            names += made
            wrote = [raw[-1].path, blocks_file, self._virtual(step.number), *(self._work / name for name in made)]
            self._journal.add(wrote, step=step.number)
        return names

    def _on_window(self, count: int) -> None:
        self._done += count
        self._reporter.step("synthesize", self._done, self._total)

    def _draw(self, step: Step, regions: list[Region]) -> Patch:
        """Draw one step's regions over the image before it."""
        plan, began = self._plan, time.monotonic()
        with ExitStack() as stack:
            base = plan.image.dataset
            if step.number > 1:
                # No open_raster: it would let the cache grow again, which holds what this is made of.
                base = stack.enter_context(rasterio.open(self._virtual(step.number - 1)))
            writer = stack.enter_context(PatchWriter(self._work / f"raw_t{step.number}.tif", base))
            changed = SparseRaster(step.change, plan.image.grid, 0)
            stack.callback(changed.close)
            condition, ground = plan.condition(step, stack), plan.ground(step, stack, self._reporter.check)
            scene = StepScene(plan.image, base, changed, condition, writer, CELL * self._stride, self._outlined)
            for region in regions:
                self._reporter.check()
                scene.begin(region)
                start = self._start(region, scene, step, ground)
                scene.paint(region, self._synthesizer.draw(region, scene, step.number, start))
        self._drawing_s += time.monotonic() - began
        return writer.finish()

    def _start(self, region: Region, scene: StepScene, step: Step, ground: GroundAt) -> NDArray[np.uint8] | None:
        """An exemplar picture over a region's box [3, h, w]; None starts from noise."""
        exemplars = self._exemplars
        if exemplars is None:
            return None
        box = self._synthesizer.pixels(region.box)
        row, column = (int(place) for place in region.cells[0])
        seed = [self._plan.settings.seed, step.number, row, column]
        own = within(region.cells, box, CELL * self._stride)
        own[max(0, self._plan.image.shape[0] - box.top) :] = False  # beyond the raster it is mirrored
        own[:, max(0, self._plan.image.shape[1] - box.left) :] = False
        seen = scene.rgb(box), scene.labels(box), scene.change(box), scene.valid(box)

        def on_raster(place: Box) -> Box:
            top, left = box.top, box.left
            return Box(top + place.top, left + place.left, top + place.bottom, left + place.right)

        def exemplars_at(place: Box) -> Exemplars:
            return exemplars(on_raster(place))

        def ground_at(place: Box) -> NDArray[np.bool_]:
            return mirrored_read(ground, on_raster(place), self._plan.image.shape).astype(bool)

        picture, sources = start_picture(*seen, exemplars_at, ground_at, seed, own, self._reporter.check)
        self._sources.update(sources)
        return picture

    def _virtual(self, step: int) -> Path:
        return self._work / f"full_t{step}.vrt"

    def _names(self, step: Step) -> list[str]:
        if self._plan.patches:
            return [f"image_t{step.number}.vrt", f"image_t{step.number}_patches.tif"]
        return [f"image_t{step.number}.tif"]

    def _write(self, step: Step, raw: list[Patch]) -> list[str]:
        """Write one image: a whole copy, or its changed blocks and a virtual raster."""
        source, window, began = self._plan.image.dataset, self._plan.area.window, time.monotonic()
        self._reporter.step("write", step.number - 1, len(self._plan.steps))
        write_virtual(self._virtual(step.number), source, raw)
        names = self._names(step)
        if self._plan.patches:
            write_sparse_copy(raw[-1].path, self._work / names[1])
            kept = [Patch(self._work / f"image_t{number}_patches.tif", p.blocks) for number, p in enumerate(raw, 1)]
            write_virtual(self._work / names[0], source, kept, window)
        else:
            virtual = self._work / f"crop_t{step.number}.vrt"
            write_virtual(virtual, source, raw, window)
            write_copy(virtual, self._work / names[0])
            self._writing_s += time.monotonic() - began
            self._written_px += window.width * window.height
        self._reporter.step("write", step.number, len(self._plan.steps))
        return names


def plan_regions(steps: Sequence[Step], grid: Grid, window: Window, stride: int) -> list[list[Region]]:
    """The regions of each step that what is asked for depends on.

    Args:
        steps: where labels change.
        grid: of the image.
        window: what is asked for.
        stride: pixels along a latent place's side.
    """
    side = CELL * stride
    shape = -(-grid.height // stride), -(-grid.width // stride)
    found = []
    for step in steps:
        changed = SparseRaster(step.change, grid, 0)

        def extent(cells: Cells, changed: SparseRaster = changed) -> Box:
            return _extent(changed, cells, side, stride)

        block = None if step.block is None else step.block // side
        found.append(list(find_regions(step.occupied(grid, side), extent, shape, block)))
        changed.close()
    if (window.height, window.width) == (grid.height, grid.width):
        return found
    asked = Box.of(window)
    return needed(found, asked, side, stride)


def needed(regions: Sequence[Sequence[Region]], asked: Box, cell: int, stride: int) -> list[list[Region]]:
    """The regions that the pixels of a box depend on.

    A region counts where its change meets the box, or meets what a needed region of a later step looks at, or was
    drawn before another part of the same change.

    Args:
        regions: of each step.
        asked: in pixels.
        cell: pixels along a cell's side.
        stride: pixels along a latent place's side.
    """
    looked_at = [_as_row(asked)]
    chosen: list[list[Region]] = []
    for mine in reversed(regions):
        low = np.array([region.cells.min(axis=0) for region in mine]).reshape(-1, 2) * cell
        high = np.array([region.cells.max(axis=0) + 1 for region in mine]).reshape(-1, 2) * cell
        # Half a pixel less on all sides: what only touches does not meet.
        places = shapely.box(*(low.T + 0.5), *(high.T - 0.5))
        meets = np.zeros(len(mine), bool)
        meets[STRtree(shapely.box(*np.array(looked_at).T)).query(places)[0]] = True
        kept: list[Region] = []
        drawn: set[tuple[int, int]] = set()
        for region, is_met in zip(reversed(mine), meets[::-1], strict=True):
            if is_met or tuple(region.cells[0].tolist()) in drawn:
                kept.append(region)
                drawn.update(map(tuple, region.drawn.tolist()))
                looked_at.append((_as_row(region.box) + np.array([-HALO, -HALO, HALO, HALO])) * stride)
        chosen.append(kept[::-1])
    return chosen[::-1]


def _as_row(box: Box) -> NDArray[np.int64]:
    return np.array([box.top, box.left, box.bottom, box.right], np.int64)


def _extent(changed: SparseRaster, cells: Cells, cell: int, stride: int) -> Box:
    """The latent places that some cells' change takes up, as a box."""
    low, high = cells.min(axis=0) * cell, (cells.max(axis=0) + 1) * cell
    box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clip(changed.shape)
    rows, columns = np.nonzero((changed.read(box) == 1) & within(cells, box, cell))
    return Box(
        int(rows.min() + box.top) // stride,
        int(columns.min() + box.left) // stride,
        int(rows.max() + box.top) // stride + 1,
        int(columns.max() + box.left) // stride + 1,
    )
