"""Which pixels polygons cover, at the cost of what is near, however many corners they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

CORNERS = 4096
"""Of a polygon, beyond which it is cut in two: burning a window takes time for every corner, near or far."""

OVERLAP = 1e-3
"""Share of a polygon's length by which its halves overlap, so that no pixel's centre falls between them."""


class Cover:
    """Polygons, ready to be burnt into any window.

    Args:
        polygons: in any coordinates.
    """

    def __init__(self, polygons: Sequence[BaseGeometry]) -> None:
        self._pieces = [piece for polygon in polygons for piece in _cut(polygon)]
        self._tree = shapely.STRtree(self._pieces)

    def burn(self, shape: tuple[int, int], transform: Affine) -> NDArray[np.bool_]:
        """Return the pixels of a window whose centre lies in any of the polygons ``[h, w]``.

        Args:
            shape: height and width.
            transform: (column, row) → (x, y).
        """
        height, width = shape
        corners = [transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
        near = self._tree.query(shapely.Polygon(corners))
        if not len(near):
            return np.zeros(shape, bool)
        pieces = [self._pieces[index] for index in near]
        return rasterize(pieces, out_shape=shape, transform=transform, fill=0, dtype="uint8").astype(bool)

    def meets(self, rectangles: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Return for each of some rectangles ``[n]`` whether any of the polygons reaches into it ``[n]``."""
        at, near = self._tree.query(rectangles)
        pieces = self._tree.geometries
        shapely.prepare(pieces)  # each is asked about many rectangles
        found = np.zeros(len(rectangles), bool)
        found[at[shapely.intersects(pieces[near], rectangles[at])]] = True
        return found


def polygonal(shape: BaseGeometry) -> BaseGeometry:
    """What of a shape encloses an area, made valid; a shape of which all does is returned as it is.

    What remains of spikes and of collapsed parts, and lines beside polygons, would be burnt a pixel wide.
    """
    valid = shape if shape.is_valid else shapely.make_valid(shape)
    return valid if valid.geom_type in ("Polygon", "MultiPolygon") else valid.buffer(0)


def _cut(polygon: BaseGeometry) -> Iterator[BaseGeometry]:
    """Pieces of few corners that together cover what a polygon does."""
    if shapely.get_num_coordinates(polygon) <= CORNERS:
        yield polygon
        return
    left, bottom, right, top = polygon.bounds
    across, up = (left + right) / 2, (bottom + top) / 2
    if right - left > top - bottom:
        reach = (right - left) * OVERLAP
        halves = (left, bottom, across + reach, top), (across - reach, bottom, right, top)
    else:
        reach = (top - bottom) * OVERLAP
        halves = (left, bottom, right, up + reach), (left, up - reach, right, top)
    for half in halves:
        part = polygonal(shapely.clip_by_rect(polygon, *half))
        # Many corners in one place are in both halves.
        if shapely.get_num_coordinates(part) == shapely.get_num_coordinates(polygon):
            yield part
        elif not part.is_empty:
            yield from _cut(part)
