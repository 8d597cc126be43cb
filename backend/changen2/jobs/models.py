"""The model manager: what can be had, what is installed, and installing it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from changen2.errors import InputError
from changen2.jobs.detection.calibrated import written_threshold
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.models import store
from changen2.models.catalogue import PublishedModel
from changen2.models.registry import ModelCard, card_of, cards, check_weights
from changen2.protocol import DownloadModelRequest, ImportModelRequest, VerifyModelRequest, validate

logger = logging.getLogger(__name__)

POLL_S = 0.2
"""How often a download that waits for another process's asks whether to go on waiting."""


def list_models() -> list[dict[str, Any]]:
    """Return every model, embedded, to be installed or trained here, as `info` does.

    What an installation that was killed has left is removed first: nobody else would look for it.
    """
    store.remove_abandoned(store.models_folder())
    embedded = [card for card in cards().values() if card.embedded]
    return [describe(card) for card in (*embedded, *store.store_cards().values(), *store.own_cards())]


def info(name: str, task: str | None = None) -> dict[str, Any]:
    """Return what is known of one model.

    Args:
        name: of the model.
        task: ``detect`` or ``synthesize``, where a detector and a generator share the name; None: the detector.

    Raises:
        InputError: ``unknown_model``.
    """
    return named(name, task)[0]


def named(name: str, task: str | None = None) -> list[dict[str, Any]]:
    """Return all models of a name, or that for a task; a detector first.

    Raises:
        InputError: ``unknown_model``.
    """
    models = list_models()
    found = [model for model in models if model["name"] == name and task in (None, model["task"])]
    if not found:
        known = ", ".join(dict.fromkeys(model["name"] for model in models if task in (None, model["task"])))
        raise InputError(
            f"There is no model {name!r}{f' to {task}' if task else ''}; there are: {known or 'none'}.",
            hint="Run `changen2 models list`.",
            code="unknown_model",
        )
    return sorted(found, key=lambda model: model["task"] != "detect")


def describe(card: ModelCard) -> dict[str, Any]:
    """Return a card with where the model is from and what its licence asks, in plain words.

    ``threshold`` is of the probability that a detection writes, so that it may be given to one.
    """
    about = card.model_dump()
    about["threshold"] = written_threshold(card)
    about["consent"] = store.has_consent(card)
    about["licence_text"] = store.consent_text(card)
    if card.name in store.CATALOGUE:
        model = store.CATALOGUE[card.name]
        about["source"] = f"https://huggingface.co/{model.repository}"
        about["reported_sha256"] = model.reported_sha256
    if not card.embedded:
        about["path"] = str(store.weights_file(card.name)) if card.installed else ""
    return about


def download(
    name: str,
    *,
    accept_licence: bool = False,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
) -> dict[str, Any]:
    """Fetch a published model from its authors' repository and install it.

    Where another process is at the same, its end is waited for (stage ``wait``), and what it installed is returned.

    Raises:
        InputError: ``unknown_model``, ``consent_needed`` and what `store.install` raises.
        JobError: ``offline``, ``not_found``, ``disk_full``.
        Cancelled: what was fetched is kept, and the next download goes on from there.
    """
    request = validate(DownloadModelRequest, {"name": name, "accept_licence": accept_licence})
    return run_download(request, Reporter(on_progress, is_cancelled))


def run_download(request: DownloadModelRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request."""
    model = store.published(request.name)
    agree(model.card, request.accept_licence)
    before = store.installed_card(request.name)
    downloads = store.models_folder() / "downloads"
    with _alone(downloads / f"{request.name}.lock", request.name, reporter):
        card = store.installed_card(request.name)
        if card is None or card == before:  # else another process has just installed it
            card = _fetch(model, downloads / request.name, reporter)
    return describe(card)


@contextmanager
def _alone(path: Path, name: str, reporter: Reporter) -> Iterator[None]:
    """Hold the lock of a model's download; while another process has it, wait for that one to end, or for cancel."""
    lock = FileLock(path, thread_local=False)
    told = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=POLL_S)
            except Timeout:
                if not told:
                    logger.warning("Another process is downloading %s; waiting for it.", name)
                told = True
                reporter.step("wait", 0, 0)
            except NotImplementedError:  # a file system without locks
                break
    except OSError as error:
        raise store.writing_failed(path.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def _fetch(model: PublishedModel, folder: Path, reporter: Reporter) -> ModelCard:
    """Download a model's file into a folder of its own, going on with what is there, and install it."""
    from changen2.models.hub import fetch

    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise store.writing_failed(folder, error) from error
    # The file and the weights made from it lie side by side for a moment; of the file a part may be here.
    size, there = model.card.size_bytes, sum(part.stat().st_size for part in folder.glob("*.part"))
    store.refuse_full_disk(folder, 2 * size - min(there, size))
    try:
        path = fetch(model, folder, lambda done, total: reporter.step("download", done, total))
    except OSError as error:
        raise store.writing_failed(folder, error) from error
    card = install(model.card.name, path, f"https://huggingface.co/{model.repository}", reporter)
    shutil.rmtree(folder, ignore_errors=True)
    return card


def import_(
    name: str,
    path: str | Path,
    *,
    accept_licence: bool = False,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
) -> dict[str, Any]:
    """Install a published model from a file that is already here; needs no network.

    Raises:
        InputError: ``unknown_model``, ``consent_needed`` and what `store.install` raises.
        JobError: ``disk_full`` or ``write_failed``.
    """
    given = {"name": name, "path": path, "accept_licence": accept_licence}
    return run_import(validate(ImportModelRequest, given), Reporter(on_progress, is_cancelled))


def run_import(request: ImportModelRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request."""
    agree(store.published(request.name).card, request.accept_licence)
    return describe(install(request.name, Path(request.path).expanduser(), request.path, reporter))


def verify(
    name: str, *, on_progress: OnProgress | None = None, is_cancelled: IsCancelled | None = None
) -> dict[str, Any]:
    """Compare an installed or embedded model with its digest; of a name that several models share, all of them.

    Returns:
        What `info` does, and ``digests``: SHA-256 by task.

    Raises:
        InputError: ``unknown_model``, ``not_installed`` or ``tampered``.
    """
    return run_verify(VerifyModelRequest(name=name), Reporter(on_progress, is_cancelled))


def run_verify(request: VerifyModelRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request."""
    name = request.name

    def on_bytes(done: int, total: int) -> None:
        reporter.step("verify", done, total)

    if name in store.CATALOGUE:
        about = describe(store.verify(name, on_bytes))
        return {**about, "digests": {about["task"]: about["sha256"]}}
    found = named(name)
    for card in cards().values():
        if card.name == name:
            check_weights(card, lambda path: store.sha256(path, on_bytes))
            if card.encoder_of:
                check_weights(card_of(card.encoder_of), lambda path: store.sha256(path, on_bytes))
    return {**found[0], "digests": {about["task"]: about["sha256"] for about in found}}


def agree(card: ModelCard, accept_licence: bool) -> None:
    """Record the user's consent where it was given, and go no further where it is missing."""
    if accept_licence:
        store.give_consent(card)
    store.require_consent(card)


def install(name: str, path: Path, origin: str, reporter: Reporter) -> ModelCard:
    """Install a file, reporting its check."""
    return store.install(name, path, origin, lambda done, total: reporter.step("check", done, total))
