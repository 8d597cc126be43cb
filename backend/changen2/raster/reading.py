"""Read any raster on the reference grid: uint8 bands and one valid mask, window by window."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_NotSupportedError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from changen2.errors import InputError
from changen2.paths import may_be_there
from changen2.raster.gdal import GDAL_CACHE_MB, keep_blocks
from changen2.raster.grid import Bounds, Grid
from changen2.raster.longitudes import crosses_antimeridian, unbroken
from changen2.raster.radiometry import Stretch, stretch_of
from changen2.raster.validity import Validity, of_bytes

PIXEL_SPACE = CRS.from_epsg(3857)
"""Stands in where a raster without CRS has to be resampled; never written to an output."""

FILL = np.array([124, 116, 104], np.uint8)
"""What invalid pixels look like to a model, on both dates: ImageNet's mean, so neither bright nor dark."""

PROBABILITY_BAND = "Change probability"
"""How the description begins of the band in which a detection stores its probability."""

WARP_TOLERANCE = 1e-6
"""Source pixels; as good as exact (rasterio 1.4 fails on 0 itself)."""

UNREADABLE_HINT = "Open it in QGIS or run gdalinfo on it; a truncated download has to be fetched again."


@contextmanager
def broken_pixels(name: str | Path) -> Iterator[None]:
    """Say which raster is broken where its pixels cannot be read, though it opened.

    Raises:
        InputError: ``unreadable``.
    """
    try:
        yield
    except (RasterioError, OSError) as error:
        raise InputError(
            f"{name} is broken: {error.__cause__ or error}. It opens, but its pixels cannot be read.",
            hint=UNREADABLE_HINT,
            code="unreadable",
        ) from error


def open_raster(path: str | Path) -> DatasetReader:
    """Open a raster of real numbers for reading.

    Raises:
        InputError: ``missing_file`` or ``unreadable``; ``bad_band`` where numbers are complex.
    """
    if not may_be_there(path):
        raise InputError(f"There is no file {path}.", hint="Check the path.", code="missing_file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path)
    except RasterioError as error:
        raise InputError(
            f"{path} cannot be read as a raster: {error}", hint=UNREADABLE_HINT, code="unreadable"
        ) from error
    if dataset.count == 0 or dataset.width == 0 or dataset.height == 0:
        raise InputError(
            f"{path} holds no raster band ({dataset.count} bands, {dataset.width} × {dataset.height} pixels).",
            hint="For a container file, name one of its subdatasets.",
            code="unreadable",
        )
    if kinds := sorted({kind for kind in dataset.dtypes if kind.startswith("complex")}):
        raise InputError(
            f"{path} holds complex numbers ({', '.join(kinds)}), as radar images do before their amplitude is taken.",
            hint="Take the amplitude of a band first: gdal_calc.py -A IN --calc='abs(A)' --type=Float32 --outfile=OUT.",
            code="bad_band",
        )
    keep_blocks(dataset)
    return dataset


def parts_of(dataset: DatasetReader) -> list[str]:
    """Return the files that a virtual mosaic is made of, none for any other raster.

    The mosaic's own overviews and side files, which GDAL lists too, are none.
    """
    if dataset.driver != "VRT":
        return []
    return [name for name in dataset.files[1:] if not name.startswith(f"{dataset.files[0]}.")]


def is_probability(dataset: DatasetReader, band: int = 1) -> bool:
    """Whether a band is a detection's change probability, by its description.

    A virtual mosaic keeps no description, but its parts do.
    """
    if (parts := parts_of(dataset)) and not any(dataset.descriptions):
        try:
            with open_raster(parts[0]) as part:
                return band <= part.count and is_probability(part, band)
        except InputError:  # raw bytes, of which the mosaic alone tells what they are
            return False
    return (dataset.descriptions[band - 1] or "").startswith(PROBABILITY_BAND)


def choose_bands(dataset: DatasetReader, wanted: tuple[int, ...] | None) -> tuple[int, int, int]:
    """Return the three bands that a model sees as red, green and blue, counted from 1.

    Args:
        dataset: an open raster.
        wanted: one band (repeated) or three; None takes red, green and blue by colour
            interpretation, else bands 1, 2, 3, else band 1 repeated.

    Raises:
        InputError: ``bad_band``.
    """
    usable = [i + 1 for i, colour in enumerate(dataset.colorinterp) if colour != ColorInterp.alpha]
    if wanted is None:
        colours = {colour: i + 1 for i, colour in reversed(list(enumerate(dataset.colorinterp)))}
        rgb = [colours.get(colour, 0) for colour in (ColorInterp.red, ColorInterp.green, ColorInterp.blue)]
        chosen = rgb if all(rgb) else (usable[:3] if len(usable) >= 3 else usable[:1])
    else:
        chosen = list(wanted)
    if len(chosen) == 1:
        chosen = chosen * 3
    if len(chosen) != 3 or not all(band in range(1, dataset.count + 1) for band in chosen):
        raise InputError(
            f"Bands {','.join(map(str, chosen)) or 'none'} for {dataset.name}: it has bands 1 to {dataset.count}.",
            hint="Give one band or three, such as 1,2,3.",
            code="bad_band",
        )
    return chosen[0], chosen[1], chosen[2]


class AlignedRaster:
    """One date on the reference grid.

    A raster already on the grid is read as it is; any other is warped to it on the fly (bilinear),
    over the whole grid without tolerance, so a window does not depend on what else is read. Use
    as a context manager; use from one thread at a time.

    Args:
        path: the raster.
        grid: the reference grid.
        bands: see ``choose_bands``.
        stretch: the raster's radiometry; measured when it is first needed where None.

    Raises:
        InputError: as of ``open_raster`` and ``choose_bands``; ``bad_band`` where a band holds numbers of
            colours or a change probability, or the bands are of several data types.
    """

    def __init__(
        self, path: str | Path, grid: Grid, bands: tuple[int, ...] | None = None, stretch: Stretch | None = None
    ) -> None:
        self._dataset = open_raster(path)
        self.bands = choose_bands(self._dataset, bands)
        self._check_brightness()
        self.own_grid = Grid.of(self._dataset).beside(grid)
        self._grid = grid
        self._distinct = tuple(dict.fromkeys(self.bands))
        self._place = [self._distinct.index(band) for band in self.bands]
        self._validity = Validity(self._dataset, self._distinct)
        self._warps = self.own_grid != grid
        self._reader = self._warped() if self._warps else self._dataset
        if stretch is not None:
            self.stretch = stretch

    def __enter__(self) -> AlignedRaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        if self._warps:
            self._reader.close()
        self._dataset.close()

    @cached_property
    def stretch(self) -> Stretch:
        """The raster's radiometry. Without overviews the whole raster is read for it.

        Raises:
            InputError: ``no_valid_pixels``, or ``unreadable`` where the file turns out broken.
        """

        def valid_of(values: NDArray[np.generic], shape: tuple[int, int], window: Window) -> NDArray[np.bool_]:
            return self._validity.of(values, self._dataset, out_shape=shape, window=window)

        with broken_pixels(self._dataset.name):
            return stretch_of(self._dataset, self._distinct, valid_of)

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read one window.

        Args:
            window: inside the reference grid.

        Returns:
            ``[3, h, w]`` uint8 (as stored; invalid pixels hold anything) and the valid mask ``[h, w]``.

        Raises:
            InputError: ``unreadable`` where the file turns out broken; as of ``stretch``.
        """
        values, valid = self._read(window)
        return self.stretch(values)[self._place], valid

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """Read the valid mask of a window alone, for which no radiometry is needed; as of ``read``."""
        return self._read(window)[1]

    def _read(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        with broken_pixels(self._dataset.name):
            values = self._reader.read(self._distinct, window=window)
            return values, self._validity.of(values, self._reader, window=window)

    def footprint(self) -> Window | None:
        """Return the part of the reference grid that the raster's rectangle takes, edges rounded to the nearest pixel.

        Of one that does not lie along the grid it is what holds all of it; None where it takes no pixel.
        """
        if _holds(self.own_grid, _bounds_on(self.own_grid, self._grid)):
            return self._grid.window
        bounds = _bounds_on(self._grid, self.own_grid)
        try:
            return self._grid.window_of(bounds) if np.isfinite(bounds).all() else self._grid.window
        except InputError:
            return None

    def _check_brightness(self) -> None:
        kinds = sorted({self._dataset.dtypes[band - 1] for band in self.bands})
        if len(kinds) > 1:
            raise InputError(
                f"Bands {','.join(map(str, self.bands))} of {self._dataset.name} are of several data types: "
                f"{', '.join(kinds)}.",
                hint="Choose bands of one type, or make them one: gdal_translate -ot UInt16 IN OUT.",
                code="bad_band",
            )
        if any(self._dataset.colorinterp[band - 1] == ColorInterp.palette for band in self.bands):
            raise InputError(
                f"{self._dataset.name} has a colour table: its values are no brightness.",
                hint="Expand it first: gdal_translate -expand rgb IN OUT, or Raster > Conversion > PCT to RGB in QGIS.",
                code="bad_band",
            )
        if len(set(self.bands)) == 1 and is_probability(self._dataset, self.bands[0]):
            raise InputError(
                f"{self._dataset.name} is a change probability, the result of a detection: it is no image.",
                hint="Give the image of one date.",
                code="bad_band",
            )

    def _warped(self) -> WarpedVRT:
        check_crs(self.own_grid, self._grid, self._dataset.name, "the raster that gives the grid")
        source, destination = self._validity.to_warp()
        return warp(source, self._grid, Resampling.bilinear, **destination)


def warp(dataset: DatasetReader, grid: Grid, resampling: Resampling, **destination: object) -> WarpedVRT:
    """Return a raster on another grid, warped on the fly.

    Args:
        dataset: the raster.
        grid: covered wholly.
        resampling: the kernel.
        **destination: nodata or alpha of the result, as ``WarpedVRT`` takes them.
    """
    own = Grid.of(dataset).beside(grid)
    if crosses_antimeridian(own) or crosses_antimeridian(grid):
        own = replace(own, crs=unbroken(own))
    # The warper would derive the resampling kernel's size from each window; fixed here, it is the
    # same everywhere, and so are the pixels of any two windows that share them.
    # None can be told where the middle of the grid lies beside the globe.
    kernel = {
        name: f"{scale:.9g}" for name, scale in zip(("XSCALE", "YSCALE"), _scale(own, grid), strict=True) if scale > 0
    }
    return WarpedVRT(
        of_bytes(dataset),
        src_crs=own.crs or PIXEL_SPACE,
        src_transform=own.transform,
        crs=grid.crs or PIXEL_SPACE,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=resampling,
        tolerance=WARP_TOLERANCE,
        warp_mem_limit=GDAL_CACHE_MB,
        **{"src_nodata": dataset.nodata, **kernel, **destination},
    )


def check_crs(own: Grid, grid: Grid, name: str | Path, base: str | Path) -> None:
    """Refuse two rasters of which nobody can tell how they lie to each other.

    Only one has a CRS, one has no grid, or nothing leads from the CRS of the one to that of the other.

    Args:
        own: grid of the one.
        grid: of the other.
        name: of the one, for the message.
        base: of the other.

    Raises:
        InputError: ``no_overlap``; as of :meth:`Grid.require_grid`.
    """
    own.require_grid(name)
    grid.require_grid(base)
    if (own.crs is None) != (grid.crs is None):
        without, other = (name, base) if own.crs is None else (base, name)
        raise InputError(
            f"Only one of two rasters has a coordinate reference system: {without} has none, {other} has one.",
            hint="Assign it its CRS (in QGIS: Raster > Projections > Assign projection).",
            code="no_overlap",
        )
    try:
        _bounds_in(grid.crs, own)
    except CPLE_NotSupportedError as error:
        raise unrelated(name, base) from error


def unrelated(name: str | Path, base: str | Path) -> InputError:
    """What to say where no transformation leads from the CRS of one file to that of another."""
    return InputError(
        f"The coordinate systems of {name} and {base} cannot be related to each other: one is local, or of another "
        "celestial body.",
        hint="Give both the same one: assign it (in QGIS: Assign projection), or georeference what is local.",
        code="no_overlap",
    )


def check_overlap(own: Grid, grid: Grid, name: str | Path, base: str | Path) -> None:
    """Refuse two rasters that share no ground, or of which nobody can tell.

    Args, Raises:
        As of :func:`check_crs`.
    """
    check_crs(own, grid, name, base)
    own = own.beside(grid)
    # The box of the larger one, such as the whole earth, may fold or burst in the coordinates of the smaller one.
    if not (_meets(grid, _bounds_on(grid, own)) or _meets(own, _bounds_on(own, grid))):
        raise InputError(
            f"The two rasters do not overlap: in {'one CRS' if grid.crs else 'pixels'} {base} covers "
            f"{_spoken(grid.bounds())} and {name} {_spoken(_bounds_in(grid.crs, own))}.",
            hint="Check that both show the same place and carry the right CRS.",
            code="no_overlap",
        )


def _bounds_on(grid: Grid, own: Grid) -> Bounds:
    """The bounds of another grid in the coordinates of one, of degrees in the turn of longitudes that meets it."""
    bounds = _bounds_in(grid.crs, own)
    return bounds if _meets(grid, bounds) else _bounds_in(unbroken(grid), own)


def _meets(grid: Grid, bounds: Bounds) -> bool:
    left, bottom, right, top = grid.bounds()
    return not (bounds[0] >= right or bounds[2] <= left or bounds[1] >= top or bounds[3] <= bottom)


def _holds(grid: Grid, bounds: Bounds) -> bool:
    """Whether bounds lie inside a grid; those that turn over at the antimeridian, left beyond right, do not."""
    left, bottom, right, top = grid.bounds()
    return left <= bounds[0] <= bounds[2] <= right and bottom <= bounds[1] and bounds[3] <= top


def _bounds_in(crs: CRS | None, grid: Grid) -> Bounds:
    if crs is None or grid.crs is None or crs == grid.crs:
        return grid.bounds()
    return transform_bounds(grid.crs, crs, *grid.bounds())


def _scale(own: Grid, grid: Grid) -> tuple[float, float]:
    """Output pixels per source pixel, across and down, at the middle of the grid."""
    own_crs, grid_crs = own.crs or PIXEL_SPACE, grid.crs or PIXEL_SPACE
    middle = Grid(grid_crs, grid.transform, grid.width, grid.height).crop(
        Window(grid.width // 2, grid.height // 2, 1, 1)
    )
    left, bottom, right, top = transform_bounds(grid_crs, own_crs, *middle.bounds())
    pixel = from_bounds(left, bottom, right, top, 1, 1)
    own_width = float(np.hypot(own.transform.a, own.transform.d))
    own_height = float(np.hypot(own.transform.b, own.transform.e))
    across, down = own_width / abs(pixel.a), own_height / abs(pixel.e)
    # Within a thousandth of 1 it is 1: the plain 2 × 2 kernel, which is what equal resolutions want.
    return tuple(1.0 if abs(scale - 1) < 1e-3 else min(scale, 1.0) for scale in (across, down))  # type: ignore[return-value]


def _spoken(bounds: tuple[float, float, float, float]) -> str:
    return "(" + ", ".join(f"{value:.10g}" for value in bounds) + ")"
