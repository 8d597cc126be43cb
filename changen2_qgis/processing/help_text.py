"""The help beside an algorithm's parameters: paragraphs, with a picture where there is one."""

from __future__ import annotations

from ..paths import resources_dir

PICTURE_WIDTH = 230
"""Pixels; the help panel is about 250 wide at first."""


def help_text(algorithm: str, text: str) -> str:
    """What QGIS shows as help; it makes a paragraph of each line, so the lines of a paragraph are joined.

    Args:
        algorithm: its name, such as ``detectchange``; the picture is ``help/detectchange.jpg`` among the resources.
        text: paragraphs parted by empty lines.
    """
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    picture = resources_dir() / "help" / f"{algorithm}.jpg"
    if picture.exists():
        paragraphs.insert(1, f'<img src="{picture.as_uri()}" width="{PICTURE_WIDTH}">')
    return "\n".join(paragraphs)
