"""One model at many sizes: pictures drawn whole, without tiles."""

from __future__ import annotations

from collections.abc import Callable

from changen2.reports.held_out import GSD, cut_tiles
from changen2.reports.page import Section, coloured, sheet
from changen2.reports.subject import Subject

SHAPES = ((256, 256), (512, 512), (384, 1088), (1024, 1024))
SOURCE = "dubai"


def sizes_section(subject: Subject, tell: Callable[[str], None]) -> Section:
    """Draw held-out labels of one place at each size."""
    place = subject.places()[SOURCE][0]
    tile = cut_tiles(place, GSD[SOURCE], max(max(shape) for shape in SHAPES))[0]
    pictures = []
    for height, width in SHAPES:
        label, image = tile.label[:height, :width], tile.image[:, :height, :width]
        drawn = subject.whole(label, tile.gsd, subject.options.seed)
        row = [image, coloured(label, subject.classes), drawn]
        pictures.append((f"{height} × {width} pixels", sheet(["real", "labels", "drawn"], [row])))
        tell(f"{height} × {width} pixels drawn whole")
    return Section(
        "sizes",
        "Any size",
        ["Drawn from labels alone in one piece, 20 steps of DPM-Solver++, by the same model; trained at up to 256²."],
        {},
        pictures,
    )
