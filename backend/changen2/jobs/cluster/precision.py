"""One precision for all workers of a run: pixels must not tell which of unlike workers has made them.

Nor may it depend on which of them answers first whether a run goes on.
"""

from __future__ import annotations

from changen2.models.devices import PRECISIONS, choose_device, choose_precision


def precision_here(asked: tuple[str, str]) -> tuple[str, str]:
    """The kind of device and the precision that a process ends up with, by those asked for; runs on a worker."""
    device = choose_device(asked[0])
    return device.type, PRECISIONS[choose_precision(asked[1], device)]


def for_all_workers(found: str, asked: str, device: str, on_gpus: bool) -> str:
    """The precision of all workers of a cluster.

    fp16 that nobody asked for becomes fp32 where a task may come to a worker without GPU, which cannot compute in it.

    Args:
        found: what the first worker ends up with.
        asked: precision that was asked for.
        device: that was asked for.
        on_gpus: whether every task holds a GPU.
    """
    return "fp32" if found == "fp16" and asked == "auto" and _anywhere(device, on_gpus) else found


def device_noted(found: str, begun_on: str | None, device: str, on_gpus: bool) -> str:
    """The device that a cluster's run notes: that of the first worker, asked when the run began.

    Args:
        found: that of the worker asked now.
        begun_on: what the run noted when it began, for one that goes on.
        device: that was asked for.
        on_gpus: whether every task holds a GPU.
    """
    return begun_on if begun_on and _anywhere(device, on_gpus) else found


def _anywhere(device: str, on_gpus: bool) -> bool:
    """Whether a task may come to any kind of device."""
    return device == "auto" and not on_gpus
