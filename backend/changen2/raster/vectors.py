"""From a change map to polygons with true areas, streamed: the raster is never held whole."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.raster.gdal import cache_for
from changen2.raster.grid import Grid
from changen2.raster.ground import area_m2
from changen2.raster.outlines import outlines
from changen2.raster.reading import broken_pixels, check_overlap, open_raster, warp
from changen2.raster.under import pixels_under
from changen2.raster.vector_files import for_pyogrio
from changen2.raster.writing import disk_errors

UNKNOWN_CLASS = 255
"""Nodata of class maps."""

UNCHANGED = "UNCHANGED_CLASSES"
"""Metadata item of a class of change."""

SEGMENT_PIXELS = 64
"""Longest straight edge, in pixels, before it is projected to the ellipsoid."""

BATCH = 50_000
"""Polygons that are written at once, in a second or so: a backend that says nothing for 30 s is taken for dead."""

FIELDS = {
    "area_m2": np.float64,
    "area_px": np.int64,
    "mean_probability": np.float64,
    "from_class": object,
    "to_class": object,
    "review": object,
}


@dataclass(frozen=True)
class Classes:
    """Class maps of both dates beside a change map.

    Attributes:
        before, after: class index rasters; ``after`` is the class of change where the model tells one (such as a
            damage level).
        names: of each, index → name; an index without one is written as a number.
        unchanged: indices of ``after`` that mean that nothing changed, where it is the class of change, else empty.
    """

    before: str
    after: str
    names: tuple[dict[int, str], dict[int, str]]
    unchanged: tuple[int, ...] = ()

    @classmethod
    def beside(cls, probability: str | Path) -> Classes | None:
        """Return the class maps in the same folder, named by their own metadata; None where there are none."""
        folder = os.path.dirname(probability)  # noqa: PTH120 - see `may_be_there`
        before, after, of_change = (
            f"{folder}/{name}.tif" if folder else f"{name}.tif"
            for name in ("semantic_before", "semantic_after", "change_class")
        )
        after = of_change if _is_there(of_change) else after
        if not (_is_there(before) and _is_there(after)):
            return None
        tags = []
        for path in (before, after):
            with open_raster(path) as dataset:
                tags.append(dataset.tags())
        unchanged = read_unchanged(tags[1]) if after == of_change else ()
        return cls(before, after, (read_class_tags(tags[0]), read_class_tags(tags[1])), unchanged)

    def share_ground_with(self, grid: Grid) -> bool:
        """Whether both maps say something of a grid's ground; without CRS only the very grid is known to be there."""
        for path in (self.before, self.after):
            with open_raster(path) as dataset:
                own = Grid.of(dataset).beside(grid)
            if own == grid:
                continue
            if own.crs is None or grid.crs is None:
                return False
            try:
                check_overlap(own, grid, path, "the change map")
            except InputError:
                return False
        return True


def _is_there(path: str) -> bool:
    if os.path.exists(path):  # noqa: PTH110 - also false for what is no path
        return True
    try:
        open_raster(path).close()
    except InputError:
        return False
    return True


def open_classes(path: str | Path, grid: Grid, files: ExitStack) -> DatasetReader:
    """Open a class map on a grid, warped to it by nearest neighbour where it is on another.

    Raises:
        InputError: it cannot be read, or ``no_overlap``.
    """
    dataset = files.enter_context(open_raster(path))
    own = Grid.of(dataset).beside(grid)
    if own == grid:
        return dataset
    check_overlap(own, grid, path, "the change map")
    return files.enter_context(warp(dataset, grid, Resampling.nearest, nodata=UNKNOWN_CLASS))


def class_tags(names: dict[int, str], unchanged: Iterable[int] | None = None) -> dict[str, str]:
    """Return metadata items that carry class names with a class map.

    Args:
        names: index → name.
        unchanged: indices of a class of change that mean that nothing changed; None for other maps.
    """
    tags = {f"CLASS_{index}": name for index, name in names.items()}
    return tags if unchanged is None else tags | {UNCHANGED: " ".join(map(str, unchanged))}


def read_class_tags(tags: dict[str, str]) -> dict[int, str]:
    """Return the class names that ``class_tags`` wrote."""
    return {int(key[6:]): name for key, name in tags.items() if key.startswith("CLASS_") and key[6:].isdigit()}


def read_unchanged(tags: dict[str, str]) -> tuple[int, ...]:
    """Return the unchanged indices that ``class_tags`` wrote; 0 alone where there are none."""
    return tuple(int(index) for index in tags.get(UNCHANGED, "0").split())


@dataclass(frozen=True)
class ChangePolygon:
    """One connected change (4-connected, so that its polygon is valid).

    Attributes:
        geometry: in the raster's CRS; without one in (column, row), y down.
        area_m2: on the ellipsoid; None without CRS.
        area_px: pixels.
        mean_probability: 0..1 over its pixels.
        from_class: class before in the most frequent change of class, or None without a semantic model.
        to_class: class after in it, or the most frequent class of change; None where there is none.
    """

    geometry: BaseGeometry
    area_m2: float | None
    area_px: int
    mean_probability: float
    from_class: str | None
    to_class: str | None


def total_area(polygons: Sequence[ChangePolygon]) -> float | None:
    """m² of all polygons; None without CRS."""
    areas = [polygon.area_m2 for polygon in polygons if polygon.area_m2 is not None]
    return sum(areas) if len(areas) == len(polygons) else None


def change_polygons(
    change: Path,
    probability: str | Path,
    *,
    min_area: float = 0.0,
    classes: Classes | None = None,
    on_polygon: Callable[[int], None] = lambda _: None,
) -> Iterator[ChangePolygon]:
    """Yield the connected changes of a change map.

    Args:
        change: 0/1 raster, nodata 255.
        probability: change probability on the same grid, v in 1..255 is p = (v − 1) / 254.
        min_area: m² below which a polygon is left out (pixels where there is no CRS).
        classes: class maps of both dates, for ``from_class`` and ``to_class``; on another grid they are read at the
            same place.
        on_polygon: called with the number of polygons seen so far, also again and again before the first one and while
            a large one is measured; may raise to cancel.
    """
    with rasterio.open(change) as dataset, rasterio.open(probability) as probabilities, ExitStack() as files:
        files.enter_context(rasterio.Env(GDAL_CACHEMAX=cache_for(dataset)))
        grid = Grid.of(dataset)
        edge = SEGMENT_PIXELS * max(abs(grid.transform.a), abs(grid.transform.e))
        maps = [open_classes(path, grid, files) for path in (classes.before, classes.after)] if classes else []
        found = files.enter_context(closing(outlines(change, change, 4, lambda: on_polygon(0))))
        changed = (_in_grid(geometry, grid) for geometry, value in found if value == 1)
        for count, geometry in enumerate(changed, 1):
            on_polygon(count)
            area = area_m2(geometry, grid.crs, edge)
            pixels = round(geometry.area / abs(grid.transform.determinant))
            if (pixels if area is None else area) < min_area:
                continue
            mean, together = _measure(geometry, grid, probabilities, maps, partial(on_polygon, count))
            pair: list[str | None] = [None, None]
            if classes and together.any():
                indices = _from_and_to(together, classes.names[0] == classes.names[1], classes.unchanged)
                pair = [
                    None if i is None else names.get(i, str(i)) for names, i in zip(classes.names, indices, strict=True)
                ]
            yield ChangePolygon(geometry, area, pixels, mean, *pair)


def write_polygons(
    path: Path, polygons: list[ChangePolygon], grid: Grid, check: Callable[[], None] = lambda: None
) -> None:
    """Write ``change.gpkg`` (layer ``change``), every polygon unreviewed.

    Args:
        path: of a file that is not there yet.
        polygons: of a change map.
        grid: of the change map.
        check: called before each ``BATCH`` of them, during which no other thread gets to run; may raise to cancel.
    """
    with warnings.catch_warnings():
        # Without CRS is meant: such polygons are in pixels.
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        for first in range(0, max(1, len(polygons)), BATCH):
            check()
            with disk_errors(path):
                _write(path, polygons[first : first + BATCH], grid, append=first > 0)


def _write(path: Path, polygons: list[ChangePolygon], grid: Grid, append: bool) -> None:
    columns: dict[str, list[object]] = {
        "area_m2": [np.nan if p.area_m2 is None else p.area_m2 for p in polygons],
        "area_px": [p.area_px for p in polygons],
        "mean_probability": [p.mean_probability for p in polygons],
        "from_class": [p.from_class for p in polygons],
        "to_class": [p.to_class for p in polygons],
        "review": ["unreviewed" for _ in polygons],
    }
    with for_pyogrio(path) as file:
        pyogrio.raw.write(
            file,
            geometry=shapely.to_wkb(np.array([p.geometry for p in polygons], dtype=object)),
            field_data=[np.array(columns[name], dtype=kind) for name, kind in FIELDS.items()],
            fields=list(FIELDS),
            layer="change",
            driver="GPKG",
            geometry_type="Polygon",
            crs=grid.crs.to_wkt() if grid.crs else None,
            nan_as_null=True,
            append=append,
        )


def _measure(
    geometry: BaseGeometry,
    grid: Grid,
    probabilities: DatasetReader,
    maps: list[DatasetReader],
    check: Callable[[], None],
) -> tuple[float, NDArray[np.int64]]:
    """Mean probability under one polygon, and how often ``[before, after]`` each two classes meet there."""
    total, pixels = 0, 0
    together = np.zeros(256 * 256, np.int64)
    for window, inside in pixels_under(geometry, grid, check):
        values = probabilities.read(1, window=window)[inside].astype(np.int64)
        total += int((values - 1).sum())
        pixels += values.size
        if maps:
            before, after = (_under(opened, window)[inside].astype(np.int64).ravel() for opened in maps)
            together += np.bincount(before * 256 + after, minlength=256 * 256)
    return total / 254 / max(1, pixels), together.reshape(256, 256)[:255, :255]


def _under(classes: DatasetReader, window: Window) -> NDArray[np.uint8]:
    with broken_pixels(classes.name):
        return classes.read(1, window=window)


def _from_and_to(together: NDArray[np.int64], of_two_dates: bool, unchanged: tuple[int, ...]) -> tuple[int, int | None]:
    """The class before and after that say best what changed.

    Of two dates' classes it is the most frequent transition: most of a polygon may be of one class at both dates where
    its edges are generous, but "land to land" is no change. Of classes of change it is one that means a change.
    """
    if not of_two_dates:
        kinds = together.sum(axis=0)
        kinds[list(unchanged)] = 0
        return int(together.sum(axis=1).argmax()), int(kinds.argmax()) if kinds.any() else None
    changed = together.copy()
    np.fill_diagonal(changed, 0)
    before, after = np.unravel_index((changed if changed.any() else together).argmax(), together.shape)
    return int(before), int(after)


def _in_grid(geometry: BaseGeometry, grid: Grid) -> BaseGeometry:
    """A polygon in the grid's coordinates; GDAL gives it where the file is placed, in pixel space too."""
    if grid.placement is None:
        return geometry
    to_pixels = ~grid.placement
    # Corners of pixels are whole numbers, but for what the arithmetic loses.
    return shapely.transform(geometry, lambda x, y: np.round(to_pixels @ (x, y)), interleaved=False)
