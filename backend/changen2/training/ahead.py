"""Batches made ahead of the step that takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

AHEAD = 4


class Ahead(Generic[T]):
    """The batches of a run in order, made by a thread of their own while the model learns. Use as a context manager.

    No process: forking one that has threads may leave the child waiting for ever, and where nothing is forked all
    imagery would be copied.

    Args:
        make: makes the batch of a step, from its number alone.
        steps: of the run.
    """

    def __init__(self, make: Callable[[int], T], steps: int) -> None:
        self._make, self._steps = make, steps
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._coming: deque[Future[T]] = deque()
        self._next: int | None = None

    def of(self, step: int) -> T:
        """The batch of a step; steps are asked for one after the other, from any first one."""
        if self._next is None:
            self._next = step
        while len(self._coming) < AHEAD and self._next < self._steps:
            self._coming.append(self._thread.submit(self._make, self._next))
            self._next += 1
        return self._coming.popleft().result()

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
