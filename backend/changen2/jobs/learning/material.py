"""What a fine-tuning learns from: a folder of pairs, or two rasters and the changes between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changen2.errors import InputError
from changen2.jobs.generation.files import LAYERS
from changen2.jobs.runs.manifest import describe_input, describe_layer
from changen2.jobs.runs.progress import Reporter
from changen2.models.card import ModelCard
from changen2.protocol import FinetuneRequest
from changen2.raster.grid import Grid
from changen2.raster.ground import ground_sampling_distance
from changen2.raster.layers import CHANGES
from changen2.raster.reading import open_raster
from changen2.training.digitized import read_digitized
from changen2.training.finetune import SCALES
from changen2.training.image_files import IMAGES, read_values
from changen2.training.places import IGNORE, SEMANTIC, PlacePair, left_out, named_scales, read_pairs, tells_classes

EVERY = 5
"""Every so manieth pair of a folder is held out, where its list/val.txt does not say which."""


@dataclass(frozen=True)
class Material:
    """What is learned from.

    Attributes:
        pairs: with the held-out ones.
        gsd: metres per pixel.
        sources: what the manifest tells of the inputs.
        warnings: what was taken for granted.
    """

    pairs: list[PlacePair]
    gsd: float
    sources: dict[str, Any]
    warnings: tuple[str, ...] = ()


def files_of(request: FinetuneRequest) -> list[str | None]:
    """The files that a request learns from."""
    rasters = [request.before, request.after, request.changes, request.aoi]
    if not request.pairs:
        return rasters
    root = Path(request.pairs)
    images = (path for layer in LAYERS for path in (root / layer).glob("*") if path.suffix.lower() in IMAGES)
    listed = [root / "manifest.json", *(root / "list").glob("*.txt"), *images]
    return [*rasters, *(str(path) for path in sorted(listed))]


def read_material(request: FinetuneRequest, base: ModelCard, reporter: Reporter) -> Material:
    """Read the pairs from a folder, or cut them out of two rasters.

    Raises:
        InputError: neither or both are given, or they cannot be read.
    """
    rasters = {name: getattr(request, name) for name in ("before", "after", "changes")}
    missing = [name for name, path in rasters.items() if not path]
    if bool(request.pairs) == (len(missing) < 3) or (not request.pairs and missing):
        raise InputError(
            "Give a folder of pairs, or two rasters and the changes between them"
            + (f"; {', '.join(missing)} is missing." if 0 < len(missing) < 3 and not request.pairs else "."),
            hint="A folder of pairs holds A, B and label; or give before, after and changes.",
            code="bad_value",
        )
    reporter.step("read", 0, 1)
    return _read_folder(request, reporter) if request.pairs else _read_rasters(request, base, reporter)


def _read_folder(request: FinetuneRequest, reporter: Reporter) -> Material:
    root, warnings = Path(str(request.pairs)), []
    on_file = partial(reporter.step, "read")
    if request.object_class is None and holds_classes(root, on_file):
        pairs = read_pairs(root, request.gsd, EVERY, read_date=_unknown, check=reporter.check, on_pair=on_file)
        warnings.append(
            f"The semantic maps in {root} hold classes, not masks of objects, and are left out: it is learned from "
            "the changes alone. Name the class to look for (--object-class) to learn from them too."
        )
    else:
        pairs = read_pairs(root, request.gsd, EVERY, request.object_class, check=reporter.check, on_pair=on_file)
    notes = left_out(root, pairs), named_scales(root, [pair.before for pair in pairs])
    warnings += [note for note in notes if note]
    gsds = np.array([pair.before.gsd for pair in pairs])
    gsd = float(np.quantile(gsds, 0.5, method="lower"))  # of half and half a mean would be the size of none
    low, high = (scale * gsd for scale in SCALES)
    if others := np.count_nonzero((gsds < low) | (gsds > high)):
        warnings.append(
            f"{others:,} of {len(pairs):,} pairs have other pixels than of {low:.3g} to {high:.3g} m, for which the "
            f"model is made: from {gsds.min():.3g} to {gsds.max():.3g} m. Where each size matters, make one of each."
        )
    return Material(pairs, gsd, {"pairs": str(root), "count": len(pairs)}, tuple(warnings))


def _read_rasters(request: FinetuneRequest, base: ModelCard, reporter: Reporter) -> Material:
    before, after, changes = (str(path) for path in (request.before, request.after, request.changes))
    with open_raster(before) as dataset:
        known = request.gsd or ground_sampling_distance(Grid.of(dataset))
    gsd = known or base.gsd_native
    notes: list[str] = []
    pairs = read_digitized(
        before, after, changes, gsd, aoi=request.aoi, bands=request.bands, bands_after=request.bands_after,
        on_tile=lambda done, total: reporter.step("read", done, total), notes=notes,
    )  # fmt: skip
    assumed = (
        f"The image before does not tell its pixel size; {gsd:g} m is assumed, for which {base.name} was made. Give "
        "the metres per pixel (--gsd) if it is another: what the model will be used on is judged by it."
    )
    sources: dict[str, Any] = {"before": describe_input(before), "after": describe_input(after)}
    sources |= {"changes": describe_layer(changes, usual=CHANGES)} | (
        {"aoi": describe_layer(request.aoi)} if request.aoi else {}
    )
    warnings = (*notes, *(() if known else (assumed,)))
    return Material(pairs, gsd, {**sources, "tiles": len(pairs)}, warnings)


def holds_classes(root: Path, on_map: Callable[[int, int], None]) -> bool:
    """Whether a folder's semantic maps hold classes: by its manifest, or by numbers other than 0, 1 and 255.

    ``on_map`` is told maps looked at and maps in all before each one; it may raise to cancel.
    """
    if tells_classes(root):
        return True
    files = [path for layer in SEMANTIC for path in sorted((root / layer).glob("*"))]
    maps = [path for path in files if path.suffix.lower() in IMAGES]
    for done, path in enumerate(maps):
        on_map(done, len(maps))
        numbers, known = read_values(path)
        if not np.isin(numbers[known], (0, 1, IGNORE)).all():
            return True
    return False


def _unknown(path: Path) -> NDArray[np.uint8]:
    return np.full(read_values(path)[0].shape, IGNORE, np.uint8)
