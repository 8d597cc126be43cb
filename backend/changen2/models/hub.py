"""Fetching a published model's file from huggingface.co: with progress, resumed, through the user's proxy."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from changen2.errors import Changen2Error, JobError
from changen2.models.catalogue import PublishedModel
from changen2.models.store import sha256

OnBytes = Callable[[int, int], None]
"""Told bytes done and bytes in all; may raise to stop."""

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def fetch(model: PublishedModel, folder: Path, on_bytes: OnBytes, *, endpoint: str | None = None) -> Path:
    """Download a model's file, or go on where an earlier attempt broke off.

    Proxies are taken from HTTPS_PROXY and NO_PROXY, as the client does.

    Args:
        model: what to fetch.
        folder: where the file and what is needed to resume are kept.
        on_bytes: told at every chunk.
        endpoint: another address than https://huggingface.co, such as a mirror.

    Returns:
        The file's path.

    Raises:
        JobError: ``offline``, ``not_found`` or ``damaged``.
        OSError: the disk is full.
    """
    from huggingface_hub import errors

    def get(name: str, told: OnBytes = lambda done, total: None) -> Path:
        return fetch_file(model.repository, name, folder, told, endpoint)

    try:
        return get(model.file_name or find_file(model, get, endpoint), on_bytes)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise not_found(model, str(error).splitlines()[0]) from error
    except Changen2Error:
        raise
    except Exception as error:  # which library carries the bytes, and what it raises, differs by the client's version
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise JobError(
            f"{model.card.name} could not be downloaded from huggingface.co/{model.repository}: {reason}",
            hint=f"Run it again to go on where it broke off. Behind a proxy, set HTTPS_PROXY. {by_hand(model)}",
            code="offline",
        ) from error


def fetch_file(repository: str, name: str, folder: Path, on_bytes: OnBytes, endpoint: str | None) -> Path:
    """Download one file of a repository. The client resumes within a run; the part kept here resumes across runs.

    Raises:
        JobError: ``damaged``: not the file that the hub keeps, which tells the SHA-256 of large ones; nothing is left.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # standard error is the worker's log
    there = get_hf_file_metadata(hf_hub_url(repository, name, endpoint=endpoint))
    path = folder / Path(name).name
    etag = str(there.etag)
    version = hashlib.sha256(etag.encode()).hexdigest()[:12]  # a part of another version is not gone on with
    part = folder / f"{path.name}.{version}.part"
    with Told(part, there.size or 0, on_bytes) as file:
        done = file.tell()
        if there.size is None or done < there.size:
            http_get(there.location, file, resume_size=done, expected_size=there.size)
    # A part has the right length also where its end was lost with the power, and is zeros.
    if (
        re.fullmatch("[0-9a-f]{64}", etag)
        and (found := sha256(part, lambda done, total: on_bytes(total, total))) != etag
    ):
        part.unlink()
        raise JobError(
            f"{path.name} did not arrive as {repository} keeps it: SHA-256 {found[:12]}…, expected {etag[:12]}….",
            hint="It was removed; download it again.",
            code="damaged",
        )
    part.replace(path)
    return path


class Told(io.BufferedWriter):
    """A file to append to that tells how much of `total` bytes it holds."""

    def __init__(self, path: Path, total: int, on_bytes: OnBytes) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self.total = total
        self.on_bytes = on_bytes

    def write(self, data: Any) -> int:
        """Append, then tell."""
        written = super().write(data)
        self.on_bytes(self.tell(), self.total)
        return written


def find_file(model: PublishedModel, get: Callable[[str], Path], endpoint: str | None) -> str:
    """Find out which of a repository's files holds the weights."""
    from huggingface_hub import HfApi

    if model.config_key:
        config = json.loads(get("config.json").read_text(encoding="utf8"))
        name = config.get(model.config_key)
        if not isinstance(name, str):
            raise not_found(model, f"its config.json names no file for {model.config_key}")
        return name
    names = [name for name in HfApi(endpoint=endpoint).list_repo_files(model.repository) if name.endswith(WEIGHTS)]
    if len(names) != 1:
        raise not_found(model, f"it holds {len(names)} files of weights, and which is meant is not known")
    return names[0]


def not_found(model: PublishedModel, reason: str) -> JobError:
    """The repository is not as it was."""
    return JobError(
        f"{model.card.name} was not found at huggingface.co/{model.repository}: {reason}.",
        hint=f"The authors may have moved it. {by_hand(model)}",
        code="not_found",
    )


def by_hand(model: PublishedModel) -> str:
    """How to install without this machine's network."""
    return f"A file that you got in another way goes in with `changen2 models import {model.card.name} FILE`."
