"""Which model made a probability of change, and how it was scaled: written into the file, so that clips keep it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from changen2.jobs.detection.calibrated import scaling_of
from changen2.jobs.runs.manifest import detector_of, read_manifest
from changen2.models.registry import ModelCard
from changen2.raster.calibration import Platt
from changen2.raster.reading import open_raster, parts_of

MODEL, SCALING = "CHANGEN2_MODEL", "CHANGEN2_SCALING"
"""Metadata items of a probability: the model's name, and a and b of Platt's scaling, "1.0 0.0" where there is none."""


@dataclass(frozen=True)
class Origin:
    """Where a probability comes from; None: nothing tells."""

    model: str | None = None
    scaling: Platt | None = None


def origin_tags(card: ModelCard) -> dict[str, str]:
    """Return the metadata items of a probability that a model makes."""
    scaling = scaling_of(card) or Platt()
    return {MODEL: card.name, SCALING: f"{scaling.a!r} {scaling.b!r}"}


def origins_of(path: str | Path, folder: Path | None = None) -> Iterator[Origin]:
    """Yield where a probability comes from: one origin, or of a virtual mosaic, which keeps no metadata, its parts'.

    Args:
        path: of the map.
        folder: whose manifest tells of a map that does not say it itself, as older ones; where None, the map's own.

    Raises:
        InputError: ``missing_file`` or ``unreadable``.
    """
    with open_raster(path) as dataset:
        told = _read(dataset.tags())
        parts = parts_of(dataset)
    if told:
        yield told
    elif parts:
        for part in parts:
            yield from origins_of(part)
    else:
        yield _of_manifest(folder or Path(path).parent)


def _read(tags: dict[str, str]) -> Origin | None:
    try:
        a, b = map(float, tags[SCALING].split())
        return Origin(tags[MODEL], Platt(a, b))
    except (KeyError, ValueError):
        return None


def _of_manifest(folder: Path) -> Origin:
    model = detector_of(folder)
    if model is None:
        return Origin()
    scaling = read_manifest(folder).get("scaling")
    return Origin(model["name"], Platt(scaling["a"], scaling["b"]) if scaling else Platt())
