"""Figures in words, as people say them: what a run takes, areas, durations, sizes."""

from __future__ import annotations

from typing import Any


def describe_estimate(estimate: dict[str, Any]) -> str:
    """What a run will take: "1,024 × 768 px, 6 tiles, 1.1 GB memory, 4 MB disk, about 20 s"."""
    return ", ".join([f"{estimate['width']:,} × {estimate['height']:,} px", *_costs(estimate)])


def describe_synthesis(estimate: dict[str, Any]) -> str:
    """What a synthesis will take: "2 events change 310 m², 4 tiles, 1.1 GB memory, 4 MB disk, about 20 s"."""
    events = sum(estimate["events"].values())
    areas = estimate["changed_m2"]
    changed = f"{sum(estimate['changed_px']):,} px" if None in areas else describe_area(sum(areas))
    verb = "event changes" if events == 1 else "events change"
    return ", ".join([f"{events:,} {verb} {changed}", *_costs(estimate)])


def _costs(estimate: dict[str, Any]) -> list[str]:
    tiles, seconds = estimate["tiles"], estimate.get("seconds")
    costs = [
        f"{tiles:,} tile{'' if tiles == 1 else 's'}",
        f"{describe_bytes(estimate['memory_bytes'])} memory",
        f"{describe_bytes(estimate['disk_bytes'])} disk",
    ]
    if seconds is not None:
        costs.append(f"about {describe_seconds(seconds)}".replace(" ", "\u00a0"))
    return costs


def describe_shift(summary: dict[str, Any]) -> str:
    """What aligning the images undid: "The second image lay 6.0 columns and −3.0 rows off, 1.14 m; undone.", or ""."""
    shift = summary.get("shift")
    if not shift:
        return ""
    columns, rows = (f"{round(shift[name], 1) + 0.0:.1f}".replace("-", "−") for name in ("columns", "rows"))
    metres = "" if shift.get("metres") is None else f", {shift['metres']:.2f}\u00a0m"
    return f"The second image lay {columns} columns and {rows} rows off{metres}; undone."


def describe_area(square_metres: float) -> str:
    """An area as people say it: "310 m²", "2.4 ha"."""
    if square_metres >= 10_000:
        return f"{square_metres / 10_000:,.1f}\u00a0ha"
    return f"{square_metres:,.0f}\u00a0m²"


def describe_bytes(count: float) -> str:
    """Bytes in decimal units with two digits: "4.1 MB", "120 kB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            value = count / size
            return f"{value:.1f}\u00a0{unit}" if value < 10 else f"{value:,.0f}\u00a0{unit}"
    return f"{count:.0f} B"


def describe_seconds(seconds: float) -> str:
    """A duration as people say it: "20 s", "5 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
