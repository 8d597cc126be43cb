"""Where a device's memory does not suffice: smaller batches, and in the end a message instead of torch's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch

from changen2.errors import JobError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

CLOSE_OTHERS = "Close other programs that use it, or use another device."

SIGNS = ("out of memory", "ALLOC_FAILED", "DefaultCPUAllocator")
"""What errors say for which torch has no class: of MPS, cuDNN, cuBLAS and the CPU."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device's memory did not suffice."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def enough_memory(device: torch.device, what: str, hint: str = CLOSE_OTHERS) -> AbstractContextManager[None]:
    """Say in plain words where a device's memory does not suffice.

    Args:
        device: that computes.
        what: is put there, as the beginning of a sentence.
        hint: the next step.

    Raises:
        JobError: ``out_of_memory``.
    """
    return _told(f"{what} does not fit into the free memory of {device}.", hint)


def memory_errors() -> AbstractContextManager[None]:
    """Say in plain words that memory did not suffice, where nobody below could tell what for.

    Raises:
        JobError: ``out_of_memory``.
    """
    hint = "Close other programs, or take a smaller part at a time, or fewer processes."
    return _told("The machine ran out of memory.", hint)


@contextmanager
def _told(text: str, hint: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise JobError(text, hint=hint, code="out_of_memory") from error


def move(generator: object, device: torch.device) -> None:
    """Put a generator to work on a device, in eval mode; one without a network is the same everywhere.

    Raises:
        JobError: ``out_of_memory`` where it does not fit.
    """
    if isinstance(generator, torch.nn.Module):
        with enough_memory(device, "The generator"):
            generator.eval().to(device)


class Batch:
    """How many items a device takes at once: halved, for good, when its memory does not suffice.

    Whoever computes pads to ``size``, so that its results depend on it by no more than the last bits.

    Args:
        size: items at once to begin with.
        device: that computes.

    Attributes:
        size: items at once now.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self._device = device

    def run(self, look: Callable[[slice], Result], count: int, item: str, hint: str = CLOSE_OTHERS) -> Iterator[Result]:
        """Yield what ``look`` returns for each part of ``count`` items, in order; what did not fit is looked at again.

        Args:
            look: computes on a part of at most ``size`` items.
            count: of items.
            item: one of them, as the beginning of a sentence.
            hint: the next step where not even one fits.

        Raises:
            JobError: ``out_of_memory`` where not even one item fits.
        """
        first = 0
        while first < count:
            part = slice(first, min(first + self.size, count))
            try:
                with enough_memory(self._device, item, hint):
                    result = look(part)
            except JobError as error:
                if error.code != "out_of_memory" or self.size == 1:
                    raise
            else:
                yield result
                first = part.stop
                continue
            self._halve()  # here the error is gone, and with it what its frames held in memory

    def _halve(self) -> None:
        if self._device.type in ("cuda", "mps"):
            getattr(torch, self._device.type).empty_cache()
        self.size //= 2
        logger.warning("%s ran out of memory; the batch is now %d.", self._device, self.size)
