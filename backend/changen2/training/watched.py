"""Sequences that a caller who wants the job to stop may leave at every item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

T = TypeVar("T")

Check = Callable[[], None]
"""Raises :class:`changen2.errors.Cancelled` where the caller wants the job to stop."""


def go_on() -> None:
    """Where nobody may stop the job."""


class Watched(Sequence[T]):
    """A sequence that asks before it gives an item, so that whatever goes through it, however slowly, can be stopped.

    Args:
        items: of the sequence.
        check: asked before each.
    """

    def __init__(self, items: Sequence[T], check: Check) -> None:
        self._items, self._check = items, check

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Watched[T]: ...
    def __getitem__(self, index: int | slice) -> T | Watched[T]:
        if isinstance(index, slice):
            return Watched(self._items[index], self._check)
        self._check()
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)
