"""What this machine has, what is wrong with it, and how to mend that."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from changen2.jobs.runs.manifest import versions

SCARCE_MEMORY = 3e9
SCARCE_DISK = 2e9


def examine() -> dict[str, Any]:
    """Run every check.

    Returns:
        ``ok``, ``versions``, ``devices`` and ``checks``: each with ``name``, ``ok``, ``found``, ``remedy``.
    """
    from changen2.models.devices import survey

    found, unusable = survey()
    possible = [
        _python(),
        _memory(),
        _disk(),
        *(_kernel(device.name) for device in found),
        *(_unusable(name, reason) for name, reason in unusable.items()),
        _nvidia(found),
        *_models(),
    ]
    checks = [check for check in possible if check]
    return {
        "ok": all(check["ok"] for check in checks),
        "versions": versions(),
        "devices": [asdict(device) for device in found],
        "checks": checks,
    }


def _check(name: str, ok: bool, found: str, remedy: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": found, "remedy": "" if ok else remedy}


def _python() -> dict[str, Any]:
    found = ".".join(map(str, sys.version_info[:3]))
    return _check("Python", sys.version_info >= (3, 10), found, "Build the environment with Python 3.10 or newer.")


def _memory() -> dict[str, Any]:
    free = psutil.virtual_memory().available
    return _check("free memory", free > SCARCE_MEMORY, f"{free / 1e9:.1f} GB", "Close other programs; 3 GB are needed.")


def _disk() -> dict[str, Any]:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return _check("free disk", free > SCARCE_DISK, f"{free / 1e9:.1f} GB", "Free at least 2 GB.")


def _kernel(name: str) -> dict[str, Any]:
    """Multiply two matrices on the device: a driver that does not fit shows itself only here."""
    import torch

    try:
        ones = torch.ones(64, 64, device=name)
        worked = float((ones @ ones).sum()) == 64.0**3
    except RuntimeError as error:
        return _check(f"device {name}", False, str(error).splitlines()[0], "Update the driver, or use --device cpu.")
    return _check(f"device {name}", worked, "computes" if worked else "computes wrongly", "Use --device cpu.")


def _unusable(name: str, reason: str) -> dict[str, Any]:
    """A GPU that is there and does not answer."""
    remedy = "Close other programs that use it, update the driver or start the machine anew, or use --device cpu."
    return _check(f"device {name}", False, reason, remedy)


def _nvidia(found: list[Any]) -> dict[str, Any] | None:
    """A card that the system knows but torch does not is the usual silent fall back to the CPU."""
    if shutil.which("nvidia-smi") is None:
        return None
    usable = any(device.name.startswith("cuda") for device in found)
    text = "torch can use it" if usable else "torch cannot use it"
    remedy = "Install the torch build for your driver's CUDA version (in QGIS: Set up the backend again)."
    return _check("NVIDIA card", usable, text, remedy)


def _models() -> list[dict[str, Any]]:
    from changen2.errors import Changen2Error
    from changen2.models.registry import cards, load_model

    checks = []
    for card in cards().values():
        if not card.installed:
            continue
        name = f"model {card.name}" if card.task == "detect" else f"model {card.name} ({card.task})"
        try:
            load_model(card)
            checks.append(_check(name, True, f"{card.size_bytes / 1e6:.1f} MB, digest right", ""))
        except Changen2Error as error:
            checks.append(_check(name, False, error.message, error.hint))
    if not checks:
        remedy = f"Install the backend again from {Path(__file__).parents[2].name}."
        checks.append(_check("models", False, "none installed", remedy))
    return checks
