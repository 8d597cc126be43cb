"""Does synthesis hold? A report with pictures: ``make report-synthesis``.

``python -m changen2.reports.synthesis --data FOLDER --out FOLDER`` writes ``report.html``, which needs no other file,
and ``report.json``. Each part has a folder of its own and may be made alone (``--parts``); tiles that were drawn are
kept, so a broken run goes on where it stopped. The defaults are the full report, hours on two cores; ``--small`` is a
look in minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from changen2.errors import Changen2Error
from changen2.reports.page import Section, save_section, write_page
from changen2.reports.sections.consistency import consistency_section
from changen2.reports.sections.events import events_section
from changen2.reports.sections.frechet import frechet_section
from changen2.reports.sections.seams import seams_section
from changen2.reports.sections.series import series_section
from changen2.reports.sections.sizes import sizes_section
from changen2.reports.subject import Options, Subject, embedded_subject, file_subject

PARTS: dict[str, Callable[[Subject, Callable[[str], None]], Section]] = {
    "series": series_section,
    "events": events_section,
    "consistency": consistency_section,
    "seams": seams_section,
    "sizes": sizes_section,
    "frechet": frechet_section,
}

SMALL = {"tiles": 12, "ancestral_steps": 50, "objects": 12, "edits": 6, "examples": 1, "series": 1}

TITLE = "Changen2 for QGIS: does synthesis hold?"


def make_report(subject: Subject, parts: list[str], tell: Callable[[str], None]) -> Path:
    """Make some parts and write the page of all that are there."""
    options = subject.options
    options.out.mkdir(parents=True, exist_ok=True)
    sizes = {key: value for key, value in asdict(options).items() if not isinstance(value, Path)}
    for part in parts:
        began = time.monotonic()
        section = PARTS[part](subject, tell)
        about = {"model": subject.card.name, "weights": subject.identity, **sizes, "made": time.strftime("%Y-%m-%d")}
        save_section(options.out, section, about)
        tell(f"{part}: {time.monotonic() - began:.0f} s")
        page = write_page(options.out, TITLE, list(PARTS))
    return page


def main() -> int:
    """Make a report from the command line; 2 where its input is not usable."""
    given = _arguments()
    sizes: dict[str, Any] = dict(SMALL) if given.small else {}
    sizes.update({name: getattr(given, name) for name in SMALL if getattr(given, name) is not None})
    folders = (Path(given.data), Path(given.out), Path(given.cache))
    options = Options(*folders, segmenters=tuple(given.segmenters), seed=given.seed, **sizes)
    torch.set_num_threads(given.threads)
    try:
        subject = file_subject(given.weights, options) if given.weights else embedded_subject(options)
        page = make_report(subject, given.parts, lambda text: print(text, file=sys.stderr, flush=True))
    except Changen2Error as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return 2
    print(page)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder that holds train and val")
    parser.add_argument("--out", default="runs/report-synthesis", help="folder for the report")
    parser.add_argument("--cache", default="runs/segmenter", help="folder for the segmenter's weights")
    parser.add_argument("--weights", type=Path, help="exported weights; the embedded generator's by default")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--segmenters", nargs="+", choices=["embedded", "real"], default=["embedded", "real"])
    parser.add_argument("--small", action="store_true", help="a look in minutes")
    for name, help_text in (
        ("tiles", "real tiles, and generated ones of each sampler"),
        ("ancestral_steps", "of DDPM"),
        ("objects", "created buildings"),
        ("edits", "null edits"),
        ("examples", "tiles shown of each event"),
        ("series", "six-step series shown"),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=help_text)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
