"""Small pictures for the help of the algorithms, from the demo and from what the test in the real QGIS leaves.

.venv/bin/python docs/help_pictures.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
HELP = DOCS.parent / "resources" / "help"
WIDTH = 460
PICTURES = {
    "assessaccuracy": "assessed",
    "simulateevents": "drawn",
    "synthesizechange": "step_1",
}
DEMO_MAP = (352, 116, 958, 721)
"""Left, top, right, bottom of the map in the picture that `make demo` takes."""


def save(picture: Image.Image, algorithm: str) -> None:
    """Write one algorithm's picture as a small JPEG."""
    small = picture.convert("RGB")
    small.thumbnail((WIDTH, WIDTH))
    small.save(HELP / f"{algorithm}.jpg", quality=85)


def main(folder: Path | None) -> None:
    """Write one JPEG for each algorithm that has a picture; without the test's folder that of the demo alone."""
    HELP.mkdir(exist_ok=True)
    with Image.open(DOCS / "images" / "demo.png") as picture:
        save(picture.crop(DEMO_MAP), "detectchange")
    for algorithm, name in PICTURES.items() if folder else ():
        with Image.open(folder / f"{name}.png") as picture:
            save(picture, algorithm)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
