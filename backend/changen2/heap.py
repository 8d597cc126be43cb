"""Memory that is freed and soon asked for again: kept, instead of given back to the system each time.

A network on a processor frees and asks for hundreds of megabytes at every layer. glibc has each of these from the
kernel anew, which clears them page by page. ``make bench`` says what that costs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt(3).
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4

KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
"""Everything comes from the heap, and nothing of it goes back."""

USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 * 2**20, TRIM_THRESHOLD: 64 * 2**20}
"""How far glibc itself goes, on 64 bits, in a process that frees large blocks."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what is freed inside; give all of it back at the end.

    Where the C library is another than glibc (Windows, macOS, Alpine) nothing happens; in other threads than the main
    one it holds for blocks below 64 MB. It is for the whole process: of two at a time, the end of the first ends it for
    both, which costs speed only, and at the end limits are set that glibc does not move any more.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    _set(libc, KEEPING)
    try:
        yield
    finally:
        _set(libc, USUAL)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        libc.mallopt(parameter, value)


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it can be told how to keep memory."""
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has none without a name
        return None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
