"""The report as a person reads it: sections with figures and pictures, in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from changen2.gpcm.classes import ClassTable
from changen2.models.rsdit_tiny import CONTOUR

Picture = NDArray[np.uint8]

GAP, HEADER = 6, 18  # pixels between pictures, and for the line above them

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 2em auto; padding: 0 1em; color: #222; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1em 0; } td, th { border: 1px solid #ccc; padding: .2em .7em; }
td { text-align: right; } th { text-align: left; font-weight: 500; background: #f6f6f6; }
figure { margin: 1em 0; } figcaption { color: #555; } img { max-width: 100%; }
"""


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Attributes:
        key: file name of its folder.
        title: heading.
        text: paragraphs.
        figures: numbers by name; a name may hold more of them by name.
        pictures: captions and pictures [h, w, 3].
    """

    key: str
    title: str
    text: Sequence[str]
    figures: dict[str, Any] = field(default_factory=dict)
    pictures: Sequence[tuple[str, Picture]] = ()


def save_section(out: Path, section: Section, about: dict[str, Any]) -> None:
    """Write a section's folder: ``section.json`` and its pictures. ``about`` says of what it was made."""
    folder = out / section.key
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    captions = {}
    for number, (caption, picture) in enumerate(section.pictures, 1):
        name = f"{number:02d}.png"
        Image.fromarray(picture).save(folder / name, optimize=True)
        captions[name] = caption
    content = {"title": section.title, "text": list(section.text), "about": about, "figures": section.figures}
    text = json.dumps({**content, "pictures": captions}, indent=1, ensure_ascii=False)
    (folder / "section.json").write_text(text, encoding="utf-8")


def write_page(out: Path, title: str, keys: Sequence[str]) -> Path:
    """Write ``report.html`` and ``report.json`` of the sections that are there, in the order of ``keys``."""
    parts, figures = [], {}
    for key in keys:
        path = out / key / "section.json"
        if path.exists():
            section = json.loads(path.read_text(encoding="utf-8"))
            figures[key] = {"about": section["about"], **section["figures"]}
            parts.append(_section_html(section, path.parent))
    (out / "report.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>{''.join(parts)}</html>"
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    return out / "report.html"


def _section_html(section: dict[str, Any], folder: Path) -> str:
    about = ", ".join(f"{name}: {value}" for name, value in section["about"].items())
    lines = [f"<h2>{html.escape(section['title'])}</h2>"]
    lines += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section["text"]]
    lines.append(_table(section["figures"]))
    for name, caption in section["pictures"].items():
        data = base64.b64encode((folder / name).read_bytes()).decode()
        lines.append(f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(caption)}">')
        lines.append(f"<figcaption>{html.escape(caption)}</figcaption></figure>")
    return "".join(lines) + f"<p><small>{html.escape(about)}</small></p>"


def _table(figures: dict[str, Any], prefix: str = "") -> str:
    rows = []
    for name, value in figures.items():
        if isinstance(value, dict):
            rows.append(f"<tr><th>{html.escape(prefix + name)}</th><td>{_table(value)}</td></tr>")
        else:
            rows.append(f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>")
    return f"<table>{''.join(rows)}</table>" if rows else ""


def sheet(columns: Sequence[str], rows: Sequence[Sequence[Picture]]) -> Picture:
    """Pictures of one size [3, h, w] in rows, with a line of headings above."""
    height, width = rows[0][0].shape[1:]
    size = (len(columns) * (width + GAP) - GAP, HEADER + len(rows) * (height + GAP) - GAP)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(columns):
        draw.text((column * (width + GAP) + 2, 2), name, fill="black")
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            place = (column * (width + GAP), HEADER + row * (height + GAP))
            canvas.paste(Image.fromarray(np.ascontiguousarray(np.moveaxis(picture, 0, -1))), place)
    return np.asarray(canvas)


def coloured(labels: Picture, classes: ClassTable) -> Picture:
    """A label map [h, w] in its classes' colours [3, h, w]; contours are white."""
    palette = np.full((256, 3), 128, np.uint8)
    palette[CONTOUR] = 255
    for index, colour in classes.colours.items():
        palette[index] = colour
    return np.moveaxis(palette[labels], -1, 0)


def shaded(mask: NDArray[np.bool_]) -> Picture:
    """A mask [h, w] as white on grey [3, h, w]."""
    return np.repeat(np.where(mask, 255, 60).astype(np.uint8)[None], 3, axis=0)
