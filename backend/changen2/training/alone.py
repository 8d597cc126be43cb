"""One training at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from changen2.errors import InputError
from changen2.training import distributed

LOCK = "training.lock"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold a folder, which is there, for one training; of processes that train together the first holds it for all.

    Raises:
        InputError: ``busy`` where another training is at work there.
    """
    lock = FileLock(out / LOCK, timeout=0, thread_local=False)
    try:
        if distributed.rank() == 0:
            with suppress(NotImplementedError):  # a file system without locks
                lock.acquire()
    except Timeout:
        raise InputError(
            f"Another run is at work in {out}.", hint="Wait for it, or choose another folder.", code="busy"
        ) from None
    try:
        yield
    finally:
        lock.release()
