"""The sample scene as georeferenced files: something to try the tools on, drawn by code and said to be so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.ndimage
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from changen2.scenes.classes import CLASSES
from changen2.scenes.pair import ScenePair, draw_pair
from changen2.scenes.style import SOILS, SceneStyle

CRS = "EPSG:32633"
ORIGIN = (512_340.0, 5_402_780.0)  # upper left corner of ``before``: x, y in metres
GSD = 0.4
AFTER_GSD = 0.43  # the second flight has its own grid, as real second flights do
AFTER_OFFSET = (-3.3, 2.7)  # metres from the corner of ``before`` to that of ``after``
MARGIN = 12  # pixels drawn around ``before`` so that ``after`` covers it

BYTES_PER_PIXEL = 640
"""Memory that drawing takes at its peak: the canvas of one date, with its light, at four subpixels a pixel."""


def sample_style(seed: int) -> SceneStyle:
    """A suburb at the edge of fields, of which a new quarter is built between the dates."""
    style = SceneStyle.random(np.random.default_rng(seed), "suburb")
    before = replace(style.before, lean=(0.02, 0.05), haze=0.03, jpeg=None, exposure=1.05, contrast=1.1)
    after = replace(style.after, lean=(0.09, -0.04), haze=0.05, jpeg=None, exposure=1.0, contrast=1.1)
    return replace(
        style,
        lot_width=19.0,
        lot_depth=29.0,
        growth=0.4,
        fields=True,
        created=0.2,
        removed=0.06,
        paved_yards=0.15,
        tree_density=70.0,
        soil=SOILS[3],
        before=before,
        after=after,
    )


def write_sample(
    folder: str | Path, size: int = 1024, seed: int = 7, check: Callable[[], None] = lambda: None
) -> dict[str, Path]:
    """Write ``before.tif``, ``after.tif``, ``labels_before.tif`` and ``change_reference.tif``.

    Args:
        folder: made if need be.
        size: rows and columns of ``before``.
        seed: the same seed draws the same files.
        check: called again and again; what it raises ends the work.

    Returns:
        The paths by the names before, after, labels_before, change_reference.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pair = draw_pair(seed, size + 2 * MARGIN, size + 2 * MARGIN, GSD, sample_style(seed), check)
    core = (slice(MARGIN, MARGIN + size), slice(MARGIN, MARGIN + size))
    transform = Affine(GSD, 0, ORIGIN[0], 0, -GSD, ORIGIN[1])
    after, after_transform = _second_flight(pair, size)
    paths = {name: folder / f"{name}.tif" for name in ("before", "after", "labels_before", "change_reference")}
    _write(paths["before"], np.moveaxis(pair.before[core], -1, 0), transform, "2020-06-14")
    check()
    _write(paths["after"], after, after_transform, "2024-05-02")
    check()
    _write(paths["labels_before"], pair.semantic_before[core][None], transform, "2020-06-14", classes=True)
    _write(paths["change_reference"], pair.change[core][None].astype(np.uint8), transform, "")
    return paths


def _second_flight(pair: ScenePair, size: int) -> tuple[NDArray[np.uint8], Affine]:
    """``after`` [3, h, w] resampled (cubic) to its own grid, with that grid's transform."""
    ratio = AFTER_GSD / GSD
    start = (MARGIN - AFTER_OFFSET[1] / GSD, MARGIN + AFTER_OFFSET[0] / GSD)
    count = int((size + 2 * MARGIN - max(start) - 1) / ratio)
    # Pixel centres of the new grid in the drawn picture's pixel coordinates.
    offset = [start[0] + 0.5 * ratio - 0.5, start[1] + 0.5 * ratio - 0.5]
    bands = [
        scipy.ndimage.affine_transform(
            pair.after[..., c].astype(np.float32),
            [ratio, ratio],
            offset,
            (count, count),
            order=3,
            mode="nearest",
        )
        for c in range(3)
    ]
    transform = Affine(AFTER_GSD, 0, ORIGIN[0] + AFTER_OFFSET[0], 0, -AFTER_GSD, ORIGIN[1] + AFTER_OFFSET[1])
    return np.clip(np.rint(np.stack(bands)), 0, 255).astype(np.uint8), transform


def _write(path: Path, bands: NDArray[np.uint8], transform: Affine, date: str, *, classes: bool = False) -> None:
    count, height, width = bands.shape
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": count, "dtype": "uint8", "crs": CRS,
        "transform": transform, "compress": "deflate", "predictor": 2, "tiled": True,
        "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    # Made in memory: GDAL keeps to itself what goes wrong when it closes a file, such as a full disk.
    with MemoryFile() as made:
        with made.open(**profile) as target:
            target.write(bands)
            target.update_tags(DESCRIPTION="Simulated scene drawn by code; no real place.", SIMULATED="yes")
            if date:
                target.update_tags(TIFFTAG_DATETIME=date.replace("-", ":") + " 10:30:00")
            if count == 3:
                target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
            if classes:
                target.write_colormap(1, {index: (*colour, 255) for index, (_, colour) in CLASSES.items()})
                target.update_tags(1, **{f"CLASS_{index}": name for index, (name, _) in CLASSES.items()})
        path.write_bytes(made.getbuffer())
