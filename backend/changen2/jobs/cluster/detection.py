"""Detection on a Dask cluster: each task is one row of a block's tiles; the client blends and writes as it always does.

A row of tiles is a block of its own whose sums are added to those of the whole block. Sums are whole numbers, so the
pixels are those of one machine with the same number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from changen2.heap import kept_memory
from changen2.jobs.cluster.crew import Crew, once_a_process
from changen2.jobs.cluster.precision import device_noted, for_all_workers
from changen2.jobs.cluster.same_file import SeenFile
from changen2.jobs.detection.plan import Plan
from changen2.models.devices import DTYPES, PRECISIONS, choose_device, choose_precision
from changen2.models.predictor import Predictor, batch_that_fits
from changen2.models.registry import ModelCard, load_model
from changen2.raster.blending import BlockSums, Carry
from changen2.raster.gdal import gdal_environment
from changen2.raster.grid import Grid
from changen2.raster.pipeline import WriteCore, core_of, read_block, sum_block
from changen2.raster.radiometry import Stretch
from changen2.raster.reading import AlignedRaster
from changen2.raster.tiles import Block, TileGrid

DEFAULT_THREADS = 1
"""Of torch in each task: a cluster's cores are filled by workers, and every worker must add up in the same order."""


@dataclass(frozen=True)
class Date:
    """A raster as every worker opens it: under the same path, with the same radiometry.

    Attributes:
        path: absolute where it is a local file; every worker must reach it.
        grid: what it is read on.
        bands: the three that are seen.
        stretch: measured once, by the client.
        seen: what the client found under the path.
    """

    path: str
    grid: Grid
    bands: tuple[int, int, int]
    stretch: Stretch
    seen: SeenFile

    @classmethod
    def of(cls, path: str, grid: Grid, raster: AlignedRaster) -> Date:
        """An open raster as a value that travels."""
        there = str(Path(path).absolute()) if Path(path).exists() else path
        return cls(there, grid, raster.bands, raster.stretch, SeenFile.at(there))

    def open(self) -> AlignedRaster:
        """Open it.

        Raises:
            JobError: ``other_input`` where this process finds another raster under the path.
        """
        self.seen.check()
        return AlignedRaster(self.path, self.grid, self.bands, self.stretch)


@dataclass(frozen=True)
class Detector:
    """What a worker needs to run the model.

    Attributes:
        card: the model's.
        device, precision: as asked for.
        threads: of torch.
        batch_size: None chooses by device.
        tile: rows, columns of a tile.
    """

    card: ModelCard
    device: str
    precision: str
    threads: int
    batch_size: int | None
    tile: tuple[int, int]

    def ready(self) -> Predictor:
        """The model on this worker's device, loaded once a process."""
        torch.set_num_threads(self.threads)
        device = choose_device(self.device)
        precision = choose_precision(self.precision, device)

        def load() -> Predictor:
            batch = self.batch_size or batch_that_fits(device, self.tile)
            predictor = Predictor(load_model(self.card), device, precision, batch)
            predictor.probe(self.tile)
            return predictor

        key = (self.card.name, self.card.sha256, str(device), str(precision), self.batch_size, self.tile)
        return once_a_process(key, load)


def describe(detector: Detector) -> tuple[str, str, int]:
    """Device, precision and batch size that a worker ends up with; runs there."""
    predictor = detector.ready()
    return str(predictor.device), PRECISIONS[predictor.precision], predictor.batch_size


def look(
    detector: Detector, dates: tuple[Date, Date], planes: int, block: Block
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Sums and valid mask of what a block's tiles look at; runs on a worker."""
    predictor = detector.ready()
    with gdal_environment(), dates[0].open() as before, dates[1].open() as after:
        pixels = read_block(before, after, block)
    with kept_memory():
        return sum_block(pixels, predictor.predict, planes, predictor.batch_size, lambda _: None).sums, pixels.valid


class ClusterPredictor:
    """Stands for the models of a cluster's workers where a job has one of its own.

    Args:
        plan: of the detection.
        crew: the workers.
        check: raises to cancel.
        begun: what the run noted when it began, for one that goes on (``precision``, ``device``); it may be another
            worker that answers now.

    Attributes:
        precision, batch_size: those of the first worker asked; all are told to use the same, see
            :func:`changen2.jobs.cluster.precision.for_all_workers`.
        device: that of the first worker asked, when the run began; where none was asked for, each uses the best of its
            own.
    """

    def __init__(
        self, plan: Plan, crew: Crew, check: Callable[[], None], begun: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        request = plan.request
        threads = request.threads or DEFAULT_THREADS
        # What a run notes about itself, and is resumed by, counts the threads here.
        torch.set_num_threads(threads)
        wanted = begun.get("precision", "auto") if request.precision == "auto" else request.precision
        asked = Detector(plan.card, request.device, wanted, threads, request.batch_size, plan.tile)
        ((device, found, self.batch_size),) = crew.in_order(describe, [asked], check)
        precision = for_all_workers(found, wanted, request.device, crew.on_gpus)
        self.device = torch.device(device_noted(device, begun.get("device"), request.device, crew.on_gpus))
        self.precision = DTYPES[precision]
        self._detector = replace(asked, batch_size=self.batch_size, precision=precision)
        self._crew, self._check, self._planes = crew, check, plan.planes

    def probe(self, tile: tuple[int, int]) -> int:
        """Planes that the model returns; the workers probed their memory when they loaded it."""
        return self._planes

    def run_tiles(
        self,
        before: Date,
        after: Date,
        blocks: list[Block],
        *,
        carry: Carry,
        write_core: WriteCore,
        on_tiles: Callable[[int], None],
    ) -> None:
        """Run the model over the wanted tiles of blocks, as ``changen2.raster.pipeline.run_tiles`` does here."""
        task = partial(look, self._detector, (before, after), self._planes)
        rows = (row for block in blocks for row in rows_of(block))
        seen = self._crew.in_order(task, rows, self._check)
        done_above = 0
        for block in blocks:
            sums, valid = BlockSums(block, self._planes), np.zeros((block.reach.height, block.reach.width), bool)
            for row in rows_of(block):
                part_sums, part_valid = next(seen)
                top = row.decided.row_off - block.decided.row_off
                sums.sums[:, top : top + row.decided.height] += part_sums
                top = row.reach.row_off - block.reach.row_off
                valid[top : top + row.reach.height] = part_valid
                on_tiles(len(row.tiles))
            if block.i > done_above:
                done_above = block.i
                carry.forget_above(block.i)
            write_core(block, carry.finish(sums), core_of(block, valid))


def rows_of(block: Block) -> Iterator[Block]:
    """A block's wanted rows of tiles, each as a block of its own."""
    grid = TileGrid(replace(block.grid.rows, tiles_per_block=1), block.grid.columns)
    return (Block(grid, row, block.j, tuple(tiles)) for row, tiles in groupby(block.tiles, key=itemgetter(0)))
