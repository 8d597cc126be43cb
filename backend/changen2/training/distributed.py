"""Training by several processes, as ``torchrun`` starts them; alone, every function here changes nothing.

Each process takes its part of every step's examples, and gradients are averaged, so the run is that of one process
with the whole batch. Two things keep it so. Losses are sums over known pixels divided by the number of these in the
whole batch (:func:`shared_count`), not in the part. And every process begins with the same weights and moves them by
the same gradients, so they stay the same without being sent.

Batch norms that still measure, in the warm-up, normalize by the statistics of their own part, which is where such a run
differs from that of one process; the running statistics are averaged after each step, so those that stay from then on
are the same everywhere. Their variance misses that of the parts' means, which is small as long as a part is some four
pairs or more (``batch_size`` counts all processes).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from changen2.errors import InputError


@dataclass(frozen=True)
class Team:
    """The processes of a run.

    Attributes:
        rank: of this one; the first, 0, writes.
        size: how many there are.
        device: where this one trains.
    """

    rank: int
    size: int
    device: torch.device


@contextmanager
def team() -> Iterator[Team]:
    """Join the processes that torchrun started (gloo on CPUs, nccl on GPUs, one each); alone where it started none."""
    if not started_by_torchrun():
        yield Team(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        return
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device.type == "cpu" else "nccl")
    try:
        yield Team(rank(), size(), device)
    finally:
        dist.destroy_process_group()


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if dist.is_initialized() else 0


def part(batch_size: int) -> slice:
    """This process's part of a step's examples.

    Raises:
        InputError: the batch cannot be shared out evenly.
    """
    if batch_size % size():
        raise InputError(
            f"A batch of {batch_size} cannot be shared out among {size()} processes.",
            hint="Make `batch_size`, which counts all processes, a multiple of their number.",
        )
    share = batch_size // size()
    return slice(rank() * share, (rank() + 1) * share)


def wait() -> None:
    """Go on when all have come here."""
    if size() > 1:
        dist.barrier()


def mean(value: Tensor) -> Tensor:
    """The mean of all processes' values of a tensor, written into it."""
    if size() > 1:
        dist.all_reduce(value)
        value /= size()
    return value


def of_first(value: float, device: torch.device) -> float:
    """The value that the first process has."""
    if size() == 1:
        return value
    sent = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(sent, 0)
    return float(sent)


def shared_count(known: Tensor) -> Tensor:
    """Known pixels of the whole batch for each process, at least 1: what a part's sum of losses is divided by."""
    return mean(known.sum()).clamp(min=1 / size())


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of all gradients, sent as one piece."""
    if size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    whole = mean(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    for gradient, averaged in zip(gradients, whole.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(averaged.view_as(gradient))


def average_norms(model: nn.Module) -> None:
    """Give every process the mean of what the batch norms in training mode have measured."""
    if size() == 1:
        return
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.training and module.track_running_stats:
            mean(module.get_buffer("running_mean"))
            mean(module.get_buffer("running_var"))
