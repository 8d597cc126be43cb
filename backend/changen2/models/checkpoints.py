"""Reading weights that came from somewhere else, without ever running code that a file may hold."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from changen2.errors import InputError

WRAPPERS = ("state_dict", "model", "model_state_dict")  # under which training scripts keep the parameters
GET_AGAIN = "Get the file again; compare its size with what the source says."


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read parameters by name from a .safetensors, .pth, .pt, .bin or .ckpt file.

    Raises:
        InputError: ``missing_file``, ``unreadable`` (truncated, or no weights at all) or ``unsafe_file`` (a pickle with
            more than numbers in it).
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.", hint="Check the path.", code="missing_file")
    refuse_text(path)
    try:
        content = load_file(path) if path.suffix.lower() == ".safetensors" else load_pickle(path)
    except SafetensorError as error:
        raise unreadable(path, error) from error
    return parameters(path, content)


def load_pickle(path: Path) -> object:
    """Unpickle tensors and plain containers, nothing else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        called = re.search(r"GLOBAL (\S+)", str(error))
        if not called:
            raise unreadable(path, ValueError("a broken pickle")) from error
        raise InputError(
            f"{path.name} is refused: beside weights it holds program code ({called[1]}), which could do anything on "
            "this machine. It was not run.",
            hint="Get the weights from their authors' repository, best as .safetensors.",
            code="unsafe_file",
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # what a damaged pickle raises depends on where the damage is
        raise unreadable(path, error) from error


def refuse_text(path: Path) -> None:
    """Recognize what browsers and git leave behind in place of a large file."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise InputError(f"{path.name} is empty.", hint=GET_AGAIN, code="unreadable")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(
            f"{path.name} is a Git LFS pointer, not the weights themselves.",
            hint="Download the file from the repository's page, or run `git lfs pull`.",
            code="unreadable",
        )
    if start.lstrip()[:1] == b"<":
        raise InputError(f"{path.name} is a web page, not weights.", hint=GET_AGAIN, code="unreadable")


def parameters(path: Path, content: object) -> dict[str, Tensor]:
    """Find the parameters in what was read: at the top, under a wrapper, perhaps named for a parallel module."""
    if isinstance(content, dict):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
                break
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path.name} holds no model parameters.", hint=GET_AGAIN, code="unreadable")
    if all(str(name).startswith("module.") for name in content):
        content = {str(name).removeprefix("module."): value for name, value in content.items()}
    return {str(name): value for name, value in content.items()}


def unreadable(path: Path, error: Exception) -> InputError:
    """A file that is cut short or is something else."""
    reason = (str(error) or type(error).__name__).splitlines()[0][:160]
    return InputError(
        f"{path.name} ({path.stat().st_size:,} bytes) cannot be read as weights: it is cut short, damaged or something "
        f"else ({reason}).",
        hint=GET_AGAIN,
        code="unreadable",
    )
