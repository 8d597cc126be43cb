"""Neural networks, their registry and checkpoints. Knows no rasters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from changen2.models.published import load_published

__all__ = ["load_published"]


def __getattr__(name: str) -> Any:
    """Fetch `load_published` when it is first asked for: torch takes seconds to import."""
    if name == "load_published":
        from changen2.models.published import load_published

        return load_published
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
