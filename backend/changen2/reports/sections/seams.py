"""Whether an edit that changes nothing can be seen by its border."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from changen2.gpcm.synthesis import Settings
from changen2.models.autoencoder_tiny import STRIDE
from changen2.models.rsdit_tiny import BUILDING
from changen2.reports.drawing import INITS, draw_edit
from changen2.reports.page import Section, coloured, shaded, sheet
from changen2.reports.seams import Steepness, border_ratio, inside_ratio, steepness
from changen2.reports.subject import Subject
from changen2.training.bootstrap import rounded
from changen2.training.generator.masks import blob

SHOWN = 6
ALLOWED = (0.8, 1.25)


def seams_section(subject: Subject, tell: Callable[[str], None]) -> Section:
    """Redraw random regions of held-out tiles with their labels unchanged."""
    options = subject.options
    edits: dict[str, list[tuple[Steepness, Steepness]]] = {init: [] for init in INITS}
    rows = []
    for index, tile in enumerate(subject.tiles(options.edits)):
        rng = np.random.default_rng((options.seed, index))
        coarse = blob((options.size // STRIDE, options.size // STRIDE), rng)
        mask = np.kron(coarse, np.ones((STRIDE, STRIDE), bool))
        settings = Settings(seed=options.seed + index, gsd=tile.gsd, label_guidance=subject.label_guidance)
        drawn = []
        for init in INITS:
            exemplars = tile.label if init == "exemplar" else None
            edit = tile.image, tile.label, mask
            drawn.append(draw_edit(subject.generator, *edit, settings, exemplars, subject.precision))
            edits[init].append(
                (
                    steepness(drawn[-1], tile.image, mask),
                    steepness(drawn[-1], tile.image, mask, tile.label == BUILDING),
                )
            )
        if index < SHOWN:
            rows.append([tile.image, coloured(tile.label, subject.classes), shaded(mask), *drawn])
    tell(f"{len(edits[INITS[0]])} null edits from each start")
    return Section(
        "seams",
        "Seams of null edits",
        [
            "Random regions were redrawn with their labels unchanged, from noise and from exemplars. Steepness is the "
            "mean absolute difference of neighbouring pixels; the ratio is after over before, at the same pixels, "
            "pooled over edits, with a 95 % bootstrap interval. On the regions' borders 1 means no seam. Inside them "
            "less than 1 means that the drawn ground is smoother than the real one. A random region cuts houses in "
            "two; from an exemplar its part becomes another house, whose border is real. So the ratio is also "
            "told for the parts of the borders that touch no house.",
        ],
        {f"start from {init}": _figures(edits[init]) for init in INITS},
        [
            (
                f"The first {len(rows)} null edits, not chosen.",
                sheet(
                    ["before", "labels (unchanged)", "redrawn region", *(f"after, from {init}" for init in INITS)], rows
                ),
            )
        ],
    )


def _figures(edits: Sequence[tuple[Steepness, Steepness]]) -> dict[str, Any]:
    whole, ground = [all_of for all_of, _ in edits], [beside for _, beside in edits]
    found: dict[str, Any] = {"edits": len(edits)}
    for where, measured in (("the border", whole), ("the border but where it touches a house", ground)):
        border = border_ratio(measured)
        found[f"ratio on {where}"] = rounded(border)
        found[f"{where} within {ALLOWED[0]} to {ALLOWED[1]}"] = bool(ALLOWED[0] <= border.value <= ALLOWED[1])
    return found | {"ratio inside": rounded(inside_ratio(whole))}
