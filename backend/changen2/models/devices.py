"""Which device computes, and how precisely. Never silently another one than was asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import psutil
import torch
from torch import Tensor, nn

from changen2.errors import InputError, JobError

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=nn.Module)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Device:
    """A device that torch can use on this machine.

    Attributes:
        name: what ``--device`` takes.
        label: for a person.
        memory_total, memory_free: bytes.
    """

    name: str
    label: str
    memory_total: int
    memory_free: int


def devices() -> list[Device]:
    """Return every usable device, best first; the CPU is always there."""
    return survey()[0]


def survey() -> tuple[list[Device], dict[str, str]]:
    """Return every usable device, best first, and by name why each other one cannot be used.

    A GPU that does not answer, since another program has it for itself or its driver is broken, is left out, with a
    warning.
    """
    found, unusable = [], {}
    for index in range(torch.cuda.device_count()):
        name = f"cuda:{index}"
        try:
            free, total = torch.cuda.mem_get_info(index)
            found.append(Device(name, torch.cuda.get_device_name(index), total, free))
        except Exception as error:  # which one depends on torch's version and on what is wrong
            unusable[name] = (str(error) or type(error).__name__).splitlines()[0]
            _warn(name, unusable[name])
    memory = psutil.virtual_memory()
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", memory.total, memory.available))
    cores = default_threads()
    label = f"CPU ({cores} core{'s' if cores > 1 else ''})"
    return [*found, Device("cpu", label, memory.total, memory.available)], unusable


@cache
def _warn(name: str, reason: str) -> None:
    """Say once what is wrong with a device, however often it is asked for."""
    logger.warning("%s cannot be used: %s", name, reason)


_own_gpu = 0


def take_gpu(number: int) -> None:
    """Let this process compute on one of several GPUs where ``auto`` or ``cuda`` is asked for.

    Args:
        number: of the GPU, from 0; one that is not there stands for the first.
    """
    global _own_gpu
    _own_gpu = number


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` and ``cuda`` are this process's own GPU (see `take_gpu`), the first usable one if it was not told. The CPU
    is had without asking any GPU.

    Raises:
        InputError: ``no_device`` where this machine has no such device, or cannot use it.
    """
    if name == "cpu":
        return torch.device(name)
    found, unusable = survey()
    names = [device.name for device in found]
    gpus = [there for there in names if there.startswith("cuda:")]
    own = f"cuda:{_own_gpu}" if f"cuda:{_own_gpu}" in gpus else next(iter(gpus), "cuda")
    wanted = {"auto": own if gpus else names[0], "cuda": own}.get(name, name)
    if wanted not in names:
        reasons = "".join(f" {gpu} cannot be used: {reason}" for gpu, reason in unusable.items())
        raise InputError(
            f"There is no device {name!r} here; available: auto, {', '.join(names)}.{reasons}",
            hint="Run `changen2 doctor` to see why a GPU is not found.",
            code="no_device",
        )
    return torch.device(wanted)


def memory_free(device: torch.device) -> int:
    """Bytes of a device's memory that this process can take, what torch keeps on a GPU to use again included."""
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype for ``auto``, ``fp32``, ``bf16`` or ``fp16`` on a device.

    ``auto`` is bf16 where the hardware multiplies in it, fp16 on older GPUs, else fp32.
    """
    if name in DTYPES:
        if name == "fp16" and device.type == "cpu":
            raise InputError(
                "Precision fp16 does not work on a CPU; allowed there: auto, fp32, bf16.",
                hint="Use --precision auto.",
                code="bad_value",
            )
        return DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    return torch.bfloat16 if device.type == "cpu" and _pays_in_bf16() else torch.float32


def _pays_in_bf16() -> bool:
    """Whether this CPU multiplies faster in bf16 than in fp32.

    AMX tiles do. AVX512_BF16 alone may: on AMD's Zen 5 detection takes 0.4 times as long as in fp32, on Intel's
    Emerald Rapids without AMX longer (docs/published-models.md).
    """
    if getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)():
        return True
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.13
    return bool(found.get("avx512_bf16")) and "AMD" in str(found.get("cpu_name"))


def channels_last(model: Model) -> Model:
    """Lay a model's weights out, in place, as convolutions are fastest with."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def default_threads() -> int:
    """Return the number of physical cores this process may use."""
    return max(1, psutil.cpu_count(logical=False) or psutil.cpu_count() or 1)


def require_numbers(answer: Tensor, precision: torch.dtype) -> None:
    """Refuse a network's answer that holds NaN or infinity: as an image or a map, it would look like any other.

    Raises:
        JobError: ``not_a_number``.
    """
    if bool(torch.isfinite(answer).all()):
        return
    exact = precision == torch.float32
    raise JobError(
        f"The model's answer is not a number somewhere (computed in {PRECISIONS[precision]}).",
        hint="Its weights are unusable: choose another model." if exact else "Compute more exactly (--precision fp32).",
        code="not_a_number",
    )
