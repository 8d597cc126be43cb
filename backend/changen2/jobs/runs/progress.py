"""Progress and cancel through one callback, with a remaining time that means something."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from changen2.errors import Cancelled


class Progress(NamedTuple):
    """How far a job is.

    Attributes:
        stage: of a detection ``read``, ``coregister``, ``detect``, ``resample``, ``write`` or ``vectorize``.
        done, total: units of that stage; total 0 where it is not known.
        eta_s: remaining seconds of the stage, or None while too early to say.
    """

    stage: str
    done: int
    total: int
    eta_s: float | None


OnProgress = Callable[[Progress], None]
IsCancelled = Callable[[], bool]


class Reporter:
    """Tells a caller how far a job is and stops the job where the caller wants that.

    Args:
        on_progress: called at most ten times a second and at the end of each stage.
        is_cancelled: asked at every step.
    """

    INTERVAL_S = 0.1
    FIRST_GUESS_S = 1.0

    def __init__(self, on_progress: OnProgress | None = None, is_cancelled: IsCancelled | None = None) -> None:
        self._on_progress = on_progress or (lambda _: None)
        self._is_cancelled = is_cancelled or (lambda: False)
        self._stage, self._began, self._told = ("", 0), 0.0, 0.0
        self._done = 0
        self._there = 0  # units that were done when the stage's clock started, by an earlier run

    @property
    def is_cancelled(self) -> IsCancelled:
        """Whether the caller wants the job to stop."""
        return self._is_cancelled

    def check(self) -> None:
        """Raise ``Cancelled`` where the caller asked for it."""
        if self._is_cancelled():
            raise Cancelled()

    def step(self, stage: str, done: int, total: int) -> None:
        """Report ``done`` of ``total`` units; the stage's first report starts its clock.

        So does one with another total or with less done, for its units are others. What is done by then took an earlier
        run's time, and says nothing about the time that remains.

        Raises:
            Cancelled: where the caller asked for it.
        """
        self.check()
        now = time.monotonic()
        if (stage, total) != self._stage or done < self._done:
            self._stage, self._began, self._told, self._there = (stage, total), now, 0.0, done
        self._done = done
        if now - self._told < self.INTERVAL_S and done != total:
            return
        self._told = now
        spent, mine = now - self._began, done - self._there
        known = total > 0 and mine > 0 and spent > self.FIRST_GUESS_S
        self._on_progress(Progress(stage, done, total, round(spent / mine * (total - done), 1) if known else None))
