"""The pixel grid that everything is worked on: CRS, affine transform, width and height.

Rows and columns count from the raster's first pixel. A raster without CRS is worked on in pixel
space: its coordinates are (column, row), y down. Where a world file or the like places it all the
same, in a system that nobody names, that is kept: it tells how two such rasters lie to each other,
and goes to the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from changen2.errors import InputError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

Bounds = tuple[float, float, float, float]
"""left, bottom, right, top in the grid's coordinates."""


@dataclass(frozen=True)
class Grid:
    """A north-up (or south-up) raster grid.

    Args:
        crs: coordinate reference system, or None for pixel space.
        transform: (column, row) → (x, y); the identity where ``crs`` is None.
        width: columns.
        height: rows.
        placement: of pixel space, (column, row) → (x, y) in an unnamed system; None where nothing tells it.
        by_points: whether ground control points or RPCs, of which a grid knows nothing, tell where the raster lies.
    """

    crs: CRS | None
    transform: Affine
    width: int
    height: int
    placement: Affine | None = None
    by_points: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, dataset: DatasetReader) -> Grid:
        """Return the grid of an open dataset; without CRS, its pixel space."""
        by_points = dataset.transform == Affine.identity() and bool(dataset.gcps[0] or dataset.rpcs)
        if not dataset.crs:
            told = dataset.transform != Affine.identity() and not dataset.transform.is_degenerate
            placement = dataset.transform if told else None
            return cls(None, Affine.identity(), dataset.width, dataset.height, placement, by_points)
        return cls(dataset.crs, dataset.transform, dataset.width, dataset.height, by_points=by_points)

    @property
    def geotransform(self) -> Affine | None:
        """What a file of this grid is to say of its place; None where nothing is known of it."""
        if self.crs is not None:
            return self.transform
        return None if self.placement is None else self.placement @ self.transform

    def beside(self, other: Grid) -> Grid:
        """Return this grid in the pixel space of another, if both have no CRS, else as it is.

        Two that are placed in an unnamed system are taken to be in the same; if only one is, or none, their first
        pixels lie on each other.
        """
        if self.crs is not None or other.crs is not None or self.placement == other.placement:
            return self
        if self.placement is None or other.placement is None:
            return replace(self, placement=other.placement)
        moved = ~other.placement @ self.placement @ self.transform
        return replace(self, transform=moved, placement=other.placement)

    @property
    def is_rotated(self) -> bool:
        """Whether rows or columns are not parallel to the axes of the CRS."""
        pixel = abs(self.transform.a) + abs(self.transform.e)
        return abs(self.transform.b) + abs(self.transform.d) > 1e-9 * pixel

    def require_north_up(self, name: str | Path) -> None:
        """Refuse a grid whose rows and columns are not parallel to the axes of the CRS.

        Args:
            name: of the raster, for the message.

        Raises:
            InputError: ``rotated``; as of :meth:`require_grid`.
        """
        self.require_grid(name)
        if self.is_rotated:
            raise InputError(
                f"{name} is rotated against its coordinate axes (transform {list(self.transform)[:6]}).",
                hint="Make it north-up first: gdalwarp IN OUT, or Raster > Projections > Warp in QGIS.",
                code="rotated",
            )

    def require_grid(self, name: str | Path) -> None:
        """Refuse a raster that lies somewhere, but not on a grid: its pixels are not where those of another one are.

        Args:
            name: of the raster, for the message.

        Raises:
            InputError: ``no_grid``.
        """
        if self.by_points:
            raise InputError(
                f"{name} has no grid: only ground control points or RPCs tell where it lies.",
                hint="Warp it first: gdalwarp IN OUT (for RPCs with -rpc), or Raster > Projections > Warp in QGIS.",
                code="no_grid",
            )

    @property
    def window(self) -> Window:
        """The whole grid as a window."""
        return Window(0, 0, self.width, self.height)

    def windows(self, side: int) -> Iterator[Window]:
        """Yield the grid in windows of so many pixels a side, smaller at the edges, row by row."""
        for row in range(0, self.height, side):
            for column in range(0, self.width, side):
                yield Window(column, row, min(side, self.width - column), min(side, self.height - row))

    def scaled(self, factor: float) -> Grid:
        """Return the grid of the same ground with ``factor`` times as many pixels a side.

        Sizes round to the nearest, so that the centres of the last row and column lie on the raster: beyond it a pixel
        has no value, and all that is made from it would be nodata. Halves round down, for there the centre would lie on
        the very edge. At least one pixel remains; of a side of less than half a pixel that one's centre lies beyond.
        """
        # What is left of a half after rounding errors of coordinates is one, too.
        width, height = (max(1, ceil(side * factor - 0.5 - 1e-6)) for side in (self.width, self.height))
        return replace(self, transform=self.transform @ Affine.scale(1 / factor), width=width, height=height)

    def shifted(self, columns: float, rows: float) -> Grid:
        """Return the same grid moved by a (fractional) number of pixels."""
        return replace(self, transform=self.transform @ Affine.translation(columns, rows))

    def crop(self, window: Window) -> Grid:
        """Return the grid of a window with whole-numbered offsets."""
        moved = self.transform @ Affine.translation(window.col_off, window.row_off)
        return replace(self, transform=moved, width=window.width, height=window.height)

    def bounds(self) -> Bounds:
        """Return left, bottom, right, top, of a rotated grid those of all its corners."""
        corners = ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        x, y = zip(*(self.transform @ corner for corner in corners), strict=True)
        return min(x), min(y), max(x), max(y)

    def window_of(self, bounds: Bounds) -> Window:
        """Return the part of this grid inside ``bounds``, edges rounded to the nearest pixel.

        Raises:
            InputError: ``empty_extent`` where no pixel is inside, ``no_overlap`` where the bounds
                lie outside the raster.
        """
        left, bottom, right, top = bounds
        corners = [~self.transform @ (x, y) for x, y in ((left, top), (right, bottom))]
        columns = sorted(column for column, _ in corners)
        rows = sorted(row for _, row in corners)
        if columns[1] <= 0 or rows[1] <= 0 or columns[0] >= self.width or rows[0] >= self.height:
            raise InputError(
                f"The extent {_spoken(bounds)} lies outside the raster, which covers {_spoken(self.bounds())}.",
                hint="Give left, bottom, right, top in the CRS of the before raster.",
                code="no_overlap",
            )
        c0, c1 = (round(min(max(column, 0), self.width)) for column in columns)
        r0, r1 = (round(min(max(row, 0), self.height)) for row in rows)
        if c1 <= c0 or r1 <= r0:
            raise InputError(
                f"The extent {_spoken(bounds)} is {c1 - c0} × {r1 - r0} pixels: at least one is needed.",
                hint="Draw a larger extent, or leave it out to use the whole raster.",
                code="empty_extent",
            )
        return Window(c0, r0, c1 - c0, r1 - r0)


def _spoken(bounds: Bounds) -> str:
    return "(" + ", ".join(f"{value:.10g}" for value in bounds) + ")"
