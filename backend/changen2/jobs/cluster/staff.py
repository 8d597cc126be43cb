"""Who works for a Dask cluster: version, threads and GPUs of each worker, also of those that join later."""

from __future__ import annotations

import math
import socket
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from changen2 import __version__
from changen2.errors import Changen2Error, InputError, JobError

MEET_S = 5.0
"""How often a cluster is asked who works for it."""

_GO_ON = " Then go on with --resume."


@dataclass(frozen=True)
class Worker:
    """What a client has to know of a worker.

    Attributes:
        version: of what computes there, as of :func:`software`.
        threads: tasks that it works on at a time.
        gpus: that it announces (Dask's resource ``GPU``).
        host: machine that it runs on.
        visible: GPUs that its process sees; counted where it announces one.
    """

    version: str
    threads: int
    gpus: float = 0.0
    host: str = ""
    visible: int = 0


class Staff:
    """The workers of a cluster. Each is asked for its facts once, before it is counted.

    Where several workers of a machine see the same GPUs, each is told to compute on one of its own.

    Args:
        client: of ``distributed``.
        address: of the scheduler, for messages.
        patience_s: seconds that the first worker is waited for.

    Raises:
        InputError: ``no_cluster`` where no worker comes, one cannot run this package or the scheduler does not answer,
            or ``other_version``. Later the same as JobError, and ``worker_lost`` where the scheduler has gone.
    """

    def __init__(self, client: Any, address: str, patience_s: float) -> None:
        self._client, self._address = client, address
        self._workers: dict[str, Worker] = {}
        self._gpus: dict[str, int] = {}
        self._asked = -math.inf
        try:
            client.wait_for_workers(1, timeout=patience_s)
        except TimeoutError as error:
            raise InputError(
                f"No worker has joined the Dask cluster at {address} within {patience_s:g} s.",
                hint="Start one: dask worker ADDRESS --nthreads 1.",
                code="no_cluster",
            ) from error
        except OSError as error:
            raise self._gone(error, InputError) from error
        self._meet(InputError)

    def threads(self) -> int:
        """Tasks that all workers together work on at a time."""
        self._meet(JobError)
        return sum(worker.threads for worker in self._workers.values())

    def gpus(self) -> int:
        """GPUs that all workers together announce."""
        self._meet(JobError)
        return int(sum(worker.gpus for worker in self._workers.values()))

    def _meet(self, kind: type[Changen2Error]) -> None:
        """Ask workers that have joined for their facts, and forget those that have left."""
        if time.monotonic() - self._asked < MEET_S:
            return
        try:
            self._ask(kind)
        except (OSError, RuntimeError) as error:  # a client that is about to give up raises RuntimeError
            raise self._gone(error, kind) from error
        self._asked = time.monotonic()

    def _ask(self, kind: type[Changen2Error]) -> None:
        if self._client.status == "closed":  # it has tried in vain to connect again
            raise ConnectionError("the connection is closed")
        there = self._client.nthreads()
        self._workers = {address: worker for address, worker in self._workers.items() if address in there}
        new = [address for address in there if address not in self._workers]
        answers = self._client.run(_facts, workers=new, on_error="return") if new else {}
        # An OSError: it has left again before it could answer. Dask tells an ImportError of a worker as any Exception.
        broken = {at: why for at, why in answers.items() if not isinstance(why, (Worker, OSError))}
        if broken:
            raise self._unable(broken, kind)
        met = {address: worker for address, worker in answers.items() if isinstance(worker, Worker)}
        others = {worker.version for worker in met.values()} - {software()}
        if others:
            raise other_version(others, software(), kind)
        self._workers |= met
        own = own_gpus(self._workers, {address: self._gpus[address] for address in self._workers.keys() & self._gpus})
        for address in own.keys() & met.keys():
            self._client.run(_take_gpu, own[address], workers=[address], on_error="ignore")
        self._gpus = own

    def _unable(self, broken: Mapping[str, Exception], kind: type[Changen2Error]) -> Changen2Error:
        hint = "Start all workers in an environment with changen2 installed."
        return kind(
            f"Workers of the Dask cluster at {self._address} cannot run changen2: {', '.join(sorted(broken))} "
            f"({next(iter(broken.values()))}).",
            hint=hint + _GO_ON if kind is JobError else hint,
            code="no_cluster",
        )

    def _gone(self, why: Exception, kind: type[Changen2Error]) -> Changen2Error:
        hint = "See that the scheduler and its workers are running."
        return kind(
            f"The Dask scheduler at {self._address} does not answer: {why}",
            hint=hint + _GO_ON if kind is JobError else hint,
            code="worker_lost" if kind is JobError else "no_cluster",
        )


def own_gpus(workers: dict[str, Worker], taken: dict[str, int]) -> dict[str, int]:
    """Give each worker that sees several GPUs one of its own, as far as they go round.

    Args:
        workers: by address.
        taken: GPUs that some of them have already, by address.

    Returns:
        By address the number of its GPU, from 0; those of ``taken`` stay.
    """
    own = dict(taken)
    for address, worker in workers.items():
        if address in own or worker.visible < 2:
            continue
        used = Counter(own[other] for other in own if workers[other].host == worker.host)
        own[address] = min(range(worker.visible), key=lambda number: (used[number], number))
    return own


def software() -> str:
    """The versions in this process of what the pixels of a result depend on."""
    import rasterio
    import torch

    # Without what it was built for: a client without a GPU may have workers with one.
    built = str(torch.__version__).partition("+")[0]
    return f"changen2 {__version__}, torch {built}, GDAL {rasterio.__gdal_version__}"


def other_version(there: Collection[str], here: str, kind: type[Changen2Error]) -> Changen2Error:
    """The refusal of workers with other versions, as of :func:`software`."""
    hint = "Install the same versions everywhere: others need not give the same pixels."
    return kind(
        f"Workers of the Dask cluster run {'; '.join(sorted(there))}. Here it is {here}.",
        hint=hint + _GO_ON if kind is JobError else hint,
        code="other_version",
    )


def _facts(dask_worker: Any) -> Worker:
    """Runs on a worker."""
    gpus = float(dask_worker.state.total_resources.get("GPU", 0))
    visible = 0
    if gpus:
        import torch

        visible = torch.cuda.device_count()
    return Worker(software(), dask_worker.state.nthreads, gpus, socket.gethostname(), visible)


def _take_gpu(number: int) -> None:
    """Runs on a worker."""
    from changen2.models import devices

    devices.take_gpu(number)
