"""The maps of a detection: from blended planes to probability, binary change and classes."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from changen2.jobs.detection.calibrated import scaling_of, written_threshold
from changen2.jobs.detection.origin import origin_tags
from changen2.jobs.runs.progress import Reporter
from changen2.models.predictor import QUANTUM
from changen2.models.registry import ModelCard
from changen2.raster.area import Area
from changen2.raster.grid import Grid
from changen2.raster.reading import PROBABILITY_BAND
from changen2.raster.vectors import ChangePolygon, Classes, change_polygons, class_tags, write_polygons
from changen2.raster.writing import Colors, WindowedRaster

LEVELS = 254
"""Steps of a stored probability: v in 1..255 is p = (v − 1) / 254, 0 is nodata."""

NODATA = 255
"""Of the binary and class maps."""

CHANGE_COLORS: Colors = {0: (238, 238, 238, 255), 1: (214, 39, 40, 255)}

Bytes = NDArray[np.uint8]

DESCRIPTIONS = {
    "change_probability": f"{PROBABILITY_BAND}: (value - 1) / 254",
    "semantic_before": "Class before",
    "semantic_after": "Class after",
    "change_class": "Class of change",
    "change": "Change at threshold {:.3f}",
}


def lowest_change_value(threshold: float) -> int:
    """Return the smallest stored value that counts as change at a threshold in 0..1."""
    return min(LEVELS + 1, ceil(threshold * LEVELS - 1e-9) + 1)


def binary(probability: Bytes, threshold: float) -> Bytes:
    """Return 1 where a stored probability reaches the threshold, 0 where not, 255 for nodata."""
    changed = (probability >= lowest_change_value(threshold)).astype(np.uint8)
    return np.where(probability > 0, changed, NODATA).astype(np.uint8)


def stored_probability(card: ModelCard) -> Bytes:
    """Return ``[QUANTUM + 1]``: the stored value, 1..255, of each whole-numbered probability that a model gives.

    Where the card has a scaling, values are those of the scaled probability. Rounding never carries one over the
    card's threshold, so that what counts as change is the same with the scaling and without.
    """
    given = np.arange(QUANTUM + 1)
    plain = (given * LEVELS + QUANTUM // 2) // QUANTUM + 1
    scaling = scaling_of(card)
    if scaling is None:
        return plain.astype(np.uint8)
    scaled = np.rint(scaling(given / QUANTUM) * LEVELS).astype(np.int64) + 1
    first = lowest_change_value(written_threshold(card))
    changed = plain >= lowest_change_value(card.threshold)
    return np.where(changed, np.maximum(scaled, first), np.clip(scaled, 1, max(1, first - 1))).astype(np.uint8)


class Decoder:
    """Turns a model's planes into stored bytes.

    Attributes:
        layers: names of the layers that it returns, the probability first.
        class_names: of the semantic head, by index.
        change_names: of a change head with several classes (such as damage levels), by index. Change is what is in
            none of those that the card calls unchanged.

    Args:
        card: says how many channels each head has, which classes they are, and how the probability is scaled.
    """

    def __init__(self, card: ModelCard) -> None:
        self._change = max(1, len(card.change_classes))
        self._unchanged = card.unchanged_classes
        self._stored = stored_probability(card)
        self._origin = origin_tags(card)
        self._semantic = 1 if len(card.classes) <= 2 else len(card.classes)
        self.class_names = {entry.index: entry.name for entry in card.classes}
        self.change_names = {entry.index: entry.name for entry in card.change_classes}
        self._colors = {
            "semantic": {entry.index: _rgba(entry.color) for entry in card.classes},
            "change": {entry.index: _rgba(entry.color) for entry in card.change_classes},
        }
        self.layers = ["change_probability"]
        if card.classes:
            self.layers += ["semantic_before", "semantic_after"]
        if card.change_classes:
            self.layers += ["change_class"]

    def names_of(self, layer: str) -> dict[int, str]:
        """Return index → name of a class layer."""
        return self.change_names if layer == "change_class" else self.class_names

    def tags_of(self, layer: str) -> dict[str, str]:
        """Return the metadata items of a layer: where the probability comes from, what classes are called."""
        if layer == "change_probability":
            return self._origin
        return class_tags(self.names_of(layer), self._unchanged if layer == "change_class" else None)

    def colors_of(self, layer: str) -> Colors:
        """Return index → colour of a class layer."""
        return self._colors[layer.split("_")[0]]

    def __call__(self, planes: NDArray[np.uint16], valid: NDArray[np.bool_]) -> list[Bytes]:
        """Return the ``layers``, each ``[h, w]``: stored probability, then class indices."""
        change = planes[0] if self._change == 1 else self._changed(planes)
        found = {"change_probability": np.where(valid, self._stored[change], 0).astype(np.uint8)}
        for date, name in enumerate(("semantic_before", "semantic_after")):
            first = self._change + date * self._semantic
            scores = planes[first : first + self._semantic]
            index = scores[0] > QUANTUM // 2 if self._semantic == 1 else scores.argmax(axis=0)
            found[name] = np.where(valid, index, NODATA).astype(np.uint8)
        found["change_class"] = np.where(valid, planes[: self._change].argmax(axis=0), NODATA).astype(np.uint8)
        return [found[name] for name in self.layers]

    def _changed(self, planes: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Sum of the classes that are a change, as what the others leave: their planes, rounded, need not sum to 1."""
        return (QUANTUM - planes[self._unchanged].sum(axis=0, dtype=np.int64)).clip(min=0)


class DetectionMaps:
    """The rasters of one detection, written block by block.

    Args:
        folder: work folder.
        grid: the reference grid.
        area: what the outputs cover; pixels outside its polygons are masked.
        decoder: of the model in use.
        threshold: 0..1, or None for an intermediate result without a binary map.
        prefix: of the file names.
        resume: go on with the rasters that are there.
    """

    def __init__(
        self,
        folder: Path,
        grid: Grid,
        area: Area,
        decoder: Decoder,
        threshold: float | None,
        *,
        prefix: str = "",
        resume: bool = False,
    ) -> None:
        self._folder, self._area, self._decoder, self._threshold = folder, area, decoder, threshold
        self._resume = resume
        self._rasters = {}
        own = grid.crop(area.window)
        for name in decoder.layers if threshold is None else [*decoder.layers, "change"]:
            is_class = name not in ("change_probability", "change")
            self._rasters[name] = WindowedRaster(
                folder / f"{prefix}{name}.tif",
                own,
                0 if name == "change_probability" else NODATA,
                colors=CHANGE_COLORS if name == "change" else decoder.colors_of(name) if is_class else None,
                description=DESCRIPTIONS[name].format(threshold),
                tags=None if name == "change" else decoder.tags_of(name),
                resume=resume,
            )
        self.valid_px = 0
        self.change_px = 0

    def at_scale(self, grid: Grid, window: Window) -> DetectionMaps:
        """Return intermediate maps on another grid, in the same folder."""
        area = Area(grid, window)
        return DetectionMaps(self._folder, grid, area, self._decoder, None, prefix="scaled_", resume=self._resume)

    def write_core(self, core: Window, planes: NDArray[np.uint16], valid: NDArray[np.bool_]) -> None:
        """Write what a block finished, safe from a kill when it returns; see ``changen2.raster.pipeline``."""
        self.write(core, self._decoder(planes, valid))
        for raster in self._rasters.values():
            raster.flush()

    def write(self, window: Window, layers: list[Bytes]) -> None:
        """Write stored layers of a window of the grid; what lies outside the area is dropped or masked."""
        part, layers = _cut(window, self._area.window, layers)
        if part is None:
            return
        probability, *classes = layers
        inside = self._area.mask(part)
        if inside is not None:
            probability = np.where(inside, probability, 0).astype(np.uint8)
            classes = [np.where(inside, layer, NODATA).astype(np.uint8) for layer in classes]
        own = Window(
            part.col_off - self._area.window.col_off, part.row_off - self._area.window.row_off, part.width, part.height
        )
        self._rasters["change_probability"].write(own, probability)
        for name, layer in zip(self._decoder.layers[1:], classes, strict=True):
            self._rasters[name].write(own, layer)
        self.valid_px += int((probability > 0).sum())
        if self._threshold is not None:
            changed = binary(probability, self._threshold)
            self.change_px += int((changed == 1).sum())
            self._rasters["change"].write(own, changed)

    def read(self, window: Window) -> list[Bytes]:
        """Read back layers of a window of the grid; outside what was written all is nodata."""
        area = self._area.window
        part, _ = _cut(window, area, [])
        layers = []
        for name in self._decoder.layers:
            fill = 0 if name == "change_probability" else NODATA
            whole = np.full((window.height, window.width), fill, np.uint8)
            if part is not None:
                own = Window(part.col_off - area.col_off, part.row_off - area.row_off, part.width, part.height)
                r, c = part.row_off - window.row_off, part.col_off - window.col_off
                whole[r : r + part.height, c : c + part.width] = self._rasters[name].read(own)
            layers.append(whole)
        return layers

    def finish(self, reporter: Reporter) -> dict[str, str]:
        """Make the COGs; return output name → file name.

        What they are made of stays in the work folder: a run that is stopped yet goes on from it.
        """
        for count, raster in enumerate(self._rasters.values()):
            reporter.step("write", count, len(self._rasters))
            raster.finish(keep_raw=True)
        reporter.step("write", len(self._rasters), len(self._rasters))
        return {name: raster.path.name for name, raster in self._rasters.items()}

    def close(self) -> None:
        """Let go of all files."""
        for raster in self._rasters.values():
            raster.close()


def polygons_of(
    folder: Path,
    probability: str | Path,
    grid: Grid,
    classes: Classes | None,
    min_area: float,
    reporter: Reporter,
) -> list[ChangePolygon]:
    """Write ``change.gpkg`` from the ``change.tif`` in a work folder and return its polygons."""
    reporter.step("vectorize", 0, 0)
    polygons = list(
        change_polygons(
            folder / "change.tif",
            probability,
            min_area=min_area,
            classes=classes,
            on_polygon=lambda count: reporter.step("vectorize", count, 0),
        )
    )
    write_polygons(folder / "change.gpkg", polygons, grid, lambda: reporter.step("vectorize", len(polygons), 0))
    return polygons


def _cut(window: Window, area: Window, layers: list[Bytes]) -> tuple[Window | None, list[Bytes]]:
    """Cut a window and its layers to an area; None where they do not meet."""
    r0, c0 = max(window.row_off, area.row_off), max(window.col_off, area.col_off)
    r1 = min(window.row_off + window.height, area.row_off + area.height)
    c1 = min(window.col_off + window.width, area.col_off + area.width)
    if r1 <= r0 or c1 <= c0:
        return None, layers
    r, c = r0 - window.row_off, c0 - window.col_off
    part = Window(c0, r0, c1 - c0, r1 - r0)
    return part, [layer[r : r + part.height, c : c + part.width] for layer in layers]


def _rgba(color: str) -> tuple[int, int, int, int]:
    red, green, blue = (int(color.lstrip("#")[i : i + 2], 16) for i in (0, 2, 4))
    return red, green, blue, 255
