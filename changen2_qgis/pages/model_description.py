"""A model's card in words: what it is for, what it knows, what its licence asks, where it is from."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from ..words import describe_bytes

Card = dict[str, Any]
"""As the backend's `models` tells it."""

TASKS = {"detect": "Detect change", "synthesize": "Draw images of change"}


def task_of(card: Card) -> str:
    """What the model does, in words."""
    return TASKS.get(card.get("task", ""), str(card.get("task", "")))


def describe_card(card: Card) -> str:
    """All that a person needs to choose, trust and use a model, as HTML."""
    facts = (
        ("Use", task_of(card)),
        ("State", _state(card)),
        ("Pixel size", _pixel_sizes(card)),
        ("Classes", _classes(card.get("classes", ()))),
        ("Kinds of change", _classes(card.get("change_classes", ()))),
        ("Measured", _measured(card)),
        ("Threshold", _threshold(card)),
        ("Size", describe_bytes(card["size_bytes"]) if card.get("size_bytes") else ""),
        ("Licence", _licence(card)),
        ("From", _with_links(_origin(card))),
        ("SHA-256", _digests(card)),
    )
    rows = "".join(
        f'<tr><td style="padding-right: 8px"><b>{name}</b></td><td>{text}</td></tr>' for name, text in facts if text
    )
    title, summary = escape(str(card.get("title") or card["name"])), escape(str(card.get("summary", "")))
    return f'<h3>{title}</h3><p>{summary}</p><table cellspacing="0" cellpadding="3">{rows}</table>'


def _state(card: Card) -> str:
    if card.get("embedded"):
        return "Built in"
    state = "Installed" if card.get("installed") else "Not installed"
    if card.get("installed") and card.get("installed_at"):
        state += f" on {escape(str(card['installed_at'])[:10])}"
    if card.get("training_start"):
        state += "; a start for training, it does not detect"
    if card.get("path"):
        state += f"<br>{escape(card['path'])}"
    return state


def _pixel_sizes(card: Card) -> str:
    if card.get("gsd_min") is None:
        return ""
    return f"{card['gsd_min']:g} to {card['gsd_max']:g} m on the ground, best at {card['gsd_native']:g} m"


def _classes(classes: Any) -> str:
    return ", ".join(
        f'<span style="white-space: nowrap"><span style="color: {escape(entry["color"])}">■</span>'
        f"&nbsp;{escape(entry['name'])}</span>"
        for entry in classes
    )


def _measured(card: Card) -> str:
    """Each F1 that a card tells, and of a model that was trained here what makes it look better than it is."""
    measured = card.get("measured") or {}
    scores = {name: entry for name, entry in measured.items() if isinstance(entry, dict) and "f1" in entry}
    lines = [
        f"{escape(name)}: F1 {entry['f1']:g} ({entry.get('images', '?')} images)" for name, entry in scores.items()
    ]
    if lines and not card.get("embedded"):
        lines.append(escape(str(measured.get("note", ""))))
    return "<br>".join(filter(None, lines))


def _threshold(card: Card) -> str:
    """The recommended one."""
    if card.get("task") != "detect" or card.get("training_start") or card.get("threshold") is None:
        return ""
    return f"{card['threshold']:.3g}, recommended"


def _origin(card: Card) -> str:
    if card.get("embedded"):
        return "Comes with the plugin"
    return str(card.get("source") or card.get("origin") or "Not stated")


def _licence(card: Card) -> str:
    agreed = "<br>You have agreed to it." if card.get("noncommercial") and card.get("consent") else ""
    text = card.get("licence_text") or card.get("licence") or "Not stated"
    return f"<b>{escape(str(card.get('licence', '')))}</b><br>{_with_links(str(text))}{agreed}"


def _digests(card: Card) -> str:
    """Of the weights that are here and of the file they came from; before that, what others report."""
    lines = [escape(str(card["sha256"]))] if card.get("sha256") else []
    if card.get("source_sha256"):
        lines.append(f"of the file {escape(str(card.get('source_file', '')))}: {escape(str(card['source_sha256']))}")
    reported = card.get("reported_sha256")
    if reported and reported != card.get("source_sha256"):
        lines.append(f"reported by others, not verified: {escape(reported)}")
    if not card.get("sha256"):
        lines.append("The first file that you install is remembered; another one under its name is refused.")
    return "<br>".join(lines)


def _with_links(text: str) -> str:
    return re.sub(r"https?://[^\s)<]+", lambda found: f'<a href="{found[0]}">{found[0]}</a>', escape(text))
