"""What worse imagery costs a detector: the same pairs compressed, hazed, shifted, each through a whole detection."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

from changen2.jobs.detect import detect
from changen2.training.ablation import interval, over_seeds, shown
from changen2.training.crops import Crop
from changen2.training.measure import count, f1, precision, recall
from changen2.training.places import BUILDING, Bytes

Rgb = NDArray[np.uint8]
Spoil = Callable[[Rgb], Rgb]
"""A date ``[h, w, 3]`` as a worse sensor, sky or processing shows it."""

PIXEL = 0.5
"""Metres; of LEVIR-CD."""
CRS = "EPSG:32614"
MODEL = "tiny"


def as_it_is(image: Rgb) -> Rgb:
    """The date itself."""
    return image


def compressed(image: Rgb) -> Rgb:
    """JPEG of quality 30."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer))


def coarser(factor: int) -> Spoil:
    """Pixels so many times as large."""
    return lambda image: np.asarray(Image.fromarray(image).reduce(factor))


def grey(image: Rgb) -> Rgb:
    """The mean of the bands in each of them, as of a panchromatic image."""
    return np.repeat(image.mean(axis=2, keepdims=True).round(), 3, axis=2).astype(np.uint8)


def hazy(image: Rgb) -> Rgb:
    """Two fifths of it a bright sky."""
    return np.rint(0.6 * image + 0.4 * 200).astype(np.uint8)


def brighter(image: Rgb) -> Rgb:
    """Gamma of 0.6."""
    return np.rint(255 * (image / 255) ** 0.6).astype(np.uint8)


def noisy(image: Rgb) -> Rgb:
    """Normal noise of 10 grey values."""
    noise = np.random.default_rng(0).normal(0, 10, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def shifted(pixels: int) -> Spoil:
    """So far to the right and down, mirrored at the edges it leaves."""

    def shift(image: Rgb) -> Rgb:
        height, width = image.shape[:2]
        return np.pad(image, [(pixels, 0), (pixels, 0), (0, 0)][: image.ndim], "reflect")[:height, :width]

    return shift


@dataclass(frozen=True)
class Trial:
    """One way in which imagery may be worse.

    Attributes:
        before, after: what becomes of either date.
        factor: pixels so many times as large as LEVIR-CD's.
        off: pixels that the date after lies too far right and down. What is new is found where it shows it, and so goes
            the label, unless the shift is undone.
        options: of the detection.
    """

    before: Spoil = as_it_is
    after: Spoil = as_it_is
    factor: int = 1
    off: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


AUTO, ALIGNED = {"gsd": "auto"}, {"coregister": True}

TRIALS = {
    "as they are": Trial(),
    "the same, `--coregister`": Trial(options=ALIGNED),
    "one date brighter (gamma 0.6)": Trial(after=brighter),
    "one date hazy (two fifths sky)": Trial(after=hazy),
    "both with noise of 10 grey values": Trial(noisy, noisy),
    "both JPEG of quality 30": Trial(compressed, compressed),
    "one date grey, as panchromatic": Trial(after=grey),
    "both grey": Trial(grey, grey),
    "pixels of 1 m": Trial(coarser(2), coarser(2), 2),
    "pixels of 1 m, `--gsd auto`": Trial(coarser(2), coarser(2), 2, options=AUTO),
    "pixels of 2 m, `--gsd auto`": Trial(coarser(4), coarser(4), 4, options=AUTO),
    "one date 2 pixels off in x and y": Trial(off=2),
    "one date 4 pixels off in x and y": Trial(off=4),
    "4 pixels off, `--coregister`": Trial(off=4, options=ALIGNED),
}


def measure_worse(pairs: Sequence[tuple[Crop, Crop, Bytes]]) -> dict[str, Any]:
    """Figures of each trial.

    Args:
        pairs: both dates, 0..255, and the change between them; 1 is change, all is known.

    Returns:
        By title ``f1`` and ``difference`` (to the first trial) with intervals over the same resampled pairs,
        ``precision``, ``recall``, and ``aligned``: how many pairs a shift was undone in.
    """
    figures: dict[str, Any] = {}
    first = None
    for title, trial in TRIALS.items():
        counts, shifts = zip(*(_look(trial, *pair) for pair in pairs), strict=True)
        rows = np.array(counts)
        values = over_seeds([rows], f1)
        first = values if first is None else first
        figures[title] = {
            "f1": interval(values),
            "difference": interval(values - first),
            "precision": precision(rows),
            "recall": recall(rows),
            "aligned": sum(shift is not None for shift in shifts),
            "pairs": len(rows),
        }
    return figures


def _look(trial: Trial, before: Crop, after: Crop, label: Bytes) -> tuple[list[float], object]:
    """What was found of one pair, at the scale of the trial, and the shift that was undone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        moved = shifted(trial.off)
        first, second = trial.before(before.image.astype(np.uint8)), moved(trial.after(after.image.astype(np.uint8)))
        _write(folder / "before.tif", first, PIXEL * trial.factor)
        _write(folder / "after.tif", second, PIXEL * trial.factor)
        found = detect(folder / "before.tif", folder / "after.tif", folder / "run", model=MODEL, **trial.options)
        with rasterio.open(found["outputs"]["change"]) as dataset:
            change = dataset.read(1)
    shift = found["summary"]["shift"]
    there = moved(label) if shift is None else label
    true = np.asarray(Image.fromarray(255 * (there == BUILDING).astype(np.uint8)).reduce(trial.factor)) > 127
    return count((change == 1).astype(np.float32), true.astype(np.uint8)), shift


def _write(path: Path, image: Rgb, pixel: float) -> None:
    height, width, _ = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, height=height, width=width, crs=CRS,
        transform=Affine(pixel, 0, 300_000, 0, -pixel, 3_350_000),
    ) as dataset:  # fmt: skip
        dataset.write(np.moveaxis(image, 2, 0))


def worse_table(figures: Mapping[str, Any]) -> str:
    """Each trial with what was found."""
    lines = ["| imagery | F1 | difference [95 %] | precision | recall |", "| --- | --- | --- | --- | --- |"]
    for title, found in figures.items():
        aligned = f" ({found['aligned']} of {found['pairs']} pairs moved)" if "coregister" in title else ""
        cells = [title + aligned, f"{found['f1']['value']:.3f}", shown(found["difference"])]
        lines.append("| " + " | ".join([*cells, f"{found['precision']:.3f}", f"{found['recall']:.3f}"]) + " |")
    return "\n".join(lines)
