"""Small pictures for the help of the algorithms, from the maps that the test in the real QGIS leaves.

.venv/bin/python docs/help_pictures.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

HELP = Path(__file__).resolve().parents[1] / "resources" / "help"
WIDTH = 460
PICTURES = {
    "detectchange": "assessed",
    "assessaccuracy": "assessed",
    "simulateevents": "drawn",
    "synthesizechange": "step_1",
}


def main(folder: Path) -> None:
    """Write one JPEG for each algorithm that has a picture."""
    HELP.mkdir(exist_ok=True)
    for algorithm, name in PICTURES.items():
        with Image.open(folder / f"{name}.png") as picture:
            small = picture.convert("RGB")
            small.thumbnail((WIDTH, WIDTH))
            small.save(HELP / f"{algorithm}.jpg", quality=85)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
