"""Where exemplars come from: the image itself with its labels, and roofs and scenes that are drawn by code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from changen2.gpcm.fitting import Frame
from changen2.gpcm.labels import NODATA, Box
from changen2.gpcm.libraries import ArrayLibrary, Exemplars, Library, Mask, Picture
from changen2.gpcm.rectangles import rectangles_of
from changen2.jobs.synthesis.image_series import SourceImage, spread_boxes
from changen2.jobs.synthesis.overlays import Readable
from changen2.scenes import CLASSES, SceneStyle, draw_pair
from changen2.scenes.roof import clear_day, draw_roof

SCENE_SIDE = 384
SCENES = ("none", "river")
"""Water in each scene: few places have any, and then there is nothing to begin a pond with."""

SEARCH_WINDOWS, SEARCH_SIDE = 8, 256
"""Windows along each side of the raster, and their size, in which objects of a class are looked for."""

Look = tuple[NDArray[np.float64], NDArray[np.float64]]

OWN, ROOF, DRAWN = "same raster", "drawn roof", "drawn scene"

BUILDING = "building"
"""Name of the class that roofs are drawn for."""

LARGEST_ROOF = 512
"""Pixels along a footprint; what is larger is no single roof, and drawing takes a hundred bytes a pixel."""

MARGIN = 4
"""Pixels around a roof that is drawn by itself."""

TONES, TONE_REACH = 6, 6
"""Roofs of the same place of which the one least like the ground lends its colour, and pixels that are looked at."""

USUAL_MEAN, USUAL_SPREAD = 115.0, 50.0
"""Of the colours of an image that the colours of what is drawn suit."""


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
        return self._image.shown(box)

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """The generator's classes [h, w]; ``NODATA`` where there is no label or no image."""
        values = self._labels.read(box)
        known = (values != NODATA) & self._image.valid(box.window)
        return np.where(known, self._numbers[values], NODATA).astype(np.uint8)

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


class DrawnScene:
    """A suburb drawn by code in an image's colours; it is drawn when it is first looked at.

    Args:
        look: mean and standard deviation of the image's colours, 0..255 [3] each.
        class_names: the generator's, by index.
        gsd: metres.
        seed: the same seed draws the same scene.
        water: "none", "pond" or "river".
    """

    name = DRAWN
    shape = (SCENE_SIDE, SCENE_SIDE)

    def __init__(
        self, look: Look, class_names: Sequence[str], gsd: float, seed: Sequence[int], water: str = "none"
    ) -> None:
        self._look, self._class_names, self._gsd, self._seed, self._water = look, class_names, gsd, seed, water

    def rgb(self, box: Box) -> Picture:
        """RGB [3, h, w]."""
        return self._scene.rgb(box)

    def labels(self, box: Box) -> NDArray[np.uint8]:
        """The generator's classes [h, w]."""
        return self._scene.labels(box)

    def places(self, wanted: int) -> NDArray[np.int64]:
        """Rows and columns [n, 2] of pixels of a class; nothing is drawn for a class that no scene has."""
        if wanted not in self._numbers:
            return np.zeros((0, 2), np.int64)
        return self._scene.places(wanted)

    @cached_property
    def _numbers(self) -> NDArray[np.uint8]:
        """The generator's class for each class of a scene [256]."""
        numbers = np.full(256, NODATA, np.uint8)
        for index, (name, _) in CLASSES.items():
            if name in self._class_names:
                numbers[index] = self._class_names.index(name)
        return numbers

    @cached_property
    def _scene(self) -> ArrayLibrary:
        rng = np.random.default_rng(self._seed)
        day = clear_day(self._seed)
        style = replace(SceneStyle.random(rng, "suburb"), water=self._water, before=day, after=day)
        pair = draw_pair(rng, SCENE_SIDE, SCENE_SIDE, float(np.clip(self._gsd, 0.1, 2)), style)
        matched = in_light_of(self._look, pair.before.astype(np.float64))
        rgb = np.moveaxis(np.clip(np.rint(matched), 0, 255).astype(np.uint8), -1, 0)
        return ArrayLibrary(self.name, rgb, self._numbers[pair.semantic_before])


class RoofDrawer:
    """Draws a roof on a footprint: in the colour of a roof of the same place, else in one that suits the image.

    Args:
        look: mean and standard deviation of the image's colours, 0..255 [3] each.
        building: the generator's class of buildings.
        gsd: metres.
        seed: all roofs of a seed stand in the same sun.
    """

    name = ROOF

    def __init__(self, look: Look, building: int, gsd: float, seed: int) -> None:
        self._look, self._building, self._gsd = look, building, float(np.clip(gsd, 0.1, 2))
        self._day = clear_day([seed])

    def draw(
        self, inside: Mask, wanted: int, own: Sequence[Library], ground: NDArray[np.float64], rng: np.random.Generator
    ) -> Picture | None:
        """A roof on a footprint in its bounding box [3, h, w]; None for other classes and for whole quarters."""
        if wanted != self._building or max(inside.shape) > LARGEST_ROOF:
            return None
        frame = Frame.around(inside)
        gsd, (down, across) = self._gsd, frame.axes[0]
        parts = [tuple(gsd * value for value in each) for each in rectangles_of(inside, frame)]
        row, column = (frame.centre + 0.5 + MARGIN) * gsd
        # The frame's second axis is its first turned from row to column; the roof's from x to y.
        mirrored_parts = [(u, -v, a, b) for u, v, a, b in parts]
        place = (float(column), float(row), float(np.arctan2(down, across)))
        height, width = inside.shape
        shape = (height + 2 * MARGIN, width + 2 * MARGIN)
        picture = draw_roof(mirrored_parts, place, shape, gsd, self._day, ground, rng)[MARGIN:-MARGIN, MARGIN:-MARGIN]
        tones = roof_tones(own, wanted, rng)
        if tones:
            tone = max(tones, key=lambda each: float(np.abs(each - ground).sum()))
            grey = picture.mean(2, keepdims=True)  # the light on the roof, without its own colour
            toned = grey / grey[inside].mean() * tone
        else:
            toned = in_light_of(self._look, picture.astype(np.float64))
        return np.moveaxis(np.clip(np.rint(toned), 0, 255).astype(np.uint8), -1, 0)


def in_light_of(look: Look, picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """A drawn picture [h, w, 3] in the light of an image: not in the green of its fields or the grey of its roofs."""
    mean, spread = look
    contrast, light = np.clip(spread.mean() / USUAL_SPREAD, 0.7, 1.3), (mean.mean() - USUAL_MEAN) / 2
    return (picture - USUAL_MEAN) * contrast + USUAL_MEAN + light + (mean - mean.mean()) / 4


def roof_tones(own: Sequence[Library], building: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Colours [3] of some buildings of the first library that has any."""
    for library in own:
        places = library.places(building)
        if len(places):
            tones = [_tone(library, int(row), int(column), building) for row, column in rng.choice(places, TONES)]
            return [tone for tone in tones if np.isfinite(tone).all()]
    return []


def _tone(library: Library, row: int, column: int, building: int) -> NDArray[np.float64]:
    """The median colour [3] of a building around one of its pixels; NaN where the library hides it."""
    box = Box(row - TONE_REACH, column - TONE_REACH, row + TONE_REACH + 1, column + TONE_REACH + 1).clip(library.shape)
    shown = library.rgb(box)[:, library.labels(box) == building]
    return np.median(shown, axis=1) if shown.size else np.full(3, np.nan)


def exemplars_for(look: Look, class_names: Sequence[str], gsd: float, seed: int) -> Exemplars:
    """What a change in an image may start from, besides what the image itself holds.

    Args:
        look: mean and standard deviation of the image's colours, 0..255 [3] each.
        class_names: the generator's, by index.
        gsd: metres.
        seed: the same seed draws the same objects and scenes.
    """
    roofs = RoofDrawer(look, class_names.index(BUILDING), gsd, seed) if BUILDING in class_names else None
    return Exemplars([], roofs, drawn_scenes(look, class_names, gsd, seed))


def drawn_scenes(look: Look, class_names: Sequence[str], gsd: float, seed: int) -> list[DrawnScene]:
    """Scenes drawn at a ground sampling distance in metres, in given colours; others for another seed."""
    return [DrawnScene(look, class_names, gsd, [seed, number], water) for number, water in enumerate(SCENES)]


def look_of(image: SourceImage) -> Look:
    """Mean and standard deviation [3] of the image as the generator sees it, 0..255, from windows spread over it."""
    pixels = []
    for box in spread_boxes(image.shape, SEARCH_WINDOWS, SEARCH_SIDE // 4):
        values, valid = image.dataset.read(window=box.window), image.valid(box.window)
        pixels.append(image.rgb(values, valid)[:, valid].astype(np.float64))
    return look_of_pixels(np.concatenate(pixels, axis=1))


def look_of_pixels(rgb: NDArray[np.generic]) -> Look:
    """Mean and standard deviation [3] of pixels [3, n], 0..255; usual ones where there are none."""
    if not rgb.size:
        return np.full(3, USUAL_MEAN), np.full(3, USUAL_SPREAD)
    shown = rgb.astype(np.float64)
    return shown.mean(1), shown.std(1)
