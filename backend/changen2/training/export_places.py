"""Write the labelled places that a detector may be trained on as images and masks, for ``changen2 generate``.

Run as ``python -m changen2.training.export_places DATA FOLDER --sources banepa spacenet2 --gsd 0.3``. Held-out places
stay out, so pairs generated of these show nothing that a detector is later measured on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from changen2.training.crops import resample
from changen2.training.places import BUILDING, IGNORE, Place
from changen2.training.sources import SOURCES


def export_place(place: Place, name: str, folder: Path, gsd: float) -> None:
    """Write ``images/NAME.png`` (RGBA, clear where the label is not known) and ``labels/NAME.png`` (255 building).

    Args:
        place: one image with its mask.
        name: of both files, without ending.
        folder: gets the folders ``images`` and ``labels``.
        gsd: metres per pixel to write at, so that one ``--pixel-size`` holds for all.
    """
    factor = place.gsd / gsd
    height, width = (max(1, round(side * factor)) for side in place.label.shape)
    crop = resample(place, slice(None), slice(None), (height, width))
    alpha = np.where(crop.label == IGNORE, 0, 255).astype(np.uint8)
    colours = np.dstack([np.clip(crop.image.round(), 0, 255).astype(np.uint8), alpha])
    mask = (crop.label == BUILDING).astype(np.uint8) * np.uint8(255)
    for layer, pixels in (("images", colours), ("labels", mask)):
        (folder / layer).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / layer / f"{name}.png")


def export_places(data: Path, folder: Path, sources: list[str], gsd: float) -> int:
    """Write all places of the sources that are not held out; return how many these were."""
    count = 0
    for source in sources:
        kept = [place for place in SOURCES[source](data / source) if not place.held_out]
        for number, place in enumerate(kept):
            export_place(place, f"{source}_{number:03d}", folder, gsd)
        count += len(kept)
    return count


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, required=True)
    parser.add_argument("--gsd", type=float, default=0.3, help="metres per pixel")
    arguments = parser.parse_args()
    export_places(arguments.data, arguments.folder, arguments.sources, arguments.gsd)


if __name__ == "__main__":
    main()
