"""Ponds that fill and dry up between the dates of real aerial images, for the benchmark of fine-tuning.

Ten summers of one square of prairie, 5 m a pixel: each year other crops in other colours, each flight in another light.
Where water stands is read from the near infrared, which water swallows and which no detector gets to see.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from changen2.training.places import IGNORE, Place, PlacePair

GSD = 5.0
SIDE = 180
"""Of a tile, pixels: four rows and five columns of them fit into the images."""
ROWS, COLUMNS = 4, 5
UNSURE = 0.15
"""How near the threshold nothing is said, as a share of the way from water to land."""
CHANGED = 0.01
"""The least share of a tile that has to have changed."""


def water_of(infrared: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where it is dark, as water is, 0 where not, IGNORE in between; by Otsu's threshold."""
    smooth = gaussian_filter(infrared.astype(np.float64), 0.7)
    threshold = threshold_otsu(smooth)
    margin = UNSURE * (smooth[smooth >= threshold].mean() - smooth[smooth < threshold].mean())
    water = np.full(infrared.shape, IGNORE, np.uint8)
    water[smooth < threshold - margin] = 1
    water[smooth > threshold + margin] = 0
    return water


class Date(NamedTuple):
    """Image uint8 ``[h, w, 3]`` and water uint8 ``[h, w]`` of one date."""

    image: NDArray[np.uint8]
    water: NDArray[np.uint8]


def read_dates(folder: Path) -> list[Date]:
    """Every date, on the first one's grid."""
    dates = []
    paths = sorted(folder.glob("*.tif"))
    with rasterio.open(paths[0]) as first:
        grid = {"crs": first.crs, "transform": first.transform, "width": COLUMNS * SIDE, "height": ROWS * SIDE}
    for path in paths:
        with rasterio.open(path) as dataset, WarpedVRT(dataset, resampling=Resampling.bilinear, **grid) as warped:
            red, green, blue, infrared = warped.read()
        dates.append(Date(np.stack([red, green, blue], axis=2), water_of(infrared)))
    return dates


def examples(imagery: Path, seed: int, pairs: int, measured: int) -> tuple[list[PlacePair], list[PlacePair]]:
    """Pairs to learn from, one column of tiles held out, and some of the other half of the land to measure on.

    Args:
        imagery: the folder that holds ``geo/naip``.
        seed: decides which half and which column, and which dates.
        pairs: how many to learn from.
        measured: how many to measure on.
    """
    rng = np.random.default_rng((11, seed))
    dates = read_dates(imagery / "geo" / "naip")

    def pair(row: int, column: int, held_out: bool) -> PlacePair:
        tile = np.s_[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        while True:
            first, second = (int(index) for index in rng.choice(len(dates), 2, replace=False))
            before, after = dates[first].image[tile], dates[second].image[tile]
            wet_before, wet_after = dates[first].water[tile], dates[second].water[tile]
            change = (wet_before != wet_after).astype(np.uint8)
            change[(wet_before == IGNORE) | (wet_after == IGNORE)] = IGNORE
            if (change == 1).mean() > CHANGED:
                break
        unknown = np.full(change.shape, IGNORE, np.uint8)
        name = f"{row} {column} {first} {second}"
        layers = ((before, unknown), (after, unknown), (after, change))
        return PlacePair(*(Place("ponds", name, image, label, GSD, held_out) for image, label in layers))

    half = ROWS // 2
    learned, other = (0, half) if seed % 2 == 0 else (half, 0)
    *inner, edge = range(COLUMNS) if seed % 4 < 2 else reversed(range(COLUMNS))
    known = [
        pair(learned + index % half, edge, True)
        if index % 5 == 4
        else pair(learned + index // len(inner) % half, inner[index % len(inner)], False)
        for index in range(pairs)
    ]
    return known, [pair(other + index // COLUMNS % half, index % COLUMNS, True) for index in range(measured)]
