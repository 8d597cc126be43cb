"""Where exemplar patches come from: the image itself with its labels, and scenes drawn by this package's own code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from changen2.gpcm.exemplar import ArrayLibrary, Picture
from changen2.gpcm.labels import NODATA, Box
from changen2.jobs.image_series import SourceImage, spread_boxes
from changen2.jobs.label_series import as_window
from changen2.jobs.overlays import Readable
from changen2.scenes import CLASSES, SceneStyle, draw_pair

SCENE_SIDE = 384
SCENES = 2
SEARCH_WINDOWS, SEARCH_SIDE = 8, 256
"""Windows along each side of the raster, and their size, in which objects of a class are looked for."""

OWN, DRAWN = "same raster", "drawn scene"


class RasterLibrary:
    """The image at the first date with its labels.

    Args:
        image: the image.
        labels: classes at the first date.
        numbers: the generator's class for each class of the labels [256].
    """

    name = OWN

    def __init__(self, image: SourceImage, labels: Readable, numbers: NDArray[np.uint8]) -> None:
        self.shape = image.shape
        self._image, self._labels, self._numbers = image, labels, numbers
        self._places: dict[int, NDArray[np.int64]] | None = None

    def rgb(self, box: Box) -> Picture:
        """RGB [3, h, w]."""
        values = self._image.dataset.read(window=as_window(box))
        return self._image.rgb(values, self._image.valid(as_window(box)))

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """The generator's classes [h, w]; ``NODATA`` where there is no label."""
        values = self._labels.read(box)
        return np.where(values == NODATA, NODATA, self._numbers[values]).astype(np.uint8)

    def places(self, wanted: int) -> NDArray[np.int64]:
        """Rows and columns [n, 2] of pixels of a class, from windows spread over the raster."""
        if self._places is None:
            found: dict[int, list[NDArray[np.int64]]] = {}
            for box in spread_boxes(self.shape, SEARCH_WINDOWS, SEARCH_SIDE):
                values = self.labels(box)[::3, ::3]
                for value in np.unique(values):
                    corner = np.array([box.top, box.left])
                    found.setdefault(int(value), []).append(np.argwhere(values == value) * 3 + corner)
            self._places = {value: np.concatenate(parts) for value, parts in found.items()}
        return self._places.get(wanted, np.zeros((0, 2), np.int64))


def drawn_libraries(image: SourceImage, class_names: Sequence[str], gsd: float, seed: int) -> list[ArrayLibrary]:
    """Scenes drawn at the image's ground sampling distance, in its colours.

    Args:
        image: whose mean and spread of colour the scenes take over.
        class_names: the generator's, by index.
        gsd: metres.
        seed: the same seed draws the same scenes.
    """
    numbers = np.full(256, NODATA, np.uint8)
    for index, (name, _) in CLASSES.items():
        if name in class_names:
            numbers[index] = class_names.index(name)
    mean, spread = _colours(image)
    libraries = []
    for number in range(SCENES):
        style = SceneStyle.random(np.random.default_rng([seed, number]), "suburb")
        pair = draw_pair(seed + number, SCENE_SIDE, SCENE_SIDE, float(np.clip(gsd, 0.1, 2)), style)
        scene = np.moveaxis(pair.before.astype(np.float64), -1, 0)
        own_mean, own_spread = scene.mean((1, 2), keepdims=True), scene.std((1, 2), keepdims=True)
        matched = (scene - own_mean) / np.maximum(own_spread, 1) * spread + mean
        rgb = np.clip(np.rint(matched), 0, 255).astype(np.uint8)
        libraries.append(ArrayLibrary(DRAWN, rgb, numbers[pair.semantic_before]))
    return libraries


def _colours(image: SourceImage) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation [3, 1, 1] of the image as the generator sees it, from windows spread over it."""
    pixels = []
    for box in spread_boxes(image.shape, SEARCH_WINDOWS, SEARCH_SIDE // 4):
        values, valid = image.dataset.read(window=as_window(box)), image.valid(as_window(box))
        pixels.append(image.rgb(values, valid)[:, valid].astype(np.float64))
    shown = np.concatenate(pixels, axis=1)
    if not shown.size:
        return np.full((3, 1, 1), 128.0), np.full((3, 1, 1), 40.0)
    return shown.mean(1)[:, None, None], shown.std(1)[:, None, None]
