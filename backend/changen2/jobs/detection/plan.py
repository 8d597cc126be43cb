"""What a detection means for its rasters: grid, area, working resolution and tiles, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.jobs.detection.calibrated import written_threshold
from changen2.jobs.detection.resolution import resampling_factor, suits
from changen2.models.devices import choose_device, memory_free
from changen2.models.predictor import pair_bytes
from changen2.models.registry import ModelCard, card_of
from changen2.protocol import DetectRequest
from changen2.raster.area import Area
from changen2.raster.gdal import cache_for
from changen2.raster.grid import Grid
from changen2.raster.ground import ground_sampling_distance
from changen2.raster.reading import check_overlap, open_raster
from changen2.raster.resampling import reach_of, source_window
from changen2.raster.tiles import Block, TileGrid


@dataclass(frozen=True)
class Plan:
    """What a request means for these rasters, decided before anything is computed.

    Attributes:
        request: as validated.
        card: the model's card.
        grid: the reference grid, that of ``before``.
        area: what of it is asked for.
        gsd: true metres of its pixels, None without CRS.
        factor: pixels of the working grid per pixel of the reference grid, along a side.
        work_grid: the grid the model sees.
        wanted: the window of the working grid that is needed.
        tiles: the tiles over the working grid.
        cache: bytes of GDAL's, for either raster.
        warnings: what the user should know.
    """

    request: DetectRequest
    card: ModelCard
    grid: Grid
    area: Area
    gsd: float | None
    factor: float
    work_grid: Grid
    wanted: Window
    tiles: TileGrid
    cache: int
    warnings: list[str]

    @property
    def threshold(self) -> float:
        """The written probability from which a pixel counts as change: the user's, else the card's."""
        return written_threshold(self.card) if self.request.threshold is None else self.request.threshold

    @property
    def planes(self) -> int:
        """Values per pixel that the model returns."""
        return planes_of(self.card)

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of what the model sees at once, in pixels of the working grid."""
        return self.tiles.rows.tile, self.tiles.columns.tile

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks with tiles that have a say in a pixel of the area, row by row."""
        # A pixel of the area is made from working pixels whose centres lie that far around its own.
        around = 0.0 if self.factor == 1 else reach_of(self.factor) + 1
        spans = (
            np.add([axis.counted(tile) for tile in range(axis.tiles)], (-around, around))
            for axis in (self.tiles.rows, self.tiles.columns)
        )
        return list(self.tiles.blocks(self.wanted, self.area.meets(self.work_grid, *spans)))

    @property
    def tile_count(self) -> int:
        """How many tiles the model looks at."""
        return sum(len(block.tiles) for block in self.blocks)

    @property
    def memory_bytes(self) -> int:
        """What the detection takes, roughly: where no batch is asked for, one pair at a time, as on a CPU."""
        rows, columns = self.tiles.rows, self.tiles.columns
        block = (rows.tiles_per_block * rows.stride + rows.overlap) * (
            columns.tiles_per_block * columns.stride + columns.overlap
        )
        pairs = self.request.batch_size or 1
        # Three blocks of imagery, two of sums; the pairs in the model; what GDAL keeps; torch.
        return block * (3 * 7 + 2 * 4 * self.planes) + pairs * pair_bytes(self.tile) + self.cache + 340_000_000


def make_plan(request: DetectRequest) -> Plan:
    """Check a request against its rasters.

    Raises:
        InputError: whatever cannot work, before anything is computed or written.
    """
    card = card_of(request.model)
    with open_raster(request.before) as dataset:
        grid, cache = Grid.of(dataset), cache_for(dataset)
    grid.require_north_up(request.before)
    with open_raster(request.after) as dataset:
        check_overlap(Grid.of(dataset), grid, request.after, request.before)
        cache = max(cache, cache_for(dataset))
    area = Area.choose(grid, request.bounds, request.aoi)
    gsd = ground_sampling_distance(grid)
    factor = _scale_factor(request, card, gsd)
    work_grid = grid if factor == 1 else grid.scaled(factor)
    wanted = area.window if factor == 1 else source_window(area.window, factor, work_grid.height, work_grid.width)
    tile_size = request.tile_size or card.tile_size
    tiles = TileGrid.plan(
        work_grid.height,
        work_grid.width,
        tile_size,
        min(card.overlap, tile_size // 2) if request.overlap is None else request.overlap,
        planes_of(card),
    )
    warnings = _gsd_warnings(card, gsd, factor)
    plan = Plan(request, card, grid, area, gsd, factor, work_grid, wanted, tiles, cache, warnings)
    return replace(plan, warnings=[*warnings, *_memory_warnings(plan)])


def planes_of(card: ModelCard) -> int:
    """Return the channels of all heads: one sigmoid for one class beside background, else a channel a class."""
    semantic = 1 if len(card.classes) <= 2 else len(card.classes)
    return max(1, len(card.change_classes)) + 2 * semantic


def _scale_factor(request: DetectRequest, card: ModelCard, gsd: float | None) -> float:
    if request.gsd is None:
        return 1.0
    if gsd is None:
        raise InputError(
            f"--gsd {request.gsd} needs the ground size of a pixel, and {request.before} has no coordinate system.",
            hint="Assign the raster its CRS, or leave --gsd out.",
            code="bad_value",
        )
    target = card.gsd_native if request.gsd == "auto" else request.gsd
    if request.gsd == "auto" and card.gsd_min <= gsd <= card.gsd_max:
        return 1.0
    return resampling_factor(gsd, target)


def _memory_warnings(plan: Plan) -> list[str]:
    """What to say where a CPU's memory may not suffice; a GPU's is probed, and a cluster's is elsewhere."""
    if plan.request.dask is not None:
        return []
    device = choose_device(plan.request.device)
    needed, free = plan.memory_bytes, memory_free(device)
    if device.type != "cpu" or needed <= free:
        return []
    return [
        f"This takes about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free. Use smaller tiles "
        "(--tile-size) or batches (--batch-size), or close other programs, else it may be slow or break off."
    ]


def _gsd_warnings(card: ModelCard, gsd: float | None, factor: float) -> list[str]:
    if gsd is None:
        return ["The raster has no coordinate system: areas are in pixels and the ground resolution is unknown."]
    seen = gsd / factor
    if suits(card, seen):
        return []
    return [
        f"The model sees pixels of {seen:.2f} m; it was trained at {card.gsd_min:g} to {card.gsd_max:g} m, so expect "
        "worse results. Working at the resolution that suits the model (--gsd auto) may help."
    ]
