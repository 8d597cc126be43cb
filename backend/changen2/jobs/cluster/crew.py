"""Work for many processes: on this machine, or on the workers of a Dask cluster. Results come in order.

Tasks are plain functions of picklable arguments. A task whose Dask worker is lost is run again on another one, and
nothing else is; the scheduler gives a task up that took several workers with it (Dask's ``allowed-failures``). Workers
may join at any time: each is asked for its facts, and every task makes sure that it runs on the client's versions.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

from changen2.errors import Changen2Error, InputError, JobError
from changen2.jobs.cluster.staff import Staff, other_version, software
from changen2.models.memory import memory_errors

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_S = 30
"""How long a scheduler, and its first worker, are waited for."""

AHEAD = 2
"""Tasks for each worker that are handed out before their results are fetched, so that none waits for work."""

POLL_S = 0.2

DESERTED = (
    "No worker is left on the Dask cluster; waiting for one to join. Start one (dask worker ADDRESS --nthreads 1), or "
    "cancel (Ctrl-C): what is done is kept, and --resume goes on from it."
)
_loaded: dict[Hashable, Any] = {}
_loading = threading.Lock()


def once_a_process(key: Hashable, load: Callable[[], Result]) -> Result:
    """What ``load`` returns, kept for the next task of this process; another key replaces it."""
    with _loading:
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = load()
        return _loaded[key]


class Crew:
    """Processes that take tasks.

    Args:
        executor: hands them out.
        size: tells how many processes or threads work at a time; may change.
        lost: errors that mean that a process, or all of them, went away.
        on_gpus: whether every task holds a GPU.
    """

    def __init__(
        self,
        executor: Executor,
        size: Callable[[], int],
        lost: tuple[type[Exception], ...] = (),
        on_gpus: bool = False,
    ) -> None:
        self._executor = executor
        self._size = size
        self._lost = lost
        self.on_gpus = on_gpus

    @property
    def size(self) -> int:
        """Processes or threads that work at a time, as far as is known now."""
        return self._size()

    def in_order(
        self, task: Callable[[Item], Result], items: Iterable[Item], check: Callable[[], None]
    ) -> Iterator[Result]:
        """Run a task for each item; yield the results in the items' order.

        Args:
            task: picklable.
            items: taken as workers become free.
            check: asked five times a second; raising in it takes back what has not begun.

        Raises:
            JobError: ``worker_lost`` or ``out_of_memory``; ``other_version`` or ``no_cluster`` of a worker that joined.
        """
        rest = iter(items)
        waiting: deque[Future[tuple[Result | None, Changen2Error | None]]] = deque()
        deserted = False

        def hand_out(count: int) -> None:
            waiting.extend(self._executor.submit(_attempt, software(), task, item) for item in islice(rest, count))

        def feed() -> None:
            nonlocal deserted
            size = self.size
            if size == 0 and not deserted:
                logger.warning(DESERTED)
            deserted = size == 0
            hand_out(max(0, (AHEAD * size if size > 1 else 1) - len(waiting)))

        try:
            while True:
                if not waiting:
                    hand_out(1)  # where all workers have left, it waits for somebody to join
                if not waiting:
                    return  # who works by now does not matter any more
                feed()
                while not wait([waiting[0]], timeout=POLL_S).done:
                    check()
                    feed()
                check()
                result, error = waiting.popleft().result()
                if error is not None:
                    raise error
                yield cast(Result, result)
        except self._lost as loss:
            raise JobError(
                "A process was lost: it was killed, or ran out of memory.",
                hint="Go on with --resume; fewer processes at a time need less memory.",
                code="worker_lost",
            ) from loss
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def crew(workers: int, dask: str | None, device: str) -> Iterator[Crew]:
    """The processes that a request asks for.

    Args:
        workers: processes on this machine; one works in this very process.
        dask: address of a scheduler or path of its scheduler file; None stays on this machine.
        device: as asked for; on anything but ``cpu`` a task holds one of its worker's GPUs, where these are announced.

    Raises:
        InputError: ``no_dask``, ``no_cluster`` or ``other_version``.
    """
    if dask is not None:
        with _cluster(dask, device) as found:
            yield found
    elif workers == 1:
        yield Crew(_Here(), lambda: 1)
    else:
        # A forked process would inherit torch's locked thread pool.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, _end_with_parent) as pool:
            yield Crew(pool, lambda: workers, (BrokenProcessPool,))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, even if it was killed.

    A pool's processes hold both ends of the pipe their tasks come by, so that nothing else tells them.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _attempt(version: str, task: Callable[[Item], Result], item: Item) -> tuple[Result | None, Changen2Error | None]:
    """A task's result, or what it says is wrong: errors travel as values, without the causes that may not."""
    try:
        if version != software():
            raise other_version({software()}, version, JobError)
        with memory_errors():
            return task(item), None
    except Changen2Error as error:
        error.__cause__ = error.__context__ = None
        return None, error.with_traceback(None)


class _Here(Executor):
    """Runs a task at once, in this thread."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _cluster(address: str, device: str) -> Iterator[Crew]:
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise InputError(
            "Dask is not installed here.",
            hint="Install it: pip install 'dask[distributed]', into the same Python.",
            code="no_dask",
        ) from error
    given = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        client = Client(**given, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {address}: {error}",
            hint="Start one (dask scheduler) and workers (dask worker ADDRESS --nthreads 1).",
            code="no_cluster",
        ) from error
    with client:
        staff = Staff(client, address, CONNECT_S)
        # On GPUs a task holds one of those that its worker announces.
        on_gpus = device != "cpu" and staff.gpus() > 0
        with client.get_executor(pure=False, **({"resources": {"GPU": 1}} if on_gpus else {})) as executor:
            yield Crew(executor, staff.gpus if on_gpus else staff.threads, (KilledWorker, CancelledError), on_gpus)
